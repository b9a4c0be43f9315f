"""Reading configs, and what every check of them shares: a mistake is named by key, value and what is allowed.

The schema says what shape a config has; `zsbench.config.checks` says what a schema cannot.
"""

import copy
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from zsbench.families import MissingPackageError, versions
from zsbench.store.secrets import mask

# libyaml's safe loader where it was built in: ten times faster, the same refusals.
SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LIMITS = {"depth": 40, "values": 200_000}
RESOURCES = ("sources", "datasets", "training_sets")


class ConfigError(ValueError):
    """A config that cannot be run. The message names the key, the value and what is allowed, and holds no secret."""

    def __init__(self, message: str) -> None:
        super().__init__(mask(message))


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader (tags are refused, nothing is constructed).

    Raises:
        ConfigError: not a mapping in UTF-8, a key twice in one mapping, or nested or repeated beyond `LIMITS`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        _check_tree(path, text)
        value = yaml.load(text, Loader=SAFE_LOADER)
    except (yaml.YAMLError, ValueError, TypeError) as error:  # constructors of dates, keys that cannot be keys
        raise error if isinstance(error, ConfigError) else ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold a mapping of keys, found {type(value).__name__}")
    if "__use_yte__" in value:
        raise ConfigError(f"{path}: `__use_yte__` makes a config a program; it is not allowed")
    return value


