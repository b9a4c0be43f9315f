"""Every table of a run, from its analysis frames and cards: no metric is computed and no number typed here."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from zsbench.config.published import load_published
from zsbench.plan import contents
from zsbench.reporting.frames import RunData
from zsbench.reporting.marks import UNMOVED, UNMOVED_NOTE
from zsbench.reporting.table import Table, write_table
from zsbench.reporting.tables_checks import calibration, cost, integrity, sensitivity
from zsbench.reporting.tables_published import PUBLISHED, published
from zsbench.reporting.tables_suite import ablations, peers, suite
from zsbench.reporting.tables_topics import topic_deltas, topics

_NAMES = ("System", "Against", "Contrast")  # columns that name systems


def write_tables(root: Path, spec: dict[str, Any], out_folder: Path, published_path: Path = PUBLISHED) -> list[str]:
    """Write every table that the run fills as `<out_folder>/<name>.{csv,md,tex,notes.txt}`.

    Args:
        root: `results/<run>`, measured and compared.
        spec: the analysis spec.
        out_folder: `reports/<run>/tables`; two calls give the same bytes.
        published_path: numbers that others printed.

    Returns:
        Names of the tables written, in order.
    """
    run, reported, out = RunData(Path(root), spec), load_published(published_path), Path(out_folder)
    builders: dict[str, Callable[[], Table]] = {
        "gliclass_suite": lambda: suite(run),
        "ablations": lambda: ablations(run),
        "peers": lambda: peers(run),
        "topics": lambda: topics(run, reported),
        "topics_deltas": lambda: topic_deltas(run),
        "published": lambda: published(run, reported),
        "sensitivity": lambda: sensitivity(run),
        "calibration": lambda: calibration(run),
        "cost": lambda: cost(run),
        "integrity": lambda: integrity(run),
    }
    names = list(contents.tables(spec))
    for name, build in builders.items():
        if name in names:
            write_table(out, mark_unmoved(build(), run))
        else:  # of an earlier config
            for stale in out.glob(f"{name}.*"):
                stale.unlink()
    return names


def mark_unmoved(table: Table, run: RunData) -> Table:
    """The table with a mark at each name of a system whose selection metric never moved, and what it means."""
    unmoved, columns = run.unmoved, [place for place, title in enumerate(table.columns) if title in _NAMES]
    rows = [list(row) for row in table.rows]
    for row in rows:
        for column in columns:
            names = row[column].split(" vs ")
            row[column] = " vs ".join(f"{name} {UNMOVED}" if name in unmoved else name for name in names)
    if rows == [list(row) for row in table.rows]:
        return table
    return replace(table, rows=rows, notes=[*table.notes, UNMOVED_NOTE])
