"""From YAML files to a checked config and its presets. `resolve` is the way: types first (`zsbench.config.model`), then
what depends on several keys (`zsbench.config.references`); every problem is named by its key.

The models are imported by the functions that check: jobs read a resolved config and need none of them.
"""

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import yaml

from zsbench.errors import ConfigError, suggest
from zsbench.store.secrets import holds_secret

if TYPE_CHECKING:
    from zsbench.config.model import Files, Presets

__all__ = ["ConfigError", "check_installed", "load_resources", "load_yaml", "merge", "resolve", "suggest", "walk"]

# libyaml's safe loader where it was built in: ten times faster, the same refusals.
SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Config = dict[str, Any]
SUFFIXES: dict[str, dict[str, Any]] = {  # of a file's name -> its format
    ".csv": {"type": "table"},
    ".tsv": {"type": "table", "separator": "\t"},
    ".tab": {"type": "table", "separator": "\t"},
    ".jsonl": {"type": "jsonl"},
    ".ndjson": {"type": "jsonl"},
    ".json": {"type": "json"},
    ".parquet": {"type": "parquet"},
}
PRESETS = ("sources", "datasets", "training_sets")
PACKED = (".gz", ".bz2", ".xz", ".zip")


def load_yaml(path: Path) -> Config:
    """Read a YAML mapping with the safe loader (tags are refused, nothing is constructed).

    Raises:
        ConfigError: not a mapping in UTF-8, or a key twice in one mapping.
    """
    try:
        loader = SAFE_LOADER(Path(path).read_text(encoding="utf-8"))
        node = loader.get_single_node()
        _check_keys(path, node, ())
        value = loader.construct_document(node) if node else None
    except (yaml.YAMLError, ValueError, TypeError) as error:  # constructors of dates, keys that cannot be keys
        raise error if isinstance(error, ConfigError) else ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold a mapping of keys, found {type(value).__name__}")
    return value


def _check_keys(path: Path, node: yaml.Node | None, above: tuple[yaml.Node, ...]) -> None:
    """Refuse duplicate keys, and an anchor inside itself."""
    if any(node is one for one in above):
        raise ConfigError(f"{path}, line {above[-1].start_mark.line + 1}: an anchor is used inside itself")
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for i, key in enumerate(keys):
            if any(key.value == other.value for other in keys[:i]):
                raise ConfigError(f"{path}, line {key.start_mark.line + 1}: duplicate key {key.value!r}")
        children = [value for _, value in node.value]
    for child in children:
        _check_keys(path, child, (*above, node))  # type: ignore[arg-type]


def merge(*configs: Config) -> Config:
    """Later configs override earlier ones: mappings key by key, everything else as a whole.

    An empty mapping empties what it overrides; a key set to null takes an entry away (see `Entries` and `Strict`).
    """
    merged: Config = {}
    for config in configs:
        for key, value in config.items():
            below = merged.get(key)
            both = isinstance(below, dict) and isinstance(value, dict) and value
            merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def load_resources(folder: Path) -> Config:
    """The presets that come with the project: `sources`, `datasets`, `training_sets`, defaults filled in.

    Raises:
        ConfigError: names every key that is wrong.
    """
    return _plain(_project_presets(folder), folder)


def resolve(config: Config, workflow: Path) -> Config:
    """Check a config and make it whole, in place; what `Plan` is made of besides it is returned.

    Args:
        config: as read and merged. Nulls among ids go, defaults come in.
        workflow: folder of `resources/`.

    Returns:
        The presets, the config's own among them.

    Raises:
        ConfigError: every problem found, each as "`key`: problem; allowed: ...".
    """
    from zsbench.config.model import RunConfig
    from zsbench.config.references import problems_of_references, with_derived
    from zsbench.fields import validate

    _refuse(_secrets(config))
    run, problems = validate(RunConfig, config)
    _refuse(problems)
    presets = _project_presets(workflow / "resources")
    for kind in PRESETS:
        own, known = getattr(run, kind), getattr(presets, kind)
        problems += [
            f"`{kind}.{name}`: the id is taken by a preset of the project; choose another"
            for name in own.keys() & known
        ]
        known |= own
    problems += _complete(presets)
    _refuse(problems)
    _refuse(problems_of_references(run, presets))
    written = {kind: config.get(kind) or {} for kind in PRESETS}  # whole, they are in what is returned
    config.clear()
    config.update(with_derived(run, presets).model_dump(by_alias=True) | written)
    return _plain(presets, workflow / "resources")


