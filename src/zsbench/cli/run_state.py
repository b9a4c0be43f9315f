"""Which parts of a run are done or failed, and which sources are unreachable; only `pin_missing` asks the hub."""

import os
from collections.abc import Iterator
from pathlib import Path

from zsbench.data.errors import FetchError
from zsbench.data.sources.hub import UNLOCKED, wanted_revision
from zsbench.data.sources.lock import lock_file, pin_unlocked
from zsbench.data.sources.mirror import look_up, mirror_of
from zsbench.plan.plan import Plan
from zsbench.store.cells import FAILED, state, status
from zsbench.store.errors import counted
from zsbench.store.integrity import read_intact


def summary(plan: Plan) -> str:
    """Cells and GPU jobs of a run, done and to do, in one line."""
    states = {cell: state(plan.layout, cell) for cell in plan.cells}
    done = [cell for cell, each in states.items() if each not in (None, FAILED)]
    failed = list(states.values()).count(FAILED)
    jobs = {(system, seed) for _, _, system, seed in states}
    unscored = {(system, seed) for _, _, system, seed in states.keys() - set(done)}
    to_do = f"{len(states) - len(done)} to do" + (f", {failed} of them failed before" if failed else "")
    trained = sum(plan.layout.model(*job).is_file() for job in plan.trainings)
    return (
        f"run {plan.run}: {counted(len(states), 'cell')} ({len(done)} done, {to_do}); "
        f"jobs that use a GPU if there is one: {counted(len(plan.trainings), 'training')} ({trained} done), "
        f"{counted(len(jobs), 'scoring')} ({len(jobs) - len(unscored)} done)"
    )


def failures(plan: Plan) -> str | None:
    """The failed cells of a finished run, one line each, and what to do; None if none failed."""
    lines = []
    for cell in plan.cells:
        card = read_intact(plan.layout.card(*cell)) or {}
        for what, facts in (("", card), (" (sensitivity)", card.get("no_sensitivity", {}))):
            if status(facts) == FAILED:
                lines.append(f"  {'/'.join(map(str, cell))}{what}: {facts['reason']}")
    if not lines:
        return None
    first = f"{len(lines)} of {len(plan.cells)} cells failed; the report includes all others and lists these:"
    return "\n".join([first, *lines, "Repeat the command to retry them."])


def missing_files(plan: Plan) -> Iterator[str]:
    """A message for each of the user's files and folders that does not exist, even if it was fetched before."""
    for name in plan.sources:
        source = plan.source_spec(name)
        for kind, there in (("local", Path.is_file), ("folder", Path.is_dir)):
            if source["kind"] == kind and not there(Path(source["path"]).expanduser()):
                what = f"no {'file' if kind == 'local' else 'folder'} {source['path']!r}"
                yield f"`{_written(plan, name)}`: {what}; a relative path starts at the folder where you start the run"


def _written(plan: Plan, source: str) -> str:
    """The config key from which a source was created."""
    for kind in ("datasets", "training_sets"):
        if plan.config[kind].get(source, {}).get("path"):
            return f"{kind}.{source}.path"
    models = (name for name, system in plan.systems.items() if system.model == ("source", source))
    return next((f"systems.{name}.model" for name in models), f"sources.{source}.path")


def unreachable_sources(plan: Plan) -> Iterator[tuple[str, str]]:
    """(source, what is missing and what to do) for every source that is not fetched and currently unavailable."""
    for name in plan.sources:
        source = plan.source_spec(name)
        if plan.layout.fetched(name).is_file():
            continue
        if mirror := mirror_of(source):
            try:
                look_up(source, mirror)
            except FetchError as error:
                yield name, str(error)
        elif source["kind"] == "hub" and wanted_revision(source) is None:
            yield name, f"{source['repo']} {UNLOCKED}"


def pin_missing(plan: Plan, workflow: Path) -> Iterator[str]:
    """Pin the hub sources that this run fetches for the first time; yields one line per source."""
    if os.environ.get("HF_HUB_OFFLINE") in ("1", "true", "True"):
        return
    missing = [name for name in plan.sources if not plan.layout.fetched(name).is_file()]
    names = [name for name in missing if mirror_of(plan.source_spec(name)) is None]
    yield from pin_unlocked(plan.resources["sources"], names, lock_file(workflow))


def warning(plan: Plan) -> str | None:
    """The unreachable sources in one line; None if every source is fetched or can be fetched."""
    missing = list(unreachable_sources(plan))
    if not missing:
        return None
    return (
        f"{len(missing)} of {len(plan.sources)} sources cannot be fetched: {', '.join(name for name, _ in missing)}. "
        f"The first: {missing[0][1]} (the target `check` lists them all)"
    )
