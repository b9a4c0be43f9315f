"""What is other than in the analysis before: for the page's summary and its table of changes."""

from dataclasses import dataclass, replace
from typing import Any

from zsbench.provenance import read_json
from zsbench.reporting.frames import RunData
from zsbench.reporting.grid import Grid, grid
from zsbench.reporting.history import FACTS, FILE
from zsbench.reporting.table import number, signed

Key = tuple[str, str]  # suite, system


def kept(run: RunData) -> bool:
    """Whether this run keeps a history."""
    return (run.root / "analysis" / FILE).is_file()


@dataclass(frozen=True)
class Change:
    """A system on a suite, over the datasets and seeds that both analyses have.

    Attributes:
        before, now: mean macro-F1.
        cells: how many of its cells have other scores now.
        why: in what the cards of these cells differ.
    """

    before: float
    now: float
    cells: int
    why: tuple[str, ...]


@dataclass(frozen=True)
class Changes:
    """From one analysis to the next; `changed` in table order."""

    changed: dict[Key, Change]
    new: list[str]
    gone: list[str]


def changes(run: RunData) -> Changes | None:
    """What is other than in the analysis before; None where there was none, or the run keeps no history."""
    if not kept(run) or (stored := read_json(run.root / "analysis" / FILE))["before"] is None:
        return None
    now, before = stored["present"], stored["before"]
    shared: dict[Key, list[str]] = {}
    for cell in now:
        if cell in before:
            suite, _, system, _ = cell.split("/")
            shared.setdefault((suite, system), []).append(cell)
    changed = {}
    for key, cells in shared.items():
        other = [cell for cell in cells if now[cell]["scores"] != before[cell]["scores"]]
        if other:
            why = [FACTS[name] for name in FACTS if any(now[cell][name] != before[cell][name] for cell in other)]
            changed[key] = Change(_mean(before, cells), _mean(now, cells), len(other), tuple(why))
    systems = [list(dict.fromkeys(cell.split("/")[2] for cell in side)) for side in (now, before)]
    new = [name for name in systems[0] if name not in systems[1]]
    return Changes(changed, new, [name for name in systems[1] if name not in systems[0]])


def _mean(analysis: dict[str, Any], cells: list[str]) -> float:
    values = [analysis[cell]["macro_f1"] for cell in cells if analysis[cell]["macro_f1"] is not None]
    return sum(values) / len(values) if values else float("nan")


def grids(run: RunData) -> list[Grid]:
    """The changed systems with their averages; no table where nothing changed."""
    found = changes(run)
    if found is None or not found.changed:
        return []
    rows = [
        [system, suite, number(c.before), number(c.now), signed(c.now - c.before), c.cells, ", ".join(c.why)]
        for (suite, system), c in found.changed.items()
    ]
    columns = ["System", "Suite", "Before", "Now", "Difference", "Cells changed", "What differs"]
    table = grid("changes", "Since the analysis before: mean macro-F1 over the cells that both have", columns, rows)
    note = (
        "Differences are untested, since the scores of the analysis before are gone; zsbench compare tests two run"
        " folders. What differs: facts of the cells' cards."
    )
    return [replace(table, notes=[note])]
