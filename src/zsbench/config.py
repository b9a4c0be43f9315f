"""Config checking: every mistake is named by key, value and what is allowed, before any work starts.

The schema says what shape a config has; `check_references` says what a schema cannot: that ids exist, that labels do
not repeat, that no variant equals another.
"""

import difflib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

# libyaml's safe loader where it was built in: ten times faster, the same refusals.
SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RESOURCES = ("sources", "datasets", "training_sets")


class ConfigError(ValueError):
    """A config that cannot be run. The message names the key, the value and what is allowed."""


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader (tags are refused, nothing is constructed)."""
    try:
        value = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=SAFE_LOADER)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold a mapping of keys, found {type(value).__name__}")
    return value


def load_resources(folder: Path) -> dict[str, Any]:
    """The presets that come with the project: `sources`, `datasets`, `training_sets`."""
    resources: dict[str, Any] = {key: {} for key in RESOURCES}
    for name in ("sources.yaml", "datasets.yaml"):
        for key, entries in load_yaml(folder / name).items():
            resources[key].update(entries)
    if (folder / "lock.yaml").is_file():
        for name, pinned in load_yaml(folder / "lock.yaml")["sources"].items():
            if name in resources["sources"]:
                resources["sources"][name]["lock"] = pinned
    return resources


def drop_nulls(config: dict[str, Any]) -> None:
    """Leave out, in place, every entry of a mapping of ids that is null: how an overlay takes something away.

    Overlays are merged key by key, so `systems: {e5-large: null}` laid over a config says: without e5-large.
    """
    owners = [(config, key) for key in (*RESOURCES, "trained", "hybrid", "systems")]
    owners += [(config.get("gliznet") or {}, key) for key in ("variants", "compounds")]
    for owner, key in owners:
        if isinstance(owner.get(key), dict):
            owner[key] = {name: entry for name, entry in owner[key].items() if entry is not None}


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
    from snakemake.utils import validate

    drop_nulls(config)
    schema = workflow / "schemas" / "config.schema.yaml"
    check_schema(config, load_yaml(schema))
    validate(config, str(schema.resolve()))  # fills in the defaults
    resources = load_resources(workflow / "resources")
    for key in resources:
        resources[key] = resources[key] | config.get(key, {})
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
    from jsonschema import Draft202012Validator

    errors = sorted(
        Draft202012Validator(schema).iter_errors(config), key=lambda error: list(map(str, error.absolute_path))
    )
    if errors:
        raise ConfigError("the config is not valid:\n" + "\n".join(f"  - {_explain(error)}" for error in errors))


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
        return f"{key}: {error.instance!r} is not a valid {kind}; allowed: {words}"
    if error.validator == "required":
        return f"{key}: {error.message}"
    shown = repr(error.instance)
    return f"{key}: {shown[:80]}: {error.message.removeprefix(shown).strip()[:160]}"


def check_id(key: str, value: str, allowed: Iterable[str]) -> None:
    """Raise unless `value` is one of `allowed`."""
    allowed = list(allowed)
    if value not in allowed:
        raise ConfigError(f"{key}: {value!r} is not known{suggest(value, allowed)}")


def check_references(config: dict[str, Any], resources: dict[str, Any]) -> None:
    """What a schema cannot say: ids exist, labels do not repeat, variants differ.

    Raises:
        ConfigError: the first problem found.
    """
    for suite, entry in config["suites"].items():
        for dataset in entry["datasets"]:
            check_id(f"suites.{suite}.datasets", dataset, resources["datasets"])
            preset = resources["datasets"][dataset]
            if preset["suite"] != suite:
                raise ConfigError(f"suites.{suite}.datasets: {dataset!r} belongs to suite {preset['suite']!r}")
            wording = entry.get("verbalisations", {}).get(dataset)
            if wording is not None:
                check_id(f"suites.{suite}.verbalisations.{dataset}", wording, preset["verbalisations"])
        for key in ("verbalisations", "rows"):
            named = entry.get(key)
            for dataset in named if isinstance(named, dict) else ():
                check_id(f"suites.{suite}.{key}", dataset, entry["datasets"])
    check_id("recipe.training_set", config["recipe"]["training_set"], resources["training_sets"])
    check_id("recipe.backbone", config["recipe"]["backbone"], resources["sources"])
    _check_variants(config["gliznet"])
    _check_trained(config.get("trained", {}), resources)
    _check_systems(config, resources)


def check_presets(resources: dict[str, Any]) -> None:
    """What the presets' schema cannot say: sources exist, label lists fit one another, splits are those of the files.

    Raises:
        ConfigError: the first problem found.
    """
    for kind in ("datasets", "training_sets"):
        for name, preset in resources[kind].items():
            check_id(f"{kind}.{name}.source", preset["source"], resources["sources"])
    for name, preset in resources["datasets"].items():
        gold = preset["gold"].get("values", preset["gold"].get("bins"))
        for wording, labels in preset["verbalisations"].items():
            key = f"datasets.{name}.verbalisations.{wording}"
            folded = [label.strip().casefold() for label in labels]
            if len(set(folded)) != len(folded):
                raise ConfigError(f"{key}: labels repeat: {labels}")
            if len(labels) != len(gold):
                raise ConfigError(f"{key}: {len(labels)} labels for the {len(gold)} values of gold; allowed: one each")
        if "published_split" not in preset and set(preset["expected_rows"]) != set(preset["files"]):
            raise ConfigError(
                f"datasets.{name}.expected_rows: splits {sorted(preset['expected_rows'])}; "
                f"allowed: those of files, {sorted(preset['files'])}"
            )


def _check_variants(gliznet: dict[str, Any]) -> None:
    seen: dict[str, str] = {}
    for name, overrides in gliznet["variants"].items():
        for key, value in overrides.items():
            if key in gliznet["base"] and gliznet["base"][key] == value:
                raise ConfigError(f"gliznet.variants.{name}.{key}: {value!r} is already the base's value; leave it out")
        same = seen.setdefault(repr(sorted(overrides.items(), key=str)), name)
        if same != name:
            raise ConfigError(f"gliznet.variants.{name}: has the same settings as {same!r}; two variants must differ")


def check_installed(key: str, family: str) -> None:
    """Raise unless the packages that a family of systems needs are installed."""
    from zsbench.systems import FAMILIES

    for package in FAMILIES[family].packages:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError as error:
            extra = FAMILIES[family].extra
            what = f"zsbench[{extra}]" if extra else package
            raise ConfigError(f"{key}: family {family!r} needs {package!r}; run `pip install {what}`") from error


def _check_trained(trained: dict[str, Any], resources: dict[str, Any]) -> None:
    for name, entry in trained.items():
        if entry["family"] == "nli" and "template" not in entry:
            raise ConfigError(f"trained.{name}: family 'nli' needs a `template` with one {{}} for the label")
        if entry["family"] != "nli" and "template" in entry:
            raise ConfigError(f"trained.{name}.template: family {entry['family']!r} has none; leave it out")
        own = entry.get("recipe", {})
        for key, allowed in (("backbone", "sources"), ("training_set", "training_sets")):
            if key in own:
                check_id(f"trained.{name}.recipe.{key}", own[key], resources[allowed])
        check_installed(f"trained.{name}", entry["family"])


def _check_systems(config: dict[str, Any], resources: dict[str, Any]) -> None:
    trained = config.get("trained", {})
    for name, entry in config.get("systems", {}).items():
        if name in trained or name in config.get("hybrid", {}):
            raise ConfigError(f"systems.{name}: the id is taken by a trained system; choose another")
        for key in ("model", "nli"):
            if key in entry:
                check_id(f"systems.{name}.{key}", entry[key], resources["sources"])
        check_installed(f"systems.{name}", entry["family"])
    for name, entry in config.get("hybrid", {}).items():
        check_id(f"hybrid.{name}.nli", entry["nli"], [*trained, *resources["sources"]])
        check_id(f"hybrid.{name}.dataset", entry["dataset"], config["suites"].get("topics", {}).get("datasets", []))
        for label in entry["nli_only"]:
            check_id(
                f"hybrid.{name}.nli_only",
                label,
                next(iter(resources["datasets"][entry["dataset"]]["verbalisations"].values())),
            )
