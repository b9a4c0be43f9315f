"""Target `check`: whether everything that a run depends on is available."""

import importlib.metadata
import inspect
import os
from collections.abc import Iterator
from contextlib import suppress

from zsbench.cli.run_state import summary, unreachable_sources
from zsbench.data.fetched import open_fetched
from zsbench.evaluation.label_sets import refusals
from zsbench.evaluation.scoring import SPLITS
from zsbench.families import FAMILIES, CustomOptions, import_class
from zsbench.jobs.launch import too_few_gpus, visible_devices
from zsbench.plan.plan import Plan, System
from zsbench.store.errors import counted
from zsbench.store.provenance import IntegrityError, read_json
from zsbench.systems import UnknownSystemError
from zsbench.systems.imported import rows_without_scores

ODDITIES = {  # key in a card's `quality` -> description
    "empty_texts": ("empty text", ""),
    "duplicate_texts": ("duplicate text", ""),
    "rows_without_gold": ("row", " without gold"),
}
Row = tuple[str, str, str]  # "ok" | "n/a" | "FAIL", subject, facts


def check_run(plan: Plan) -> Iterator[Row]:
    """One row per dependency of a run. The config needs no check: a plan exists only for a valid one."""
    families = sorted({system.family for system in plan.systems.values()})
    packages = sorted({package for family in families for package in FAMILIES[family].packages})
    yield "ok", "config", summary(plan)
    yield "ok", "systems", ", ".join(families)
    yield "ok", "packages", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    yield from _sources(plan)
    yield from _datasets(plan)
    for system in plan.systems.values():
        if system.family == "custom":
            yield _custom(system)
        if system.family == "imported":
            yield from (
                _imported(plan, system.id, suite, name) for suite in system.suites for name in plan.datasets(suite)
            )
    with suppress(IntegrityError):  # a damaged backbone is one of the sources above
        for name, dataset, reason in refusals(plan.layout, plan.label_sets_spec) if plan.label_sets_spec else ():
            yield "n/a", "labels", f"{name} on {dataset}: {reason}"
    yield _devices(plan.gpus)


def _sources(plan: Plan) -> Iterator[Row]:
    """Rows for unreachable sources, and for fetched sources after verifying the checksums of all files."""
    for name, problem in unreachable_sources(plan):
        yield "FAIL", "source", f"{name}: {problem}"
    fetched = [name for name in plan.sources if plan.layout.fetched(name).is_file()]
    intact = 0
    for name in fetched:
        try:
            open_fetched(plan.layout.fetched(name))
            intact += 1
        except IntegrityError as error:
            yield "FAIL", "source", f"{name}: {error}"
    yield "ok", "sources", f"{len(plan.sources)} in the config, {len(fetched)} fetched, {intact} of them intact"


def _datasets(plan: Plan) -> Iterator[Row]:
    """Row counts and data quality from the cards of prepared data sets."""
    for name in plan.all_datasets:
        expected = plan.dataset_spec(name).get("expected_rows", {})
        rows = " + ".join(f"{count:,} {split}" for split, count in expected.items()) or "any number of rows"
        if not plan.layout.dataset_card(name).is_file():
            yield "ok", "dataset", f"{name}: {rows} expected, not prepared yet"
            continue
        try:
            card = read_json(plan.layout.dataset_card(name))
        except IntegrityError as error:
            yield "FAIL", "dataset", f"{name}: {error}"
            continue
        quality = card["quality"]
        odd = [f"{counted(quality[key], noun)}{more}" for key, (noun, more) in ODDITIES.items() if quality[key]]
        replica = ["made-up rows of a rehearsal"] if card["replica"] else []
        yield "ok", "dataset", "; ".join([f"{name}: {rows} at {card['revision'][:15]}", *odd, *replica])


def _custom(system: System) -> Row:
    """Import the user's class, so that errors show up now instead of hours later."""
    options = CustomOptions.model_construct(**system.settings)
    subject = f"{system.id}: {options.class_}"
    try:
        made = import_class(options.class_)
        inspect.signature(made).bind(**options.arguments)
    except Exception as error:  # whatever a user's module raises
        return "FAIL", "system", f"{subject}: {type(error).__name__}: {error}"
    if not callable(getattr(made, "score", None)):
        return "FAIL", "system", f"{subject}: no method score(texts, labels)"
    return "ok", "system", f"{subject} can be imported"


def _imported(plan: Plan, system: str, suite: str, dataset: str) -> Row:
    """Check that imported scores cover all prepared rows; a single missing row would fail the cell."""
    subject, path, rows = f"{system} on {dataset}", plan.layout.imported(system, dataset), plan.layout.dataset(dataset)
    if not rows.is_file():
        return "ok", "scores", f"{subject}: not checked, {dataset} is not prepared yet"
    if not path.is_file():
        return "FAIL", "scores", f"{subject}: nothing imported; see `zsbench import-scores --help`"
    splits = SPLITS[plan.config["suites"][suite]["task"]]
    try:
        lacking = rows_without_scores(plan.layout, system, dataset, splits)
    except (IntegrityError, UnknownSystemError) as error:
        return "FAIL", "scores", f"{subject}: {error}"
    if lacking:
        return "FAIL", "scores", f"{subject}: scores are missing for {len(lacking):,} rows, first {lacking[0]!r}"
    return "ok", "scores", f"{subject}: all rows have scores"


def _devices(wanted: int) -> Row:
    if problem := too_few_gpus(wanted):
        return "FAIL", "devices", problem
    available = len(visible_devices(os.environ).names)
    return "ok", "devices", counted(available, "GPU") if available else "no GPU: every job runs on the CPU"
