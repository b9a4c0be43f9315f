"""What a schema cannot say of a config: ids exist and are used once, entries have the keys of their kind, presets fit
their suite, no variant equals another, nothing in it is a secret. All of it before any work and any model library.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zsbench.config.datasets import check_suites
from zsbench.config.load import ConfigError, check_id, check_installed
from zsbench.families import FAMILIES
from zsbench.store.secrets import holds_secret

GLIZNET_OPTIONS = Path(__file__).resolve().parents[2] / "gliznet" / "options.py"
SYSTEM_KEYS = ("family", "suites", "seen")  # what any family takes
SHARED_RECIPE = ("seeds", "strategy", "gpus")  # one value for a whole run


def walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in a config, containers included."""
    yield key, value
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from walk(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from walk(entry, f"{key}.{i}")


def check_values(config: dict[str, Any]) -> None:
    """Only plain values: text, finite numbers of 64 bits, true, false, null, lists and mappings of these; no secret.

    Raises:
        ConfigError: names the key. Of a secret, the key alone.
    """
    for key, value in walk(config):
        if isinstance(value, dict):
            if odd := [name for name in value if not isinstance(name, str)]:
                raise ConfigError(f"{key or '(top level)'}: the key {str(odd[0])[:80]!r} is no text; quote it")
        elif isinstance(value, str):
            if holds_secret(key.rpartition(".")[2], value):
                raise ConfigError(
                    f"{key}: looks like a secret, which a config must not hold (it is copied into cards and logs); "
                    "put it in an environment variable: HF_TOKEN for the hub, `key_variable` for an endpoint"
                )
            if not value.isprintable() and any(ord(letter) < 32 and letter not in "\t\n\r" for letter in value):
                raise ConfigError(f"{key}: {value[:80]!r} holds control characters; allowed: printable text")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key}: {value} is not allowed; it must be a finite number")
        elif isinstance(value, int) and abs(value) >= 2**63:
            raise ConfigError(f"{key}: the number has {value.bit_length()} bits; allowed: 63")
        elif not isinstance(value, int | float | list | None):
            kinds = "text, numbers, true, false, null, lists and mappings"
            raise ConfigError(f"{key}: {str(value)[:80]!r} is read as {type(value).__name__}; allowed: {kinds}")


def check_references(config: dict[str, Any], resources: dict[str, Any]) -> None:
    """What depends on more than one place of a config, or on the presets.

    Raises:
        ConfigError: the first problem found.
    """
    check_suites(config, resources)
    check_id("recipe.training_set", config["recipe"]["training_set"], resources["training_sets"])
    _check_weights("recipe.backbone", config["recipe"]["backbone"], resources)
    _check_recipe("recipe", config["recipe"])
    if "speed" in config:
        _check_weights("speed.backbone", config["speed"]["backbone"], resources)
    _check_variants(config["gliznet"])
    _check_trained(config, resources)
    _check_systems(config, resources)
    _check_hybrids(config, resources)
    _check_ids(config)


def _check_weights(key: str, source: str, resources: dict[str, Any]) -> None:
    """The id of a source that can hold a model."""
    check_id(key, source, resources["sources"])
    entry = resources["sources"][source]
    if entry["kind"] == "authored" or entry.get("repo_type", "model") != "model":
        raise ConfigError(f"{key}: {source!r} is a source of data, not of a model's weights")


def _check_recipe(key: str, recipe: dict[str, Any]) -> None:
    if recipe["strategy"] == "single" and recipe["gpus"] != 1:
        raise ConfigError(f"{key}.gpus: {recipe['gpus']} with strategy 'single'; allowed: 1, or another strategy")
    micro = recipe["gpus"] * recipe["per_device_batch"]
    if recipe["effective_batch"] % micro:
        raise ConfigError(
            f"{key}.effective_batch: {recipe['effective_batch']} is not a multiple of gpus x per_device_batch = {micro}"
        )


