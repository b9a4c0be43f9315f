"""What of a run is done, what failed, and which sources are out of reach: looked up on disk, without the network."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zsbench.data.errors import FetchError
from zsbench.data.sources.hub import UNLOCKED, wanted_revision
from zsbench.data.sources.mirror import look_up
from zsbench.plan.plan import Plan
from zsbench.store.cells import FAILED, status
from zsbench.store.integrity import intact
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json


def summary(plan: Plan) -> str:
    """Cells and GPU jobs of a run, done and to do, in one line."""
    models = [plan.layout.model(name, seed) for name in [*plan.trained, *plan.config["hybrid"]] for seed in plan.seeds]
    states = {cell: _state(plan.layout, cell) for cell in plan.cells}
    done = [cell for cell, state in states.items() if state not in (None, FAILED)]
    failed = list(states.values()).count(FAILED)
    jobs = {(system, seed) for _, _, system, seed in states}
    unscored = {(system, seed) for _, _, system, seed in states.keys() - set(done)}
    to_do = f"{len(states) - len(done)} to do" + (f", {failed} of them failed before" if failed else "")
    return (
        f"run {plan.run}: {len(states)} cells ({len(done)} done, {to_do}); jobs that use a GPU if there is one: "
        f"{len(models)} trainings ({sum(path.is_file() for path in models)} done), "
        f"{len(jobs)} scorings ({len(jobs) - len(unscored)} done)"
    )


def _card(layout: Layout, cell: tuple[str, str, str, int]) -> dict[str, Any] | None:
    """A cell's card, {} for a damaged one (the job that needs it says so), None where there is none."""
    path = layout.card(*cell)
    if not path.is_file():
        return None
    return read_json(path) if intact(path) else {}


def _state(layout: Layout, cell: tuple[str, str, str, int]) -> str | None:
    card = _card(layout, cell)
    return None if card is None else status(card)


def failures(plan: Plan) -> str | None:
    """The failed cells of a finished run, one line each, and what to do; None where none failed."""
    lines = []
    for cell in plan.cells:
        card = _card(plan.layout, cell) or {}
        for what, facts in (("", card), (" (sensitivity)", card.get("no_sensitivity", {}))):
            if status(facts) == FAILED:
                lines.append(f"  {'/'.join(map(str, cell))}{what}: {facts['reason']}")
    if not lines:
        return None
    first = f"{len(lines)} of {len(plan.cells)} cells failed; all others are in the report, and it names these:"
    return "\n".join([first, *lines, "The same command tries them again."])


def lost_files(plan: Plan) -> Iterator[str]:
    """A message for each of the user's own files that does not exist, fetched before or not."""
    for name in plan.sources:
        source = plan.source_spec(name)
        if source["kind"] == "local" and not Path(source["path"]).expanduser().is_file():
            hint = "relative paths start at the folder you run snakemake in"
            yield f"sources.{name}.path: no file {source['path']!r} ({hint})"


def out_of_reach(plan: Plan) -> Iterator[tuple[str, str]]:
    """(source, what is missing and what to do) of every source that is not fetched and cannot be, as things stand."""
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
    """Sources out of reach, in one line; None when every source is there or can be fetched."""
    missing = list(out_of_reach(plan))
    if not missing:
        return None
    return (
        f"{len(missing)} of {len(plan.sources)} sources cannot be fetched: {', '.join(name for name, _ in missing)}. "
        f"The first: {missing[0][1]} (`snakemake check` says it of each)"
    )
