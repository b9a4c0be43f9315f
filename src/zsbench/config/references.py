"""What types cannot say of a config: ids exist and are used once, splits are there for what needs them."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from zsbench.config.model import Dataset, Presets, RunConfig, Suite
from zsbench.errors import suggest
from zsbench.families import FAMILIES, MissingPackageError, package_files, versions

Problems = Iterator[str]  # each as "`key`: problem; allowed: ..."
RESERVED = {"average", "system", "seeds", "seed sd", "interval", "p", "p (adjusted)", "δ", "average δ"}  # table columns
RESERVED_SUITES = {  # targets of the workflow, and tables over all suites
    *("all", "data", "train", "evaluate", "tables", "figures", "report", "speed", "check", "fetch"),
    *("manifest", "prepare", "overlap", "score", "measure", "compare", "hardset"),
    *("ablations", "peers", "sensitivity", "published", "calibration", "cost", "integrity"),
}
PROTOCOLS = {  # -> splits it needs; fixed-0.5 takes either
    "fixed-0.5": ("validation", "test"),
    "val-tuned": ("validation",),
    "cv": ("validation",),
    "held-out": ("validation", "test"),
}


def problems_of_references(run: RunConfig, presets: Presets) -> Problems:
    """Every problem that more than one key, or the presets, make.

    Args:
        run: the config.
        presets: the project's and the config's own.
    """
    yield from _presets(presets)
    yield from _suites(run, presets)
    yield from _recipes(run, presets)
    for name, pair in run.gliznet.compounds.items():
        for variant in pair:
            yield from _known(f"gliznet.compounds.{name}", variant, run.gliznet.variants)
        if pair[0] == pair[1]:
            yield f"`gliznet.compounds.{name}`: {pair[0]!r} against itself; allowed: two variants"
    yield from _systems(run, presets)
    yield from _hybrids(run, presets)
    yield from _ids(run)
    if run.speed is not None:
        yield from _weights("speed.backbone", run.speed.backbone, presets)


def with_derived(run: RunConfig, presets: Presets) -> RunConfig:
    """Fill in, in place, what is told by other keys: suites of systems, protocols of suites, the system of deltas."""
    for suite in run.suites.values():
        if suite.task == "multi" and suite.protocols is None:
            sets = [presets.datasets[name] for name in suite.datasets]
            suite.protocols = [one for one in PROTOCOLS if all(_has_splits(one, preset) for preset in sets)]  # type: ignore[misc]
    for name, entry in run.systems.items():
        run.systems[name] = entry.model_copy(update={"suites": suites_of(run, entry)})
    if run.statistics.system is None:
        ids = _compared(run)
        named = [name for name in ids if name not in run.systems or run.systems[name].family != "control"]
        run.statistics.system = next(iter([*named, *ids]), None)
    return run


def suites_of(run: RunConfig, entry: Any) -> list[str]:
    """Suites of an entry under `systems`."""
    return entry.suites or [name for name, suite in run.suites.items() if suite.task in FAMILIES[entry.family].tasks]


def _known(key: str, value: str, allowed: Iterable[str]) -> Problems:
    allowed = list(allowed)
    if value not in allowed:
        yield f"`{key}`: {value!r} is not known{suggest(value, allowed)}"


def _weights(key: str, source: str, presets: Presets) -> Problems:
    """The id of a source that can hold a model."""
    yield from _known(key, source, presets.sources)
    entry = presets.sources.get(source)
    if entry is not None and (entry.kind == "authored" or getattr(entry, "repo_type", None) == "dataset"):
        yield f"`{key}`: {source!r} is a source of data, not of a model's weights"


def _presets(presets: Presets) -> Problems:
    for kind in ("datasets", "training_sets"):
        for name, preset in getattr(presets, kind).items():
            yield from _known(f"{kind}.{name}.source", preset.source, presets.sources)
            if preset.source in presets.sources:
                delivered = presets.sources[preset.source].delivered()
                for split, file in preset.files.items():
                    if not any(fnmatchcase(file, pattern) for pattern in delivered):
                        problem = f"source {preset.source!r} has no file {file!r}{suggest(file, delivered)}"
                        yield f"`{kind}.{name}.files.{split}`: {problem}"
    for name, preset in presets.training_sets.items():
        if preset.files and "train" not in preset.files:
            yield f"`training_sets.{name}.files`: no `train`; there is {', '.join(sorted(preset.files))}"
    for name, dataset in presets.datasets.items():
        yield from dataset_problems(f"datasets.{name}", dataset)


def dataset_problems(key: str, preset: Dataset) -> Problems:
    """One test set: its files, splits and numbers of rows belong together."""
    files, splits, whole = set(preset.files or ()), preset.splits, preset.published_split is not None
    shown = ", ".join(sorted(splits))
    if preset.validation_share and not whole:
        yield f"`{key}.validation_share`: goes with `published_split`; leave it out"
    elif ("all" in files) != whole or (whole and len(files) > 1):
        yield f"`{key}.files`: `all`, alone, goes with `published_split`, and the latter with nothing else"
    elif preset.task == "single" and "test" not in splits:
        yield f"`{key}.files`: no `test`, which a set of task 'single' is scored on; there is {shown}"
    elif not splits & {"validation", "test"}:
        yield f"`{key}.files`: neither `validation` nor `test`, which a set is scored on; there is {shown}"
    elif preset.expected_rows is not None and set(preset.expected_rows) != splits:
        given = ", ".join(sorted(preset.expected_rows))
        yield f"`{key}.expected_rows`: splits {given}; allowed: those of files, {shown}"


def _has_splits(protocol: str, preset: Dataset) -> bool:
    needed = set(PROTOCOLS[protocol])
    return bool(needed & preset.splits) if protocol == "fixed-0.5" else needed <= preset.splits


def _suites(run: RunConfig, presets: Presets) -> Problems:
    owners: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name, suite in run.suites.items():
        key = f"suites.{name}"
        if name in RESERVED_SUITES:
            yield f"`{key}`: {name!r} names a target or a table; allowed: any other id"
        for dataset in suite.datasets:
            yield from _known(f"{key}.datasets", dataset, presets.datasets)
            if dataset not in presets.datasets:
                continue
            preset = presets.datasets[dataset]
            if preset.task != suite.task:
                yield f"`{key}.datasets`: {dataset!r} is of task {preset.task!r}; allowed: sets of task {suite.task!r}"
            elif suite.task == "multi":
                yield from _decisions(key, suite, dataset, preset)
            if (owner := owners.setdefault(dataset, name)) != name:
                yield f"`{key}.datasets`: {dataset!r} is in suite {owner!r} already; allowed: one suite"
            yield from _names(dataset, preset.title, taken)
        for dataset in suite.rows if isinstance(suite.rows, dict) else ():
            yield from _known(f"{key}.rows", dataset, suite.datasets)
        for dataset, wording in suite.verbalisations.items():
            yield from _known(f"{key}.verbalisations", dataset, suite.datasets)
            if dataset in presets.datasets:
                yield from _known(f"{key}.verbalisations.{dataset}", wording, presets.datasets[dataset].verbalisations)


def _names(dataset: str, title: str, taken: dict[str, str]) -> Problems:
    """Tables and pages name a set by its id or its title, so each is one set's alone and no other column's."""
    for key, name in ((f"datasets.{dataset}", dataset), (f"datasets.{dataset}.title", title)):
        folded = " ".join(name.split()).casefold()
        if folded in RESERVED:
            yield f"`{key}`: {name!r} names a column of the tables; choose another"
        elif (owner := taken.setdefault(folded, dataset)) != dataset:
            yield f"`{key}`: {name!r} already names dataset {owner!r}; choose another"


def _decisions(key: str, suite: Suite, dataset: str, preset: Dataset) -> Problems:
    for protocol in suite.protocols or ():
        if not _has_splits(protocol, preset):
            missing = ", ".join(sorted({*PROTOCOLS[protocol]} - preset.splits))
            yield f"`{key}.protocols`: {protocol!r} needs a {missing} split; dataset {dataset!r} has none"
    rows = (preset.expected_rows or {}).get("validation", 0)
    wanted = suite.rows.get(dataset) if isinstance(suite.rows, dict) else suite.rows
    scored = min(rows, wanted or rows)
    cv = suite.protocols is None or "cv" in suite.protocols
    if cv and scored and suite.folds is not None and suite.folds > scored:
        yield f"`{key}.folds`: {suite.folds}; {dataset!r} has {scored} validation rows to share out"


def _recipes(run: RunConfig, presets: Presets) -> Problems:
    if run.recipe is None:
        return
    whole = run.recipe.model_dump()
    recipes = {"recipe": whole}
    for name, entry in run.trained.items():
        own = entry.recipe.model_dump() if entry.recipe else {}
        recipes |= {f"trained.{name}.recipe": whole | own} if own else {}
        yield from _installed(f"trained.{name}.family", entry.family)
    for key, recipe in recipes.items():
        yield from _weights(f"{key}.backbone", recipe["backbone"], presets)
        yield from _known(f"{key}.training_set", recipe["training_set"], presets.training_sets)
        micro = recipe["gpus"] * recipe["per_device_batch"]
        if recipe["effective_batch"] % micro:
            problem = f"{recipe['effective_batch']} is not a multiple of gpus x per_device_batch = {micro}"
            yield f"`{key}.effective_batch`: {problem}"
    if whole["strategy"] == "single" and whole["gpus"] != 1:
        yield f"`recipe.gpus`: {whole['gpus']} with strategy 'single'; allowed: 1, or another strategy"


def _installed(key: str, family: str) -> Problems:
    try:
        versions(family)
    except MissingPackageError as error:
        yield f"`{key}`: {error}"


def _systems(run: RunConfig, presets: Presets) -> Problems:
    for name, entry in run.systems.items():
        key, family = f"systems.{name}", entry.family
        allowed = [suite for suite, one in run.suites.items() if one.task in FAMILIES[family].tasks]
        for suite in entry.suites or ():
            yield from _known(f"{key}.suites", suite, allowed)
        for given in ("model", "nli"):
            if source := getattr(entry, given, None):
                yield from _weights(f"{key}.{given}", source, presets)
        if family == "custom":
            try:
                package_files(entry.class_)
            except MissingPackageError as error:
                yield f"`{key}.class`: {error}"
        for dataset in entry.seen or ():
            yield from _known(f"{key}.seen", dataset, presets.datasets)
        if family == "supervised":
            for suite in {*suites_of(run, entry)} & run.suites.keys():
                for dataset in {*run.suites[suite].datasets} & presets.datasets.keys():
                    if "train" not in presets.datasets[dataset].splits:
                        yield f"`{key}.suites`: {suite!r} holds {dataset!r}, which has no rows for train"
        yield from _installed(f"{key}.family", family)


def _hybrids(run: RunConfig, presets: Presets) -> Problems:
    topics = [name for suite in run.suites.values() if suite.task == "multi" for name in suite.datasets]
    for name, entry in run.hybrid.items():
        key = f"hybrid.{name}"
        if entry.nli not in run.trained:
            yield from _known(f"{key}.nli", entry.nli, [*run.trained, *presets.sources])
            if entry.nli in presets.sources:
                yield from _weights(f"{key}.nli", entry.nli, presets)
        elif run.trained[entry.nli].family != "nli":
            yield f"`{key}.nli`: {entry.nli!r} is of family {run.trained[entry.nli].family!r}; allowed: family 'nli'"
        yield from _known(f"{key}.dataset", entry.dataset, topics)
        preset = presets.datasets.get(entry.dataset)
        if preset is None or entry.dataset not in topics:
            continue
        labels = next(iter(preset.verbalisations.values()))
        for label in entry.nli_only:
            yield from _known(f"{key}.nli_only", label, labels)
        if len(entry.nli_only) == len(labels):
            yield f"`{key}.nli_only`: holds every label; at least one needs a head"
        if missing := {"train", "validation"} - preset.splits:
            yield f"`{key}.dataset`: {entry.dataset!r} has no rows for {', '.join(sorted(missing))}"


def _all_systems(run: RunConfig) -> Iterator[tuple[str, str, list[str]]]:
    """(id, key, suites) of everything that scores, in the order of the tables."""
    for name in run.gliznet.variants:
        yield f"gliznet-{name}", f"gliznet.variants.{name}", [*run.suites]
    for name in run.trained:
        yield name, f"trained.{name}", [*run.suites]
    for name, hybrid in run.hybrid.items():
        suites = [suite for suite, one in run.suites.items() if hybrid.dataset in one.datasets]
        blends = [name if blend == "learned" else f"{name}-{blend}" for blend in hybrid.blends]
        yield from ((one, f"hybrid.{name}", suites) for one in dict.fromkeys([name, *blends]))
    for name, system in run.systems.items():
        yield name, f"systems.{name}", suites_of(run, system)


def _compared(run: RunConfig) -> list[str]:
    """Systems of the single suites, whose tables print deltas; where there is none, of all."""
    single = {name for name, suite in run.suites.items() if suite.task == "single"}
    return [name for name, _, suites in _all_systems(run) if not single or single & {*suites}]


def _ids(run: RunConfig) -> Problems:
    """Every system has an id of its own, and the one whose deltas are printed is among them."""
    keys: dict[str, str] = {}
    for name, key, _ in _all_systems(run):
        if keys.setdefault(name, key) != key:
            yield f"`{key}`: the id {name!r} is taken by {keys[name]}; choose another"
    if not keys:
        yield "`systems`: nothing is scored; allowed: at least one system"
    compared = _compared(run)
    if run.statistics.system is not None:
        yield from _known("statistics.system", run.statistics.system, compared)
    sensitivity = run.scoring.sensitivity
    for name in (sensitivity.systems if sensitivity else None) or ():
        yield from _known("scoring.sensitivity.systems", name, compared)
