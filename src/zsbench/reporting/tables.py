"""Every table of a run, from its analysis frames and cards: no metric is computed and no number typed here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zsbench.reporting.frames import RunData
from zsbench.reporting.table import Table, write_table
from zsbench.reporting.tables_checks import calibration, cost, integrity, sensitivity
from zsbench.reporting.tables_published import PUBLISHED, load_published, published
from zsbench.reporting.tables_suite import ablations, peers, suite
from zsbench.reporting.tables_topics import topics


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
    run, reported = RunData(Path(root), spec), load_published(published_path)
    builders: list[Callable[[], Table | None]] = []
    if "gliclass" in spec["suites"]:
        builders += [lambda: suite(run), lambda: ablations(run), lambda: peers(run)]
    if "topics" in spec["suites"]:
        builders.append(lambda: topics(run, reported))
    builders += [
        lambda: published(run, reported),
        lambda: sensitivity(run),
        lambda: calibration(run),
        lambda: cost(run),
        lambda: integrity(run),
    ]
    written = []
    for build in builders:
        table = build()
        if table is not None:
            write_table(Path(out_folder), table)
            written.append(table.name)
    return written