def gliznet_options() -> Any:
    """The class `GliZNetOptions`, from its file: its package would import torch, and a plan takes seconds."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("zsbench_gliznet_options", GLIZNET_OPTIONS)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.GliZNetOptions


def _check_variants(gliznet: dict[str, Any]) -> None:
    options, base = gliznet_options(), gliznet["base"]
    effective = {name: field.default for name, field in options.__dataclass_fields__.items()} | base
    seen: dict[Any, str] = {}
    for name, overrides in gliznet["variants"].items():
        key = f"gliznet.variants.{name}"
        for option, value in overrides.items():
            if effective[option] == value:
                raise ConfigError(f"{key}.{option}: {value!r} is already the base's value; leave it out")
        same = seen.setdefault(tuple((effective | overrides).values()), name)
        if same != name:
            raise ConfigError(f"{key}: has the same settings as {same!r}; two variants must differ")
        try:
            options(**base | overrides)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from error
    for name, pair in gliznet["compounds"].items():
        for variant in pair:
            check_id(f"gliznet.compounds.{name}", variant, gliznet["variants"])
        if pair[0] == pair[1]:
            raise ConfigError(f"gliznet.compounds.{name}: {pair[0]!r} against itself; name two variants")


def _check_trained(config: dict[str, Any], resources: dict[str, Any]) -> None:
    for name, entry in config["trained"].items():
        key = f"trained.{name}"
        options = FAMILIES[entry["family"]].training_options
        keys = options.model_fields if options else {}
        for needed in keys:
            if needed not in entry:
                raise ConfigError(f"{key}: family {entry['family']!r} needs a `{needed}`")
        for given in entry:
            if given not in ("family", "recipe", *keys):
                raise ConfigError(f"{key}.{given}: unknown option for family {entry['family']!r}; leave it out")
        own = entry.get("recipe", {})
        for shared in SHARED_RECIPE:
            if shared in own:
                raise ConfigError(f"{key}.recipe.{shared}: is the same for a whole run; set it under `recipe`")
        if "backbone" in own:
            _check_weights(f"{key}.recipe.backbone", own["backbone"], resources)
        if "training_set" in own:
            check_id(f"{key}.recipe.training_set", own["training_set"], resources["training_sets"])
        _check_recipe(f"{key}.recipe", config["recipe"] | own)
        check_installed(key, entry["family"])


def _check_systems(config: dict[str, Any], resources: dict[str, Any]) -> None:
    from zsbench.systems.own_code import package_files

    for name, entry in config["systems"].items():
        key, family = f"systems.{name}", FAMILIES[entry["family"]]
        for needed in family.needs:
            if needed not in entry:
                raise ConfigError(f"{key}: family {entry['family']!r} needs `{needed}`")
        for given in entry:
            if given not in (*SYSTEM_KEYS, *family.needs, *family.takes):
                allowed = ", ".join(sorted((*SYSTEM_KEYS, *family.needs, *family.takes)))
                raise ConfigError(f"{key}.{given}: family {entry['family']!r} has none; allowed: {allowed}")
        for given in ("model", "nli"):
            if given in entry:
                _check_weights(f"{key}.{given}", entry[given], resources)
        if entry["family"] == "custom":
            package_files(f"{key}.class", entry["class"])
        for dataset in entry.get("seen", []):
            check_id(f"{key}.seen", dataset, resources["datasets"])
        tasks = ("multi",) if entry["family"] == "hybridnli" else ("single", "multi")
        allowed_suites = [suite for suite, one in config["suites"].items() if one["task"] in tasks]
        for suite in entry.setdefault("suites", allowed_suites):
            check_id(f"{key}.suites", suite, allowed_suites)
        if entry["family"] == "supervised":
            for suite in entry["suites"]:
                for dataset in config["suites"].get(suite, {}).get("datasets", []):
                    if "train" not in resources["datasets"][dataset]["expected_rows"]:
                        raise ConfigError(f"{key}.suites: {suite!r} holds {dataset!r}, which has no rows for train")
        check_installed(key, entry["family"])


def _check_hybrids(config: dict[str, Any], resources: dict[str, Any]) -> None:
    for name, entry in config["hybrid"].items():
        key, trained = f"hybrid.{name}", config["trained"]
        check_id(f"{key}.nli", entry["nli"], [*trained, *resources["sources"]])
        if entry["nli"] not in trained:
            _check_weights(f"{key}.nli", entry["nli"], resources)
        elif trained[entry["nli"]]["family"] != "nli":
            raise ConfigError(
                f"{key}.nli: {entry['nli']!r} is of family {trained[entry['nli']]['family']!r}, not 'nli'"
            )
        multi = [one["datasets"] for one in config["suites"].values() if one["task"] == "multi"]
        check_id(f"{key}.dataset", entry["dataset"], sum(multi, []))
        preset = resources["datasets"][entry["dataset"]]
        labels = next(iter(preset["verbalisations"].values()))
        for label in entry["nli_only"]:
            check_id(f"{key}.nli_only", label, labels)
        if len(entry["nli_only"]) == len(labels):
            raise ConfigError(f"{key}.nli_only: holds every label; at least one needs a head")
        missing = {"train", "validation"} - set(preset["expected_rows"])
        if missing:
            raise ConfigError(f"{key}.dataset: {entry['dataset']!r} has no rows for {', '.join(sorted(missing))}")


def _check_ids(config: dict[str, Any]) -> None:
    """Every system has an id of its own, and the one whose deltas are printed is among them."""
    ids: dict[str, tuple[str, list[str]]] = {}
    both = list(config["suites"])
    multi = [suite for suite, entry in config["suites"].items() if entry["task"] == "multi"]
    found = [(f"gliznet-{name}", f"gliznet.variants.{name}", both) for name in config["gliznet"]["variants"]]
    found += [(name, f"trained.{name}", both) for name in config["trained"]]
    for name, entry in config["hybrid"].items():
        own = [name if blend == "learned" else f"{name}-{blend}" for blend in entry["blends"]]
        found += [(one, f"hybrid.{name}", multi) for one in dict.fromkeys([name, *own])]
    found += [(name, f"systems.{name}", entry["suites"]) for name, entry in config["systems"].items()]
    for name, key, suites in found:
        if name in ids:
            raise ConfigError(f"{key}: the id {name!r} is taken by {ids[name][0]}; choose another")
        ids[name] = key, suites
    named = config["statistics"]["system"]
    single = {suite for suite, entry in config["suites"].items() if entry["task"] == "single"}
    if single:
        in_suite = [name for name, (_, suites) in ids.items() if single & set(suites)]
        check_id("statistics.system", named, in_suite)
        for name in (config["scoring"].get("sensitivity") or {}).get("systems", []):
            check_id("scoring.sensitivity.systems", name, in_suite)
