"""`snakemake check`: whether a run has what it depends on."""

import importlib.metadata
import os
from collections.abc import Iterator

from zsbench.data.fetched import open_fetched
from zsbench.evaluation.label_sets import refusals
from zsbench.families import FAMILIES
from zsbench.jobs.launch import visible_devices
from zsbench.plan.plan import Plan
from zsbench.plan.progress import out_of_reach, summary
from zsbench.store.provenance import IntegrityError, read_json

ODDITIES = ("empty_texts", "duplicate_texts", "rows_without_gold")
Row = tuple[str, str, str]  # "ok" | "n/a" | "FAIL", subject, facts


def check_run(plan: Plan) -> Iterator[Row]:
    """A row for everything that a run depends on. (That there is a plan says that the config passed.)"""
    families = sorted({system.family for system in plan.systems.values()})
    packages = sorted({package for family in families for package in FAMILIES[family].packages})
    yield "ok", "config", summary(plan)
    yield "ok", "systems", ", ".join(families)
    yield "ok", "packages", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    yield from _sources(plan)
    yield from _datasets(plan)
    for system, dataset, reason in refusals(plan.layout, plan.label_sets_spec) if plan.label_sets_spec else ():
        yield "n/a", "labels", f"{system} on {dataset}: {reason}"
    yield _devices(plan.gpus)


def _sources(plan: Plan) -> Iterator[Row]:
    """Sources out of reach, and every fetched source with the sum of each file computed again."""
    for name, problem in out_of_reach(plan):
        yield "FAIL", "source", f"{name}: {problem}"
    fetched = [name for name in plan.sources if plan.layout.fetched(name).is_file()]
    intact = 0
    for name in fetched:
        try:
            open_fetched(plan.layout.fetched(name))
            intact += 1
        except IntegrityError as error:
            yield "FAIL", "source", f"{name}: {error}"
    yield "ok", "sources", f"{len(plan.sources)} named, {len(fetched)} fetched, {intact} of them intact"


def _datasets(plan: Plan) -> Iterator[Row]:
    """What the cards of prepared sets count."""
    for name in plan.all_datasets:
        expected = plan.dataset_spec(name).get("expected_rows", {})
        rows = " + ".join(f"{count:,} {split}" for split, count in expected.items()) or "any number of rows"
        if not plan.layout.dataset_card(name).is_file():
            yield "ok", "dataset", f"{name}: {rows} expected, not prepared yet"
            continue
        card = read_json(plan.layout.dataset_card(name))
        odd = [f"{card['quality'][key]:,} {key.replace('_', ' ')}" for key in ODDITIES if card["quality"][key]]
        replica = ["made-up rows of a rehearsal"] if card["replica"] else []
        yield "ok", "dataset", "; ".join([f"{name}: {rows} at {card['revision'][:15]}", *odd, *replica])


def _devices(wanted: int) -> Row:
    available = len(visible_devices(os.environ).names)
    if available == 0:
        return "ok", "devices", "no GPU: every job runs on the CPU"
    return "ok" if available >= wanted else "FAIL", "devices", f"{available} GPUs available, a training needs {wanted}"
