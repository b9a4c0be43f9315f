"""Every table of a run, from its analysis frames and cards: no metric is computed and no number typed here.

A new table is one function `(run) -> Table` under the decorator `table`, in one of these modules.
"""

from pathlib import Path
from typing import Any

from zsbench.reporting.frames import RunData
from zsbench.reporting.render import FORMS, SIDECAR, write_table
from zsbench.reporting.tables import checks, claims, multi, published, suite  # noqa: F401  they register their tables
from zsbench.reporting.tables.base import available_items, build_table


def write_tables(root: Path, spec: dict[str, Any], out: Path) -> None:
    """Write every table of the run as `<out>/<name>.{csv,json,md,tex}`; those of an earlier config are removed.

    Args:
        out: `reports/<run>/tables`; two calls give the same bytes.
    """
    run, out = RunData(Path(root), spec), Path(out)
    items = available_items(spec)
    for ending in (*FORMS, SIDECAR):
        for stale in out.glob(f"*.{ending}"):
            if stale.stem not in items:
                stale.unlink()
    for name, item in items.items():
        write_table(out, build_table(run, name, item))