def check_installed(key: str, family: str) -> None:
    """Raise unless the packages that a family computes with are installed.

    Raises:
        ConfigError: names the package and how to install it.
    """
    from zsbench.families import MissingPackageError, versions

    try:
        versions(family)
    except MissingPackageError as error:
        raise ConfigError(f"`{key}`: {error}") from error


def _refuse(problems: Iterator[str] | list[str]) -> None:
    if lines := list(problems):
        raise ConfigError("the config is not valid:\n" + "\n".join(f"  - {line}" for line in lines))


def walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in a config, containers included."""
    yield key, value
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, entry in entries:
        yield from walk(entry, f"{key}.{name}" if key else str(name))


def _secrets(config: Config) -> Iterator[str]:
    for key, value in walk(config):
        if isinstance(value, str) and holds_secret(key.rpartition(".")[2], value):
            yield (
                f"`{key}`: looks like a secret, which a config must not hold (it is copied into cards and logs); put "
                "it in an environment variable: HF_TOKEN for the hub, `key_variable` for an endpoint"
            )


def _project_presets(folder: Path) -> "Presets":
    from zsbench.config.model import Presets
    from zsbench.fields import validate

    raw = load_yaml(folder / "sources.yaml") | load_yaml(folder / "datasets.yaml")
    presets, problems = validate(Presets, raw)
    _refuse(problems)
    _refuse(_complete(presets))
    return presets


def _plain(presets: "Presets", folder: Path) -> Config:
    """Presets as plain data, with what lock.yaml knows of each source."""
    resources = presets.model_dump(by_alias=True)
    lock = folder / "lock.yaml"
    pinned = load_yaml(lock)["sources"] if lock.is_file() else {}
    for name in pinned.keys() & resources["sources"].keys():
        resources["sources"][name]["lock"] = pinned[name]
    return resources


def _complete(presets: "Presets") -> list[str]:
    """Fill in, in place, what files and ids tell of test and training sets; returns problems."""
    from zsbench.data.sources.fetch import Local

    problems = []
    for kind, split in (("datasets", "test"), ("training_sets", "train")):
        for name, preset in getattr(presets, kind).items():
            key = f"{kind}.{name}"
            if preset.path is not None:
                if name in presets.sources:
                    problems.append(f"`{key}.path`: there is a source {name!r} already; choose another id for the set")
                    continue
                presets.sources[name] = Local(kind="local", path=preset.path)
                preset.source, preset.path = name, None
            problems += _complete_files(key, preset, split, presets)
            preset.title = preset.title or name
    return problems


def _complete_files(key: str, preset: "Files", split: str, presets: "Presets") -> Iterator[str]:
    """The set's files, where its source has but one, and their format."""
    from zsbench.config.model import Format

    source = presets.sources.get(preset.source or "")
    if preset.files is None and source is not None:
        delivered = source.delivered()
        if len(delivered) > 1 or "*" in delivered[0]:
            yield f"`{key}.files`: required; source {preset.source!r} has {', '.join(delivered)}"
            return
        whole = getattr(preset, "published_split", None) is not None
        preset.files = {"all" if whole else split: delivered[0]}  # type: ignore[dict-item]
    if preset.format is None and preset.files:
        name = PurePath(next(iter(preset.files.values())))
        suffix = PurePath(name.stem).suffix if name.suffix in PACKED else name.suffix
        if suffix not in SUFFIXES:
            yield f"`{key}.format`: cannot be told from {name.name!r}; allowed: type: table, jsonl, json or parquet"
            return
        preset.format = Format(**SUFFIXES[suffix])
