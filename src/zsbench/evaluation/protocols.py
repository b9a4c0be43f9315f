"""From scores to decisions: argmax for one label per row, thresholds for many.

Axis legend: n rows, L labels. A function that fits thresholds gets scores and gold labels of the rows it may learn
from, but only the scores of the rows it predicts.

Ties: argmax picks at random among ties (`ties.winners`), so a constant scorer equals a uniform random one and no label
position has an advantage. A threshold accepts all equal scores of a label or none, and fitting picks the lowest of the
best thresholds. Both consider one label at a time, so a constant scorer predicts a label for all rows or for none,
regardless of the order of labels and rows.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hybridnli.thresholds import apply_thresholds, cross_fit, fit_thresholds
from zsbench.evaluation.cells import Cell
from zsbench.evaluation.metrics import one_hot
from zsbench.plan.suites import ARGMAX, PROTOCOLS
from zsbench.store.integrity import read_frame, write_frame
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, write_atomic

FIXED = 0.5
V1_GRID = np.arange(20, 86, 2) / 100.0  # 0.20, 0.22, ..., 0.84: the threshold grid of the published v1
COLUMNS = ["protocol", "split", "fitted_on", "thresholds", "predictions", "partitions", "scores_sha256"]


@dataclass(frozen=True)
class Decision:
    """Predictions of one cell under one protocol.

    Attributes:
        split: the split of the predicted rows.
        rows: indices of these rows in the cell.
        partitions: (K, len(rows), L) bool: predictions under each of the K partitions of `cv`, otherwise K = 1. A
            metric is the mean over them.
        thresholds: (L,), under `cv` the mean over folds and partitions; None if none are used.
        fitted_on: the split the thresholds were fitted on; "" if nothing was fitted.
    """

    protocol: str
    split: str
    rows: np.ndarray
    partitions: np.ndarray
    thresholds: np.ndarray | None
    fitted_on: str

    @property
    def predictions(self) -> np.ndarray:
        """(len(rows), L) bool, of the first partition."""
        return self.partitions[0]


def decide(cell: Cell, suite: dict[str, Any]) -> list[Decision]:
    """The cell's predictions: argmax for a single-label suite, otherwise under each protocol of its suite."""
    if suite["task"] == "single":
        return argmax(cell)
    return thresholded(cell, suite["protocols"], Folds(suite["folds"], suite["fold_seed"], suite["partitions"]))


def write_decisions(layout: Layout, cell: Cell, decisions: list[Decision]) -> None:
    """Write `decisions.parquet` of a cell: one row per protocol and split, predictions as packed bits."""
    rows = [
        {
            "protocol": decision.protocol,
            "split": decision.split,
            "fitted_on": decision.fitted_on,
            "thresholds": decision.thresholds,
            "predictions": np.packbits(decision.partitions).tobytes(),
            "partitions": len(decision.partitions),
            "scores_sha256": cell.card["scores_sha256"],
        }
        for decision in decisions
    ]
    path = layout.decisions(cell.suite, cell.dataset, cell.system, cell.seed)
    write_atomic(path, lambda temporary: write_frame(temporary, pd.DataFrame(rows, columns=COLUMNS)))


def read_decisions(layout: Layout, cell: Cell) -> list[Decision]:
    """The decisions that `write_decisions` stored for a cell.

    Raises:
        IntegrityError: the file is missing, damaged, or belongs to other scores.
    """
    path = layout.decisions(cell.suite, cell.dataset, cell.system, cell.seed)
    if not path.is_file():
        raise IntegrityError(f"cell {cell.name} has not been measured ({path} is missing); run the same command again")
    frame = read_frame(path, COLUMNS)
    if set(frame["scores_sha256"]) != {cell.card["scores_sha256"]}:
        raise IntegrityError(
            f"cell {cell.name}: {path} does not belong to its scores; "
            f"delete {layout.measured(cell.system, cell.seed)} and run again"
        )
    return [_decision(cell, row) for row in frame.to_dict("records")]


def _decision(cell: Cell, row: dict[Any, Any]) -> Decision:
    rows = np.flatnonzero(cell.split == row["split"])
    shape = row["partitions"], len(rows), cell.scores.shape[1]
    bits = np.unpackbits(np.frombuffer(row["predictions"], dtype=np.uint8), count=math.prod(shape))
    partitions = bits.reshape(shape).astype(bool)
    return Decision(row["protocol"], row["split"], rows, partitions, row["thresholds"], row["fitted_on"])


def argmax(cell: Cell) -> list[Decision]:
    """The label with the highest score for each row; ties are broken as in `ties.winners`."""
    predictions = one_hot(cell.winners, cell.scores.shape[1])
    return [Decision(ARGMAX, str(cell.split[0]), np.arange(len(predictions)), predictions[None], None, "")]


@dataclass(frozen=True)
class Folds:
    """How `cv` divides rows: into `count` folds, under each of `partitions` seeded partitions.

    Folds depend only on the number of rows, so they are the same for every system. Several partitions reduce the
    dependence on one random split.
    """

    count: int
    seed: int
    partitions: int


