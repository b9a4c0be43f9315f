"""Load YAML files into a validated config with presets. `resolve` first checks types (`zsbench.config.model`), then
references between keys (`zsbench.config.references`); every problem is reported with its key.

The models are imported inside the functions that validate, because jobs read a resolved config and do not need them.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import yaml

from zsbench.store.errors import ConfigError
from zsbench.store.secrets import holds_secret

if TYPE_CHECKING:
    from zsbench.config.model import Files, Presets

__all__ = ["ConfigError", "load_resources", "load_yaml", "merge", "resolve", "walk"]

# libyaml's safe loader, if available: ten times faster and just as strict.
SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Config = dict[str, Any]
SUFFIXES: dict[str, dict[str, Any]] = {  # file suffix -> format
    ".csv": {"type": "table"},
    ".tsv": {"type": "table", "separator": "\t"},
    ".tab": {"type": "table", "separator": "\t"},
    ".jsonl": {"type": "jsonl"},
    ".ndjson": {"type": "jsonl"},
    ".json": {"type": "json"},
    ".parquet": {"type": "parquet"},
}
PRESETS = ("sources", "datasets", "training_sets", "claims")
RESOURCES = ("sources.yaml", "datasets.yaml", "claims.yaml")
PACKED = (".gz", ".bz2", ".xz", ".zip")
MODEL = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*|(\.{1,2}|~)?/.+")  # hub id or folder


def load_yaml(path: Path) -> Config:
    """Read a YAML mapping with the safe loader (tags are rejected, no objects are constructed).

    Raises:
        ConfigError: not a mapping in UTF-8, or a duplicate key.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:  # YAML errors show the file's name
            loader = SAFE_LOADER(file)
            node = loader.get_single_node()
        _check_keys(path, node, ())
        value = loader.construct_document(node) if node else None
    except (yaml.YAMLError, ValueError, TypeError) as error:  # invalid dates, unhashable keys
        raise error if isinstance(error, ConfigError) else ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must contain a mapping, found {type(value).__name__}")
    return value


def _check_keys(path: Path, node: yaml.Node | None, above: tuple[yaml.Node, ...]) -> None:
    """Reject duplicate keys and recursive anchors."""
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

    An empty mapping clears what it overrides; a key set to null removes the entry (see `Entries` and `Strict`).
    """
    merged: Config = {}
    for config in configs:
        for key, value in config.items():
            below = merged.get(key)
            both = isinstance(below, dict) and isinstance(value, dict) and value
            merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def load_resources(folder: Path) -> Config:
    """The presets of the project (`sources`, `datasets`, `training_sets`, `claims`) with defaults filled in.

    Raises:
        ConfigError: lists all invalid keys.
    """
    return _plain(_project_presets(folder), folder)


def resolve(config: Config, workflow: Path) -> Config:
    """Validate a config and fill in defaults, in place.

    Args:
        config: as read and merged. Entries set to null are removed and defaults are added.

    Returns:
        All presets, including those of the config.

    Raises:
        ConfigError: lists all problems, each as "`key`: problem; allowed: ...".
    """
    from zsbench.config.model import RunConfig
    from zsbench.config.references import problems_of_references, with_derived
    from zsbench.store.fields import validate

    _refuse(_secrets(config))
    name_models(config)
    run, problems = validate(RunConfig, config)
    _refuse(problems)
    presets = _project_presets(workflow / "resources")
    for kind in PRESETS:
        added, known = getattr(run, kind), getattr(presets, kind)
        problems += [
            f"`{kind}.{name}`: the id is already used by a preset of the project; allowed: any other id"
            for name in added.keys() & known
        ]
        known |= added
    problems += _complete(presets)
    _refuse(problems)
    _refuse(problems_of_references(run, presets))
    written = {kind: config.get(kind) or {} for kind in PRESETS}  # the completed presets are returned instead
    config.clear()
    config.update(with_derived(run, presets).model_dump(by_alias=True) | written)
    return _plain(presets, workflow / "resources")


def name_models(config: Config) -> None:
    """Replace models given by hub id or folder with ids of new sources, in place.

    `facebook/bart-large-mnli` becomes the source `facebook-bart-large-mnli`, which is pinned at its first fetch.
    """
    from zsbench.data.sources.hub import CHECKPOINT

    entries = [
        (entry, key)
        for kind in ("systems", "hybrid")
        if isinstance(config.get(kind), dict)
        for entry in config[kind].values()
        if isinstance(entry, dict)
        for key in ("model", "nli")
    ]
    entries += [(config["recipe"], "backbone")] if isinstance(config.get("recipe"), dict) else []
    for entry, key in entries:
        name = entry.get(key)
        if not isinstance(name, str) or "/" not in name or not MODEL.fullmatch(name):
            continue
        source = (
            {"kind": "folder", "path": name}
            if name[0] in "./~"
            else {"kind": "hub", "repo_type": "model", "repo": name, "files": [*CHECKPOINT]}
        )
        made = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[-60:].strip("-")
        sources = config["sources"] = config.get("sources") or {}
        if isinstance(sources, dict):
            while (
                sources.setdefault(made, source) != source
            ):  # a different model whose name differs only in punctuation
                made += "-2"
        entry[key] = made


def _refuse(problems: Iterator[str] | list[str]) -> None:
    if lines := list(problems):
        raise ConfigError("the config is not valid:\n" + "\n".join(f"  - {line}" for line in lines))


def walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all entries in a config, including containers."""
    yield key, value
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, entry in entries:
        yield from walk(entry, f"{key}.{name}" if key else str(name))