def _check_tree(path: Path, text: str) -> None:
    """Refuse what would overrun a reader (parsing is iterative, so that can look first), and keys given twice."""
    depth = 0
    for event in yaml.parse(text, Loader=SAFE_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > LIMITS["depth"]:
            raise ConfigError(f"{path} is nested more than {LIMITS['depth']} levels deep")
    sizes: dict[int, int] = {}
    if (root := yaml.compose(text, Loader=SAFE_LOADER)) is not None and _size(path, root, sizes) > LIMITS["values"]:
        raise ConfigError(f"{path} holds more than {LIMITS['values']} values once its anchors are filled in")


def _size(path: Path, node: yaml.Node, sizes: dict[int, int]) -> int:
    """Values below a node with every alias counted where it stands; each node is visited once."""
    if id(node) not in sizes:
        sizes[id(node)] = LIMITS["values"] + 1  # met again before it is known: it holds itself
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            parts = node.value
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in keys:
                    raise ConfigError(f"{path}, line {key.start_mark.line + 1}: duplicate key {key.value!r}")
                keys.add(key.value)
            parts = [part for pair in node.value for part in pair]
        sizes[id(node)] = 1 + sum(_size(path, part, sizes) for part in parts)
    return sizes[id(node)]


def load_resources(folder: Path) -> dict[str, Any]:
    """The presets that come with the project: `sources`, `datasets`, `training_sets`."""
    resources: dict[str, Any] = {key: {} for key in RESOURCES}
    for name in ("sources.yaml", "datasets.yaml"):
        for key, entries in load_yaml(folder / name).items():
            resources[key].update(entries)
    _pin(resources["sources"], folder / "lock.yaml")
    return resources


def _pin(sources: dict[str, Any], lock: Path) -> None:
    """Put what lock.yaml knows of a source into its entry, in place."""
    pinned = load_yaml(lock)["sources"] if lock.is_file() else {}
    for name in pinned.keys() & sources.keys():
        sources[name] = sources[name] | {"lock": pinned[name]}


def drop_nulls(config: dict[str, Any]) -> None:
    """Leave out, in place, every entry of a mapping of ids that is null: how an overlay takes something away.

    Overlays are merged key by key, so `systems: {e5-large: null}` laid over a config says: without e5-large. Whole
    suites, a suite's words and rows of single sets, and the part `speed` go the same way.
    """
    suites, gliznet = (config[key] if isinstance(config.get(key), dict) else {} for key in ("suites", "gliznet"))
    owners = [(config, key) for key in (*RESOURCES, "trained", "hybrid", "systems", "suites")]
    owners += [(gliznet, key) for key in ("variants", "compounds")]
    parts = [suite for suite in suites.values() if isinstance(suite, dict)]
    owners += [(suite, key) for suite in parts for key in ("verbalisations", "rows")]
    for owner, key in owners:
        if isinstance(owner.get(key), dict):
            owner[key] = {name: entry for name, entry in owner[key].items() if entry is not None}
    gone = {name for name, suite in suites.items() if suite is None}  # and with a suite, what stands in it alone
    for name, entry in list(config["systems"].items()) if gone and isinstance(config.get("systems"), dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("suites"), list) and gone & set(map(str, entry["suites"])):
            entry["suites"] = [suite for suite in entry["suites"] if suite not in gone]
            if not entry["suites"]:
                del config["systems"][name]
    if config.get("speed", {}) is None:
        del config["speed"]


def resolve(config: dict[str, Any], workflow: Path) -> dict[str, Any]:
    """Check a config and make it whole, in place; what `Plan` is made of besides it is returned.

    Args:
        config: as read and merged. Nulls among ids go, defaults come in.
        workflow: folder of `schemas/` and `resources/`.

    Returns:
        The presets, the config's own laid over them.

    Raises:
        ConfigError: what is wrong, by key, value and what is allowed.
    """
    from zsbench.config.checks import check_references, check_values
    from zsbench.config.datasets import check_own_presets, check_presets

    drop_nulls(config)
    check_values(config)
    schema = load_yaml(workflow / "schemas" / "config.schema.yaml")
    check_schema(config, schema)
    fill_defaults(config, schema)
    resources = load_resources(workflow / "resources")
    check_own_presets(config, resources)
    for key in resources:
        resources[key] = resources[key] | config[key]
    _pin(resources["sources"], workflow / "resources" / "lock.yaml")
    check_schema(resources, load_yaml(workflow / "schemas" / "presets.schema.yaml"))
    check_presets(resources)
    check_references(config, resources)
    return resources


def suggest(value: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'? allowed: a, b, c` for a word that is not among `allowed`."""
    options = sorted(map(str, allowed))
    close = difflib.get_close_matches(str(value), options, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} allowed: {', '.join(options) or 'none'}" if hint else f"; allowed: {', '.join(options) or 'none'}"


def check_schema(config: dict[str, Any], schema: dict[str, Any]) -> None:
    """Validate against the JSON schema and raise every problem found as one readable message.

    Raises:
        ConfigError: one line a problem.
    """
    from jsonschema import Draft202012Validator, validators

    # JSON Schema calls 4.0 an integer; a run needs steps and seeds that are counted.
    whole = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator = validators.extend(Draft202012Validator, type_checker=whole)(schema)
    errors = sorted(validator.iter_errors(config), key=lambda error: list(map(str, error.absolute_path)))
    if errors:
        raise ConfigError("the config is not valid:\n" + "\n".join(f"  - {_explain(error)}" for error in errors))


def fill_defaults(config: dict[str, Any], schema: dict[str, Any]) -> None:
    """Put the schema's defaults where a valid config has no value, in place."""
    from jsonschema import Draft202012Validator, validators

    check = Draft202012Validator.VALIDATORS["properties"]

    def with_defaults(validator: Any, properties: dict[str, Any], instance: Any, own: dict[str, Any]) -> Any:
        for name, entry in properties.items() if isinstance(instance, dict) else ():
            if "default" in entry:
                instance.setdefault(name, copy.deepcopy(entry["default"]))
        yield from check(validator, properties, instance, own)

    validator = validators.extend(Draft202012Validator, {"properties": with_defaults})(schema)
    for _ in validator.iter_errors(config):
        pass


def _explain(error: Any) -> str:
    """One jsonschema error as `key: what is wrong; did you mean; allowed`."""
    key = ".".join(map(str, error.absolute_path)) or "(top level)"
    if error.validator == "additionalProperties":
        known = set(error.schema.get("properties", {}))
        unknown = [name for name in error.instance if name not in known]
        return "; ".join(f"{key}: unknown key {name!r}{suggest(name, known)}" for name in unknown)
    if error.validator == "enum":
        return f"{key}: {error.instance!r} is not allowed{suggest(error.instance, error.validator_value)}"
    if error.validator == "pattern":
        kind, words = error.schema.get("title", "value"), error.schema.get("description", error.validator_value)
        return f"{key}: {error.instance!r:.80} is not a valid {kind}; allowed: {words}"
    if error.validator == "required":
        return f"{key}: {error.message}"
    shown = repr(error.instance)
    return f"{key}: {shown[:80]}: {error.message.removeprefix(shown).strip()[:160]}"


def check_id(key: str, value: str, allowed: Iterable[str]) -> None:
    """Raise unless `value` is one of `allowed`."""
    allowed = list(allowed)
    if value not in allowed:
        raise ConfigError(f"{key}: {value!r} is not known{suggest(value, allowed)}")


def check_installed(key: str, family: str) -> None:
    """Raise unless the packages that a family of systems needs are installed."""
    try:
        versions(family)
    except MissingPackageError as error:
        raise ConfigError(f"{key}: {error}") from error