def thresholded(cell: Cell, protocols: list[str], folds: Folds) -> list[Decision]:
    """Decisions of a multi-label cell under each protocol that its splits support.

    - `fixed-0.5`: validation, and test if there is a test split;
    - `val-tuned`: fitted and applied on validation (as in the published card; optimistic);
    - `cv`: validation, each fold decided with thresholds fitted on the other folds;
    - `train-cv`: validation, with the mean of thresholds fitted on each of 5 folds of the train rows: the published
      card's "CV thresholds", fitted on rows that the heads were trained on;
    - `heads-tuned`: like `val-tuned` on a coarser grid, and 0.5 for a hybrid's labels without a head: the card's v1;
    - `held-out`: fitted on validation, applied once to test; absent for a dataset without a test split.

    Args:
        protocols: names from the list above.
        folds: the folds of `cv`.

    Raises:
        ValueError: the cell lacks the rows that a protocol is fitted on.
    """
    decisions: list[Decision] = []
    for protocol in protocols:
        for split in PROTOCOLS[protocol]:
            rows = np.flatnonzero(cell.split == split)
            if len(rows):
                partitions, thresholds, fitted_on = _DECIDE[protocol](cell, rows, folds)
                decisions.append(Decision(protocol, split, rows, partitions.astype(bool), thresholds, fitted_on))
    return decisions


def representative(available: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """The (protocol, split) to show where a multi-label system gets a single number; None if nothing is available.

    In order of preference: `held-out`, in which reported rows have no influence; `cv`, in which no row influences its
    own thresholds (a hybrid's weights may be selected on these rows; tables mark that); 0.5, on test rows before
    validation rows; `val-tuned`, which is optimistic.
    """
    available = set(available)
    return next((pair for pair in REPRESENTATIVE if pair in available), None)


def decisions_of(layout: Layout, cell: Cell) -> dict[tuple[str, str], Decision]:
    """The run's decisions on a cell by (protocol, split): argmax if the task is single-label, else the stored ones.

    Raises:
        IntegrityError: see `read_decisions`.
    """
    made = argmax(cell) if cell.card["task"] == "single" else read_decisions(layout, cell)
    return {(one.protocol, one.split): one for one in made}


def representative_decision(layout: Layout, cell: Cell) -> Decision:
    """Of `decisions_of` a cell the `representative` one, or the first if the suite has other protocols only.

    Raises:
        IntegrityError: see `read_decisions`.
    """
    made = decisions_of(layout, cell)
    return made[representative(made) or next(iter(made))]


REPRESENTATIVE = (
    ("held-out", "test"),
    ("cv", "validation"),
    ("fixed-0.5", "test"),
    ("fixed-0.5", "validation"),
    ("val-tuned", "validation"),
)

_Decided = tuple[np.ndarray, np.ndarray, str]


def _fixed(cell: Cell, rows: np.ndarray, folds: Folds) -> _Decided:
    return apply_thresholds(cell.scores[rows], FIXED)[None], np.full(cell.scores.shape[1], FIXED), ""


def _val_tuned(cell: Cell, rows: np.ndarray, folds: Folds) -> _Decided:
    thresholds = fit_thresholds(cell.scores[rows], cell.gold[rows])
    return apply_thresholds(cell.scores[rows], thresholds)[None], thresholds, "validation"


def _cv(cell: Cell, rows: np.ndarray, folds: Folds) -> _Decided:
    fitted = [
        cross_fit(cell.scores[rows], cell.gold[rows], folds.count, folds.seed + partition)
        for partition in range(folds.partitions)
    ]
    thresholds = np.mean([one.thresholds for one in fitted], axis=(0, 1))
    return np.stack([one.predictions for one in fitted]), thresholds, "validation (other folds)"


def _train_cv(cell: Cell, rows: np.ndarray, folds: Folds) -> _Decided:
    from sklearn.model_selection import KFold

    seen = np.flatnonzero(cell.split == "train")
    if not len(seen):
        raise ValueError(f"cell {cell.name}: protocol 'train-cv' needs train rows to fit on")
    fifths = [seen[fold] for _, fold in KFold(5, shuffle=True, random_state=42).split(seen)]
    thresholds = np.mean([fit_thresholds(cell.scores[fifth], cell.gold[fifth]) for fifth in fifths], axis=0)
    return apply_thresholds(cell.scores[rows], thresholds)[None], thresholds, "train"


def _heads_tuned(cell: Cell, rows: np.ndarray, folds: Folds) -> _Decided:
    without = cell.card.get("settings", {}).get("nli_only", ())
    fitted = fit_thresholds(cell.scores[rows], cell.gold[rows], V1_GRID)
    thresholds = np.where(np.isin(cell.label_names, list(without)), FIXED, fitted)
    return apply_thresholds(cell.scores[rows], thresholds)[None], thresholds, "validation"


def _held_out(cell: Cell, rows: np.ndarray, folds: Folds) -> _Decided:
    seen = np.flatnonzero(cell.split == "validation")
    if not len(seen):
        raise ValueError(f"cell {cell.name}: protocol 'held-out' needs validation rows to fit on")
    thresholds = fit_thresholds(cell.scores[seen], cell.gold[seen])
    return apply_thresholds(cell.scores[rows], thresholds)[None], thresholds, "validation"


_DECIDE: dict[str, Callable[[Cell, np.ndarray, Folds], _Decided]] = {
    "fixed-0.5": _fixed,
    "val-tuned": _val_tuned,
    "cv": _cv,
    "train-cv": _train_cv,
    "heads-tuned": _heads_tuned,
    "held-out": _held_out,
}
