"""What a run comes to and whether it can start: looked up on the disk, before any job and without the network."""

import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zsbench.data.errors import FetchError
from zsbench.data.fetched import open_fetched
from zsbench.data.sources.hub import UNLOCKED, wanted_revision
from zsbench.data.sources.mirror import look_up
from zsbench.families import FAMILIES
from zsbench.jobs.launch import visible_devices
from zsbench.plan.plan import Plan
from zsbench.store.integrity import intact
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json
from zsbench.store.status import FAILED, status

ODDITIES = ("empty_texts", "duplicate_texts", "rows_without_gold")
Row = tuple[str, str, str]  # state, subject, words


def summary(plan: Plan) -> str:
    """Cells and GPU jobs of a run, done and to do, in one line."""
    layout = plan.layout
    models = [layout.model(name, seed) for name in [*plan.trained, *plan.config["hybrid"]] for seed in plan.seeds]
    trained = sum(path.is_file() for path in models)
    cards = {cell: _card(layout, cell) for cell in plan.cells}
    cells = {cell: card is not None and status(card) != FAILED for cell, card in cards.items()}
    done = sum(cells.values())
    failed = sum(card is not None and status(card) == FAILED for card in cards.values())
    to_do = f"{len(cells) - done} to do" + (f", {failed} of them failed before" if failed else "")
    jobs = {(system, seed) for _, _, system, seed in cells}
    unscored = {(system, seed) for (_, _, system, seed), there in cells.items() if not there}
    return (
        f"run {plan.run}: {len(cells)} cells ({done} done, {to_do}); jobs that use a GPU where there is"
        f" one: {len(models)} trainings ({trained} done), {len(jobs)} scorings ({len(jobs) - len(unscored)} done)"
    )


def _card(layout: Layout, cell: tuple[str, str, str, int]) -> dict[str, Any] | None:
    """A cell's card, {} for a damaged one (the job that needs it says so), None where there is none."""
    path = layout.card(*cell)
    if not path.is_file():
        return None
    return read_json(path) if intact(path) else {}


def failures(plan: Plan) -> str | None:
    """The cells of a finished run that failed, a line each, and what to do; None where every cell came out."""
    lines = []
    for cell in plan.cells:
        card = _card(plan.layout, cell) or {}
        for what, facts in (("", card), (" (sensitivity)", card.get("no_sensitivity", {}))):
            if status(facts) == FAILED:
                lines.append(f"  {'/'.join(map(str, cell))}{what}: {facts['reason']}")
    if not lines:
        return None
    return "\n".join(
        [f"{len(lines)} of {len(plan.cells)} cells failed; all others are in the report, and it names these:", *lines]
        + ["The same command tries them again."]
    )


def lost_files(plan: Plan) -> Iterator[str]:
    """A message for each of the user's own files that is not there, fetched before or not."""
    for name in plan.sources:
        source = plan.source_spec(name)
        if source["kind"] == "local" and not Path(source["path"]).expanduser().is_file():
            hint = "relative paths start at the folder you run snakemake in"
            yield f"sources.{name}.path: no file {source['path']!r} ({hint})"


def out_of_reach(plan: Plan) -> Iterator[tuple[str, str]]:
    """(source, what is missing and what to do) of every source that is neither fetched nor can be, as things stand."""
    for name in plan.sources:
        source = plan.source_spec(name)
        mirror, lock = os.environ.get("ZSBENCH_MIRROR") or source["mirror"], source.get("lock")
        if plan.layout.fetched(name).is_file():
            continue
        if mirror and "repo" in source:
            try:
                look_up(source, Path(mirror).expanduser(), lock)
            except FetchError as error:
                yield name, str(error)
        elif source["kind"] == "hub" and wanted_revision(source, lock) is None:
            yield name, f"{source['repo']} {UNLOCKED}"


def warning(plan: Plan) -> str | None:
    """Sources out of reach, in one line; None when every source is there or can be asked for."""
    missing = list(out_of_reach(plan))
    if not missing:
        return None
    return (
        f"{len(missing)} of {len(plan.sources)} sources cannot be fetched: {', '.join(name for name, _ in missing)}. "
        f"The first: {missing[0][1]} (`snakemake check` says it of each)"
    )


def check_spec(plan: Plan) -> dict[str, Any]:
    """What `zsbench check` prints and judges, as plain JSON."""
    families = sorted({system.family for system in plan.systems.values()})
    packages = sorted({package for family in families for package in FAMILIES[family].packages})
    return {
        "summary": summary(plan),
        "families": ", ".join(families),
        "packages": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages),
        "sources": plan.sources,
        "missing": dict(out_of_reach(plan)),
        "datasets": {name: plan.dataset_spec(name).get("expected_rows") for name in plan.all_datasets},
        "gpus": plan.gpus,
        "label_sets": plan.label_sets_spec,
    }


def check(root: Path, spec: dict[str, Any]) -> int:
    """Say what a run stands on, a line each; returns 1 when something stands in its way.

    Args:
        root: results/<run>; what is fetched there is read again and held against its manifest.
        spec: from `check_spec`. That there is one says that config, references, presets and packages passed.
    """
    rows = [
        ("ok", "config", spec["summary"]),
        ("ok", "systems", spec["families"]),
        ("ok", "packages", spec["packages"]),
        *(("FAIL", "source", f"{name}: {problem}") for name, problem in spec["missing"].items()),
        *_files(Layout(root), spec["sources"]),
        *_datasets(Layout(root), spec["datasets"]),
        *_label_sets(Layout(root), spec["label_sets"]),
        _devices(spec["gpus"]),
    ]
    for state, subject, words in rows:
        print(f"{state:5} {subject:9} {words}")
    return int(any(state == "FAIL" for state, *_ in rows))


def _files(layout: Layout, sources: list[str]) -> Iterator[Row]:
    """Every fetched source, with each file's sum computed again."""
    whole = 0
    for name in sources:
        if layout.fetched(name).is_file():
            try:
                open_fetched(layout.fetched(name))
                whole += 1
            except IntegrityError as error:
                yield "FAIL", "source", f"{name}: {error}"
    yield "ok", "sources", f"{len(sources)} named, {whole} fetched and whole"


def _datasets(layout: Layout, expected: dict[str, dict[str, int] | None]) -> Iterator[Row]:
    """What the cards of prepared sets count."""
    for name, rows in expected.items():
        words = " + ".join(f"{count:,} {split}" for split, count in (rows or {}).items()) or "rows"
        if not layout.dataset_card(name).is_file():
            yield "ok", "dataset", f"{name}: {words} expected, not prepared yet"
            continue
        card = read_json(layout.dataset_card(name))
        odd = [f"{card['quality'][key]:,} {key.replace('_', ' ')}" for key in ODDITIES if card["quality"][key]]
        replica = ["made-up rows of a rehearsal"] if card["replica"] else []
        yield "ok", "dataset", "; ".join([f"{name}: {words} at {card['revision'][:15]}", *odd, *replica])


def _label_sets(layout: Layout, spec: dict[str, Any] | None) -> Iterator[Row]:
    """Label sets that a system to be trained cannot take, as far as its backbone is fetched."""
    from zsbench.evaluation.label_sets import refusals

    for system, dataset, reason in refusals(layout, spec) if spec else ():
        yield "n/a", "labels", f"{system} on {dataset}: {reason}"


def _devices(wanted: int) -> Row:
    there = len(visible_devices(os.environ).names)
    if there == 0:
        return "ok", "devices", "no GPU: every job runs on the CPU"
    enough = there >= wanted
    return "ok" if enough else "FAIL", "devices", f"{there} GPUs for this process, a training takes {wanted}"