def _secrets(config: Config) -> Iterator[str]:
    for key, value in walk(config):
        if isinstance(value, str) and holds_secret(key.rpartition(".")[2], value):
            yield (
                f"`{key}`: looks like a secret; configs are copied into cards and logs and must not contain secrets. "
                "Use an environment variable: HF_TOKEN for the hub, `key_variable` for an endpoint"
            )


def _project_presets(folder: Path) -> "Presets":
    from zsbench.config.model import Presets
    from zsbench.store.fields import validate

    raw = {key: entry for name in RESOURCES for key, entry in load_yaml(folder / name).items()}
    presets, problems = validate(Presets, raw)
    _refuse(problems)
    _refuse(_complete(presets))
    return presets


def _plain(presets: "Presets", folder: Path) -> Config:
    """Presets as plain data, with the pins from lock.yaml."""
    from zsbench.data.sources.lock import lock_file, read_lock

    resources = presets.model_dump(by_alias=True)
    pinned = read_lock(lock_file(folder.parent))
    for name in pinned.keys() & resources["sources"].keys():
        resources["sources"][name]["lock"] = pinned[name]
    return resources


def _complete(presets: "Presets") -> list[str]:
    """Fill in, in place, defaults of test and training sets that follow from files and ids; returns problems."""
    from zsbench.data.sources.fetch import Local

    problems = []
    for kind, split in (("datasets", "test"), ("training_sets", "train")):
        for name, preset in getattr(presets, kind).items():
            key = f"{kind}.{name}"
            if preset.path is not None:
                if name in presets.sources:
                    problems.append(
                        f"`{key}.path`: {name!r} is already the id of a source; allowed: any other id for the data set"
                    )
                    continue
                presets.sources[name] = Local(kind="local", path=preset.path)
                preset.source, preset.path = name, None
            problems += _complete_files(key, preset, split, presets)
            preset.title = preset.title or name
    return problems


def _complete_files(key: str, preset: "Files", split: str, presets: "Presets") -> Iterator[str]:
    """Fill in the files of a set, if its source has only one, and their format."""
    from zsbench.config.model import Format, TrainingSet, listed

    source = presets.sources.get(preset.source or "")
    if preset.files is None and source is not None:
        delivered = source.delivered()
        if len(delivered) > 1 or "*" in delivered[0]:
            if isinstance(preset, TrainingSet) and source.kind == "hub" and preset.format is not None:
                return  # files are found in the repository (`zsbench.data.training_sets.split_files`)
            yield f"`{key}.files`: required, because source {preset.source!r} has several: {', '.join(delivered)}"
            return
        whole = getattr(preset, "published_split", None) is not None
        file: Any = [delivered[0]] if isinstance(preset, TrainingSet) else delivered[0]
        preset.files = {"all" if whole else split: file}  # type: ignore[dict-item]
    if preset.format is None and preset.files:
        name = PurePath(listed(next(iter(preset.files.values())))[0])
        suffix = PurePath(name.stem).suffix if name.suffix in PACKED else name.suffix
        if suffix not in SUFFIXES:
            yield f"`{key}.format`: cannot be inferred from {name.name!r}; allowed: type: table, jsonl, json or parquet"
            return
        preset.format = Format(**SUFFIXES[suffix])
