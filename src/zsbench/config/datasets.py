"""Presets and suites of a config: sources have the keys of their kind, test sets the splits and labels they need."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from zsbench.config.labels import check_labels, fold
from zsbench.config.load import ConfigError, check_id, suggest
from zsbench.data.errors import FetchError
from zsbench.data.fetched import AUTHORED
from zsbench.data.gold import readings
from zsbench.data.sources.addresses import address, file_name

# Keys a kind of source needs, and keys it may have.
SOURCE_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "package": (("name", "version", "distribution", "sha256", "files"), ()),
    "hub": (("repo_type", "repo", "revision", "files"), ("branch", "pickled")),
    "https": (("url", "sha256"), ("files", "repo", "repo_type", "revision")),
    "authored": (("file",), ()),
    "local": (("path",), ("sha256",)),
}
METRICS = {"single": ("macro_f1", "accuracy"), "multi": ("macro_f1", "mean_ap", "micro_f1")}
DEFAULTS_OF_MULTI = {
    "protocols": ["fixed-0.5", "val-tuned", "cv", "held-out"],
    "folds": 5,
    "fold_seed": 0,
    "partitions": 20,
}
RESERVED = {"average", "system", "seeds", "seed sd", "interval", "p", "p (holm)", "δ", "average δ"}  # table columns


def check_own_presets(config: dict[str, Any], resources: dict[str, Any]) -> None:
    """A config's own presets have ids of their own: under a known id, known numbers would mean something else.

    Raises:
        ConfigError: names the first id that is taken.
    """
    for kind in ("sources", "datasets", "training_sets"):
        for name in config[kind]:
            if name in resources[kind]:
                raise ConfigError(f"{kind}.{name}: the id is taken by a preset of the project; choose another")


def check_presets(resources: dict[str, Any]) -> None:
    """What the presets' schema cannot say: sources have the keys of their kind and exist, sets fit their suite.

    Raises:
        ConfigError: the first problem found.
    """
    for name, source in resources["sources"].items():
        needed, optional = SOURCE_KEYS[source["kind"]]
        for key in source:
            if key not in ("kind", *needed, *optional, "lock"):
                allowed = ", ".join(("kind", *needed, *optional))
                raise ConfigError(f"sources.{name}.{key}: kind {source['kind']!r} has none; allowed: {allowed}")
        if source["kind"] == "authored":
            check_id(f"sources.{name}.file", source["file"], (path.name for path in AUTHORED.glob("*.jsonl")))
        if source["kind"] == "https":
            try:
                address(source)
            except FetchError as error:
                raise ConfigError(f"sources.{name}.url: {error}") from None
    for kind in ("datasets", "training_sets"):
        for name, preset in resources[kind].items():
            check_id(f"{kind}.{name}.source", preset["source"], resources["sources"])
            _check_files(f"{kind}.{name}.files", preset, resources["sources"][preset["source"]])
    for name, preset in resources["training_sets"].items():
        if "train" not in preset["files"]:
            raise ConfigError(
                f"training_sets.{name}.files: has no `train`; it has {', '.join(sorted(preset['files']))}"
            )
    for name, preset in resources["datasets"].items():
        check_dataset(f"datasets.{name}", preset)


def _check_files(key: str, preset: dict[str, Any], source: dict[str, Any]) -> None:
    known = delivered(source)
    for split, name in preset["files"].items():
        if not any(fnmatchcase(name, pattern) for pattern in known):
            raise ConfigError(f"{key}.{split}: source {preset['source']!r} has no file {name!r}{suggest(name, known)}")


def delivered(source: dict[str, Any]) -> list[str]:
    """Names, or patterns, of the files that a source is fetched as."""
    kind = source["kind"]
    if kind in ("local", "authored"):
        return [Path(source["path" if kind == "local" else "file"]).name]
    if kind == "https":
        return [file_name(source)]
    if kind == "package":  # under their base names; a folder keeps its inner layout, which only the package knows
        return ["*" if name.endswith("/") else Path(name.rpartition("!")[2]).name for name in source["files"]]
    return source["files"]


def check_dataset(key: str, preset: dict[str, Any]) -> None:
    """One test set: its task, splits, gold values and labels belong together.

    Raises:
        ConfigError: names the key.
    """
    whole = "published_split" in preset
    splits = {"train", "validation"} if whole else set(preset["files"])
    if "validation_share" in preset:
        if not whole:
            raise ConfigError(f"{key}.validation_share: goes with `published_split`; leave it out")
        splits.add("test")
    if ("all" in preset["files"]) != whole or (whole and len(preset["files"]) > 1):
        raise ConfigError(f"{key}.files: `all`, alone, goes with `published_split`, and the latter with nothing else")
    if preset["task"] == "single" and "test" not in splits:
        raise ConfigError(f"{key}.files: has no `test`, which task 'single' scores; it has {', '.join(sorted(splits))}")
    if not splits & {"validation", "test"}:
        raise ConfigError(f"{key}.files: has neither `validation` nor `test`; task 'multi' scores these")
    if set(preset["expected_rows"]) != splits:
        found = sorted(preset["expected_rows"])
        raise ConfigError(f"{key}.expected_rows: splits {found}; allowed: those of files, {sorted(splits)}")
    gold = preset["gold"]
    _check_bins(f"{key}.gold.bins", gold.get("bins", []))
    try:
        readings(gold.get("values", []))
    except ValueError as error:
        raise ConfigError(f"{key}.gold.values: {error}; allowed: a value of its own for each label") from None
    wordings = preset["verbalisations"]
    _check_labels(
        f"{key}.verbalisations", wordings, len(gold.get("values") or gold.get("bins") or [*wordings.values()][0])
    )


def _check_bins(key: str, bins: list[list[float]]) -> None:
    for low, high in bins:
        if low > high:
            raise ConfigError(f"{key}: [{low}, {high}] is empty; write the smaller end first")
    ordered = sorted(bins)
    for (_, high), (low, end) in zip(ordered, ordered[1:], strict=False):
        if low <= high:
            raise ConfigError(
                f"{key}: [{low}, {end}] overlaps the one before it, which ends at {high} (ends are inside)"
            )


def _check_labels(key: str, verbalisations: dict[str, list[str]], count: int) -> None:
    first: dict[tuple[str, ...], str] = {}
    for wording, labels in verbalisations.items():
        if len(labels) != count:
            raise ConfigError(
                f"{key}.{wording}: {len(labels)} labels for the {count} values of gold; allowed: one each"
            )
        check_labels(f"{key}.{wording}", labels)
        folded = [fold(label) for label in labels]
        same = first.setdefault(tuple(sorted(folded)), wording)
        if same != wording and [fold(label) for label in verbalisations[same]] != folded:
            raise ConfigError(f"{key}.{wording}: the labels of {same!r} in another order; all wordings have one order")


def check_suites(config: dict[str, Any], resources: dict[str, Any]) -> None:
    """Suites name test sets of their own, wordings these have, and protocols their splits allow.

    Raises:
        ConfigError: the first problem found.
    """
    _check_names(config, resources)
    owners: dict[str, str] = {}
    for suite, entry in config["suites"].items():
        check_id(f"suites.{suite}.metric", entry["metric"], METRICS[entry["task"]])
        if entry["task"] == "single":
            for name in DEFAULTS_OF_MULTI:
                if entry.pop(name, None) not in (None, DEFAULTS_OF_MULTI[name]):
                    raise ConfigError(f"suites.{suite}.{name}: is for task 'multi'; leave it out")
        for dataset in entry["datasets"]:
            check_id(f"suites.{suite}.datasets", dataset, resources["datasets"])
            preset = resources["datasets"][dataset]
            if preset["task"] != entry["task"]:
                raise ConfigError(
                    f"suites.{suite}.datasets: {dataset!r} is a data set of task {preset['task']!r}; "
                    f"allowed: those of task {entry['task']!r}"
                )
            if owners.setdefault(dataset, suite) != suite:
                raise ConfigError(
                    f"suites.{suite}.datasets: {dataset!r} is in suite {owners[dataset]!r} already; allowed: one suite"
                )
            if entry["task"] == "multi":
                _check_protocols(suite, entry, dataset, preset["expected_rows"])
        for dataset in entry["rows"] if isinstance(entry["rows"], dict) else ():
            check_id(f"suites.{suite}.rows", dataset, entry["datasets"])
        for dataset, wording in entry["verbalisations"].items():
            check_id(f"suites.{suite}.verbalisations", dataset, entry["datasets"])
            known = resources["datasets"][dataset]["verbalisations"]
            check_id(f"suites.{suite}.verbalisations.{dataset}", wording, known)


def _check_names(config: dict[str, Any], resources: dict[str, Any]) -> None:
    """Tables and pages name a set by its id or its title, so each is one set's alone and no other column's."""
    taken: dict[str, str] = {}
    for suite in config["suites"].values():
        for dataset in suite["datasets"]:
            preset = resources["datasets"].get(dataset, {"title": dataset})  # an unknown id is refused elsewhere
            for key, name in ((f"datasets.{dataset}", dataset), (f"datasets.{dataset}.title", preset["title"])):
                folded = " ".join(name.split()).casefold()
                if folded in RESERVED:
                    raise ConfigError(f"{key}: {name!r} names a column of the tables; choose another")
                if taken.setdefault(folded, dataset) != dataset:
                    raise ConfigError(f"{key}: {name!r} already names dataset {taken[folded]!r}; choose another")


def _check_protocols(name: str, suite: dict[str, Any], dataset: str, rows: dict[str, int]) -> None:
    key, needs = f"suites.{name}.protocols", {"validation"}
    for protocol in suite["protocols"]:
        missing = (needs | {"test"} if protocol == "held-out" else needs) - set(rows)
        if missing and not (protocol == "fixed-0.5" and "test" in rows):
            raise ConfigError(f"{key}: {protocol!r} needs {', '.join(sorted(missing))}, which {dataset!r} has not")
    asked = suite["rows"].get(dataset) if isinstance(suite["rows"], dict) else suite["rows"]
    scored = min(rows.get("validation", 0), asked or rows.get("validation", 0))
    if "cv" in suite["protocols"] and suite["folds"] > scored:
        raise ConfigError(
            f"suites.{name}.folds: {suite['folds']}; {dataset!r} has {scored} validation rows to share out"
        )
