"""The frames of a run, `analysis/<name>.parquet`: their columns, and how they are written and read.

docs/numbers.md says what the columns mean.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from zsbench.store import integrity
from zsbench.store.layout import Layout
from zsbench.store.provenance import write_atomic

DELTAS = (
    "table suite dataset metric protocol split system baseline baseline_protocol factor levels delta low high p"
    " p_adjusted tests unit df error equivalence_low equivalence_high mde verdict needs_rows needs_seeds optimism"
    " rare_labels n_rows n_sets n_seeds n_baseline_seeds mcnemar_p"
)
COLUMNS = {
    "metrics": "suite dataset system seed protocol split metric label value",
    "deltas": DELTAS,
    "ranks": "suite protocol split system value rank rank_low rank_high p_best",
    "confusable": f"{DELTAS} value baseline_value pairs",
    "claims": "id claim source rule systems measured value low high verdict why",
    "label_counts": (
        "system kind seed labels rows datasets accuracy low high macro_f1 tokens first_tokens sequences milliseconds"
        " skipped"
    ),
    "label_slopes": "system kind metric slope low high first last fewest most rows datasets",
    "calibration": (
        "suite dataset system seed confidence_kind rows ece ece_low ece_high ece_calibrated ece_calibrated_high brier"
        " auroc"
    ),
    "coverage": (
        "suite dataset system seed rows accuracy_50 accuracy_80 accuracy_90 accuracy_95 accuracy aurc aurc_low"
        " aurc_high"
    ),
    "reliability": "suite dataset system bin low high count confidence accuracy accuracy_low accuracy_high",
    "sensitivity": "kind dataset system seed k mean low high flip_rate flip_low flip_high floor median_shift rows",
    "cost": "suite dataset system seed seconds texts_per_second peak_memory_mb texts truncated_texts truncated_labels",
}
# Columns with possibly missing values: stored as floating point even if every value is missing.
MAY_LACK = {
    *("value", "auroc", "confidence", "accuracy", "accuracy_low", "accuracy_high", "median_shift"),
    *("seconds", "texts_per_second", "peak_memory_mb", "truncated_texts", "truncated_labels"),
    *("p", "p_adjusted", "mcnemar_p", "df", "error", "equivalence_low", "equivalence_high", "mde", "optimism"),
    *("needs_rows", "needs_seeds"),
}
TEXTS = {"system", "kind", "datasets", "skipped", "metric"}  # of the frames in `MOSTLY_LACK`
MOSTLY_LACK = ("label_counts", "label_slopes")  # of a skipped count only the texts are known


def write(layout: Layout, name: str, rows: list[dict[str, Any]]) -> None:
    """Write a frame with exactly its columns, even if there are no rows."""
    columns = COLUMNS[name].split()
    numbers = {*columns} - TEXTS if name in MOSTLY_LACK else {*columns} & MAY_LACK
    types = dict.fromkeys(numbers, "float64")
    types |= dict.fromkeys({*columns} & TEXTS, "object") if name in MOSTLY_LACK else {}
    frame = pd.DataFrame(rows, columns=columns).astype(types)
    write_atomic(_path(layout.root, name), lambda path: integrity.write_frame(path, frame))


def read(root: Path, name: str) -> pd.DataFrame:
    """Read a frame of `results/<run>`; without rows if the run has none.

    Raises:
        IntegrityError: the stored frame is damaged or lacks a column.
    """
    path, columns = _path(root, name), COLUMNS[name].split()
    return integrity.read_frame(path, columns) if path.is_file() else pd.DataFrame(columns=columns)


def _path(root: Path, name: str) -> Path:
    return root / "analysis" / f"{name}.parquet"
