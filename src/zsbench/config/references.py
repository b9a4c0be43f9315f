"""Checks across keys that types cannot express: ids exist and are unique, and required splits are available."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from zsbench.config.model import Dataset, Presets, RunConfig, Suite, listed
from zsbench.families import FAMILIES, MissingPackageError, package_files, versions
from zsbench.plan.claims import KINDS
from zsbench.plan.comparisons import differing
from zsbench.plan.contents import OF_ALL, OF_SINGLE
from zsbench.plan.suites import FIXED, OF_THE_CARD, PROTOCOLS, RANDOM, needed
from zsbench.recipe import LENGTHS, with_overrides
from zsbench.store.errors import suggest

Problems = Iterator[str]  # each as "`key`: problem; allowed: ..."
RESERVED = {"average", "system", "seeds", "seed sd", "interval", "p", "p (adjusted)", "δ", "average δ"}  # table columns
RESERVED_SUITES = {  # workflow targets, and tables over all suites
    *("all", "data", "train", "evaluate", "tables", "figures", "report", "speed", "check", "fetch"),
    *("manifest", "prepare", "overlap", "score", "measure", "compare", "hardset", "claims"),
    *(*OF_SINGLE, *OF_ALL),
}


def problems_of_references(run: RunConfig, presets: Presets) -> Problems:
    """All problems that involve several keys or the presets."""
    yield from _presets(presets)
    yield from _suites(run, presets)
    yield from _recipes(run, presets)
    for name, pair in run.gliznet.compounds.items():
        for variant in pair:
            yield from _known(f"gliznet.compounds.{name}", variant, run.gliznet.variants)
        if pair[0] == pair[1]:
            yield f"`gliznet.compounds.{name}`: {pair[0]!r} is compared with itself; allowed: two different variants"
        elif {*pair} <= run.gliznet.variants.keys() and not differing(run.gliznet.model_dump(), *pair):
            problem = f"{pair[0]!r} and {pair[1]!r} differ only in options without effect (VICReg with weight 0)"
            yield f"`gliznet.compounds.{name}`: {problem}; allowed: two variants that differ in a factor"
    yield from _systems(run, presets)
    yield from _hybrids(run, presets)
    yield from _ids(run)
    yield from _claims(run)
    yield from _label_counts(run, presets)
    if run.speed is not None:
        yield from _weights("speed.backbone", run.speed.backbone, presets)


def with_derived(run: RunConfig, presets: Presets) -> RunConfig:
    """Fill in, in place, defaults that depend on other keys: suites of systems, protocols, the reference system."""
    for suite in run.suites.values():
        if suite.task == "multi" and suite.protocols is None:
            sets = [presets.datasets[name] for name in suite.datasets]
            general = [one for one in PROTOCOLS if one not in OF_THE_CARD]
            suite.protocols = [one for one in general if all(_has_splits(one, preset) for preset in sets)]  # type: ignore[misc]
    for name, entry in run.systems.items():
        run.systems[name] = entry.model_copy(update={"suites": suites_of(run, entry)})
    if (counted := run.scoring.label_counts) is not None and counted.datasets is None:
        small = _few_labels(run, presets, counted.counts[0])
        if small:
            counted.datasets = small[:1]
        else:
            run.scoring.label_counts = None  # no suitable set, as in a run without single-label suites
    if run.statistics.system is None:
        ids = _references(run)
        named = [name for name in ids if name not in run.systems or run.systems[name].family != "control"]
        run.statistics.system = next(iter([*named, *ids]), None)
    return run


def _few_labels(run: RunConfig, presets: Presets, most: int) -> list[str]:
    """Data sets of single-label suites with at most `most` labels, in config order."""
    single = [name for suite in run.suites.values() if suite.task == "single" for name in suite.datasets]
    known = [name for name in single if name in presets.datasets]
    return [name for name in known if len(next(iter(presets.datasets[name].verbalisations.values()))) <= most]


def suites_of(run: RunConfig, entry: Any) -> list[str]:
    """The suites of an entry under `systems`."""
    return entry.suites or [name for name, suite in run.suites.items() if suite.task in FAMILIES[entry.family].tasks]


def _known(key: str, value: str, allowed: Iterable[str]) -> Problems:
    allowed = list(allowed)
    if value not in allowed:
        yield f"`{key}`: unknown id {value!r}{suggest(value, allowed)}"


def _weights(key: str, source: str, presets: Presets, trained: Iterable[str] = ()) -> Problems:
    """Check that `source` is the id of a source of model weights; `trained`: other ids that may have been meant."""
    if source not in presets.sources:
        of_rows = {preset.source for kind in (presets.datasets, presets.training_sets) for preset in kind.values()}
        named = key.startswith(("systems.", "hybrid.", "recipe."))  # keys for which `name_models` creates sources
        more = ", or owner/name on the hub, or a folder such as ./my-checkpoint" if named else ""
        yield f"`{key}`: {source!r} is not known{suggest(source, {*presets.sources, *trained} - of_rows)}{more}"
    entry = presets.sources.get(source)
    if entry is not None and (entry.kind == "authored" or getattr(entry, "repo_type", None) == "dataset"):
        yield f"`{key}`: {source!r} is a source of data; allowed: a source of model weights"


def _presets(presets: Presets) -> Problems:
    for kind in ("datasets", "training_sets"):
        for name, preset in getattr(presets, kind).items():
            yield from _known(f"{kind}.{name}.source", preset.source, presets.sources)
            if preset.source in presets.sources:
                delivered = presets.sources[preset.source].delivered()
                files = (preset.files or {}).items()
                for split, file in ((split, file) for split, names in files for file in listed(names)):
                    if not any(fnmatchcase(file, pattern) for pattern in delivered):
                        problem = f"source {preset.source!r} has no file {file!r}{suggest(file, delivered)}"
                        yield f"`{kind}.{name}.files.{split}`: {problem}"
    for name, preset in presets.training_sets.items():
        if preset.files and "train" not in preset.files:
            yield f"`training_sets.{name}.files`: missing split `train`; found: {', '.join(sorted(preset.files))}"
    for name, dataset in presets.datasets.items():
        yield from dataset_problems(f"datasets.{name}", dataset)


def dataset_problems(key: str, preset: Dataset) -> Problems:
    """Check that the files, splits and row counts of a test set are consistent."""
    files, splits, whole = set(preset.files or ()), preset.splits, preset.published_split is not None
    shown = ", ".join(sorted(splits))
    if preset.validation_share and not whole:
        yield f"`{key}.validation_share`: only allowed together with `published_split`"
    elif ("all" in files) != whole or (whole and len(files) > 1):
        yield f"`{key}.files`: with `published_split`, `all` must be the only split; without it, `all` is not allowed"
    elif preset.task == "single" and "test" not in splits:
        yield f"`{key}.files`: missing split `test`, required for task 'single'; found: {shown}"
    elif not splits & {"validation", "test"}:
        yield f"`{key}.files`: one of the splits `validation` and `test` is required; found: {shown}"
    elif preset.expected_rows is not None and set(preset.expected_rows) != splits:
        given = ", ".join(sorted(preset.expected_rows))
        yield f"`{key}.expected_rows`: splits {given}; allowed: the splits of `files`, {shown}"


def _has_splits(protocol: str, preset: Dataset) -> bool:
    found = needed(protocol) & preset.splits
    return bool(found) if protocol == FIXED else found == needed(protocol)


def _suites(run: RunConfig, presets: Presets) -> Problems:
    owners: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name, suite in run.suites.items():
        key = f"suites.{name}"
        if name in RESERVED_SUITES:
            yield f"`{key}`: {name!r} is reserved for a target or a table; allowed: any other id"
        for dataset in suite.datasets:
            yield from _known(f"{key}.datasets", dataset, presets.datasets)
            if dataset not in presets.datasets:
                continue
            preset = presets.datasets[dataset]
            if preset.task != suite.task:
                yield f"`{key}.datasets`: {dataset!r} has task {preset.task!r}; allowed: task {suite.task!r}"
            elif suite.task == "multi":
                yield from _decisions(key, suite, dataset, preset)
            if (owner := owners.setdefault(dataset, name)) != name:
                yield f"`{key}.datasets`: {dataset!r} is already in suite {owner!r}; allowed: one suite per data set"
            yield from _names(dataset, preset.title, taken)
        for dataset in suite.rows if isinstance(suite.rows, dict) else ():
            yield from _known(f"{key}.rows", dataset, suite.datasets)
        for dataset, wording in suite.verbalisations.items():
            yield from _known(f"{key}.verbalisations", dataset, suite.datasets)
            if dataset in presets.datasets:
                yield from _known(f"{key}.verbalisations.{dataset}", wording, presets.datasets[dataset].verbalisations)


def _names(dataset: str, title: str, taken: dict[str, str]) -> Problems:
    """Tables and pages refer to a data set by id or title, so both must be unique and differ from table columns."""
    for key, name in ((f"datasets.{dataset}", dataset), (f"datasets.{dataset}.title", title)):
        folded = " ".join(name.split()).casefold()
        if folded in RESERVED:
            yield f"`{key}`: {name!r} is reserved for a table column; allowed: any other name"
        elif (owner := taken.setdefault(folded, dataset)) != dataset:
            yield f"`{key}`: {name!r} is already used by dataset {owner!r}; allowed: any other name"


def _decisions(key: str, suite: Suite, dataset: str, preset: Dataset) -> Problems:
    for protocol in suite.protocols or ():
        if not _has_splits(protocol, preset):
            missing = ", ".join(sorted(needed(protocol) - preset.splits))
            yield f"`{key}.protocols`: {protocol!r} needs a {missing} split; dataset {dataset!r} has none"
    rows = (preset.expected_rows or {}).get("validation", 0)
    wanted = suite.rows.get(dataset) if isinstance(suite.rows, dict) else suite.rows
    scored = min(rows, wanted or rows)
    cv = suite.protocols is None or "cv" in suite.protocols
    if cv and scored and suite.folds is not None and suite.folds > scored:
        yield f"`{key}.folds`: {suite.folds} is too many; allowed: at most {scored}, the validation rows of {dataset!r}"


def _recipes(run: RunConfig, presets: Presets) -> Problems:
    if run.recipe is None:
        return
    whole = run.recipe.model_dump()
    recipes = {"recipe": whole}
    for name, entry in run.trained.items():
        overrides = entry.recipe.model_dump() if entry.recipe else {}
        recipes |= {f"trained.{name}.recipe": with_overrides(whole, overrides)} if overrides else {}
        yield from _installed(f"trained.{name}.family", entry.family)
    for key, recipe in recipes.items():
        yield from _weights(f"{key}.backbone", recipe["backbone"], presets)
        yield from _known(f"{key}.training_set", recipe["training_set"], presets.training_sets)
        if sum(recipe.get(length) is not None for length in LENGTHS) != 1:
            yield f"`{key}.steps`: exactly one of `epochs` and `steps` is required"
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
                        yield f"`{key}.suites`: dataset {dataset!r} of suite {suite!r} has no train split"
        yield from _installed(f"{key}.family", family)


def _hybrids(run: RunConfig, presets: Presets) -> Problems:
    topics = [name for suite in run.suites.values() if suite.task == "multi" for name in suite.datasets]
    for name, entry in run.hybrid.items():
        key = f"hybrid.{name}"
        if entry.nli not in run.trained:
            yield from _weights(f"{key}.nli", entry.nli, presets, run.trained)
        elif run.trained[entry.nli].family != "nli":
            yield f"`{key}.nli`: {entry.nli!r} has family {run.trained[entry.nli].family!r}; allowed: family 'nli'"
        if not topics:
            yield f"`{key}.dataset`: no suite includes {entry.dataset!r}; also set `{key}: null`"
            continue
        yield from _known(f"{key}.dataset", entry.dataset, topics)
        preset = presets.datasets.get(entry.dataset)
        if preset is None or entry.dataset not in topics:
            continue
        labels = next(iter(preset.verbalisations.values()))
        for label in entry.nli_only:
            yield from _known(f"{key}.nli_only", label, labels)
        if len(entry.nli_only) == len(labels):
            yield f"`{key}.nli_only`: contains all labels; at least one label needs a head"
        if missing := {"train", "validation"} - preset.splits:
            yield f"`{key}.dataset`: {entry.dataset!r} has no split {', '.join(sorted(missing))}"


def _label_counts(run: RunConfig, presets: Presets) -> Problems:
    """`scoring.label_counts` and `scoring.confusable`."""
    single = {name: suite for name, suite in run.suites.items() if suite.task == "single"}
    if (options := run.scoring.label_counts) is not None:
        key = "scoring.label_counts"
        for dataset in options.datasets or ():
            yield from _known(f"{key}.datasets", dataset, [name for one in single.values() for name in one.datasets])
            labels = (
                len(next(iter(presets.datasets[dataset].verbalisations.values()), ()))
                if dataset in presets.datasets
                else 0
            )
            if labels > options.counts[0]:
                yield f"`{key}.counts`: {options.counts[0]} is less than the {labels} labels of {dataset!r}"
        if options.datasets and not any({*options.datasets} <= {*suite.datasets} for suite in single.values()):
            yield f"`{key}.datasets`: not all in one suite; allowed: data sets of one single-label suite"
        sets = {*(options.datasets or _few_labels(run, presets, options.counts[0])[:1])}
        counted = {name for name, suite in single.items() if sets <= {*suite.datasets}}
        for name in (options.systems or ()) if counted else ():
            yield from _known(f"{key}.systems", name, _readers(run, counted))
    if (alike := run.scoring.confusable) is not None:
        if alike.encoder is not None:
            yield from _weights("scoring.confusable.encoder", alike.encoder, presets)
        elif run.recipe is None:
            yield "`scoring.confusable.encoder`: required, because there is no `recipe.backbone`"


def _readers(run: RunConfig, suites: Iterable[str]) -> list[str]:
    """Systems of these suites that read labels."""
    scored = [name for name, _, of_system in _all_systems(run) if {*of_system} & {*suites}]
    return [name for name in scored if name not in run.systems or FAMILIES[run.systems[name].family].reads_labels]


def _claims(run: RunConfig) -> Problems:
    """Check systems and suites of the config's own claims; the project's claims may name systems that a run lacks."""
    known = [*(name for name, _, _ in _all_systems(run)), *KINDS]
    for name, claim in run.claims.items():
        for system in claim.systems or ():
            yield from _known(f"claims.{name}.systems", system, known)
        if claim.suite is not None:
            yield from _known(f"claims.{name}.suite", claim.suite, run.suites)


def _all_systems(run: RunConfig) -> Iterator[tuple[str, str, list[str]]]:
    """(id, key, suites) of all systems, in table order."""
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
    """Systems of the single-label suites, whose tables print deltas; all systems if there are no such suites."""
    single = {name for name, suite in run.suites.items() if suite.task == "single"}
    return [name for name, _, suites in _all_systems(run) if not single or single & {*suites}]


def _references(run: RunConfig) -> list[str]:
    """Systems that the deltas can compare with. The value of a random control is a mean over draws, which has no rows
    to pair; it is the reference only if all systems are random controls, so that nothing is compared.
    """
    ids = _compared(run)
    return [name for name in ids if getattr(run.systems.get(name), "control", None) not in RANDOM] or ids


def _ids(run: RunConfig) -> Problems:
    """Check that system ids are unique and that the reference system exists."""
    keys: dict[str, str] = {}
    for name, key, _ in _all_systems(run):
        if keys.setdefault(name, key) != key:
            yield f"`{key}`: the id {name!r} is already used by {keys[name]}; allowed: any other id"
    if not keys:
        yield "`systems`: there are none; allowed: at least one system"
    compared = _compared(run)
    if run.statistics.system is not None:
        yield from _known("statistics.system", run.statistics.system, compared)
        if run.statistics.system in {*compared} - {*(allowed := _references(run))}:
            problem = f"{run.statistics.system!r} is a random control, which has no rows to pair"
            yield f"`statistics.system`: {problem}; allowed: {', '.join(allowed)}"
    sensitivity = run.scoring.sensitivity
    for name in (sensitivity.systems if sensitivity else None) or ():
        yield from _known("scoring.sensitivity.systems", name, compared)
