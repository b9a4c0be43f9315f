"""Per-label decision thresholds: fitting, applying, and out-of-fold prediction. Pure numpy.

Shapes: n rows, L labels, G grid points.

No row is predicted with a threshold fitted on its own gold label: `fit_thresholds` takes only rows to learn from,
`apply_thresholds` takes only scores, and `cross_fit` fits each fold's thresholds on the other folds.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["GRID", "CrossFit", "apply_thresholds", "cross_fit", "f1", "f1_per_label", "fit_thresholds"]

GRID = np.arange(1, 99) / 100.0  # 0.01, 0.02, ..., 0.98: the published grid, without arange's rounding drift


def f1(hits: np.ndarray, predicted: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """F1 from counts: 2 hits / (predicted + positive), or 0 where both are 0.

    Args:
        hits: number of true positives.
        predicted: number of positive predictions.
        positive: number of positive rows.

    The arrays broadcast; counts may be weighted. The division is in double precision.
    """
    total = predicted + positive
    return np.divide(2 * hits, total, out=np.zeros(np.shape(total)), where=total > 0, dtype=np.float64)


def f1_per_label(predictions: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """F1 of each label.

    Args:
        predictions: (n, L) of 0 and 1.
        gold: (n, L) of 0 and 1.

    Returns:
        (L,) in [0, 1].
    """
    predicted, positive = np.asarray(predictions, dtype=bool), np.asarray(gold, dtype=bool)
    return f1((predicted & positive).sum(axis=0), predicted.sum(axis=0), positive.sum(axis=0))


def fit_thresholds(scores: np.ndarray, gold: np.ndarray, grid: np.ndarray = GRID) -> np.ndarray:
    """The F1-maximising threshold of each label on a grid; the first maximum wins.

    A row is positive where score >= threshold. Counts come from one histogram per label, so the cost is O(n L), not
    O(n L G).

    Args:
        scores: (n, L) finite scores.
        gold: (n, L) of 0 and 1 for the same rows.
        grid: (G,) ascending thresholds to choose from.

    Returns:
        (L,) thresholds, each a value of `grid`.

    Raises:
        ValueError: different shapes, no rows, non-finite scores, or gold values other than 0 and 1.
    """
    scores, gold = _checked(scores, gold)
    n_labels = scores.shape[1]
    # bins[i, l] = number of grid points <= score, so row i is positive at grid point g exactly when bins > g.
    bins = np.searchsorted(grid, scores, side="right")  # (n, L)
    flat = (bins + np.arange(n_labels) * (len(grid) + 1)).ravel()
    size = n_labels * (len(grid) + 1)
    count = np.bincount(flat, minlength=size).reshape(n_labels, -1)  # (L, G + 1)
    hits = np.bincount(flat, weights=gold.ravel(), minlength=size).reshape(n_labels, -1)
    # Rows in bins above g are predicted positive at grid point g: cumulative sums from the right, without bin 0.
    predicted = count[:, :0:-1].cumsum(axis=1)[:, ::-1]  # (L, G)
    true_positive = hits[:, :0:-1].cumsum(axis=1)[:, ::-1]
    return grid[f1(true_positive, predicted, gold.sum(axis=0)[:, None]).argmax(axis=1)]


def apply_thresholds(scores: np.ndarray, thresholds: np.ndarray | float) -> np.ndarray:
    """Predictions (n, L) of 0 and 1: score >= threshold.

    Args:
        scores: (n, L).
        thresholds: (L,), or one number for all labels.

    Raises:
        ValueError: the number of thresholds is not the number of labels.
    """
    values = np.asarray(thresholds, dtype=np.float64)
    scores = np.asarray(scores, dtype=np.float64)
    if values.ndim and values.shape != scores.shape[1:]:
        raise ValueError(f"thresholds: has shape {values.shape}, scores have {scores.shape[1]} labels")
    return (scores >= values).astype(np.int8)


@dataclass(frozen=True)
class CrossFit:
    """Out-of-fold predictions of `cross_fit`.

    Attributes:
        predictions: (n, L) of 0 and 1.
        thresholds: (folds, L); row f was fitted on all rows outside fold f and used on the rows in it.
        fold_of_row: (n,) fold index of each row.
    """

    predictions: np.ndarray
    thresholds: np.ndarray
    fold_of_row: np.ndarray


def cross_fit(scores: np.ndarray, gold: np.ndarray, folds: int = 5, seed: int = 42) -> CrossFit:
    """Predict each fold with thresholds fitted on the other folds.

    Folds are a seeded random partition; their sizes differ by at most one row.

    Args:
        scores: (n, L) finite scores.
        gold: (n, L) of 0 and 1.
        folds: number of folds, 2 to n.
        seed: seed of the partition.

    Raises:
        ValueError: as in `fit_thresholds`, or `folds` outside 2 ... n.
    """
    scores, gold = _checked(scores, gold)
    n = len(scores)
    if not 2 <= folds <= n:
        raise ValueError(f"folds: {folds} is not allowed; allowed: 2 to {n}, the number of rows")
    fold_of_row = np.empty(n, dtype=np.int64)
    fold_of_row[np.random.default_rng(seed).permutation(n)] = np.arange(n) % folds
    thresholds = np.stack([fit_thresholds(scores[fold_of_row != f], gold[fold_of_row != f]) for f in range(folds)])
    predictions = (scores >= thresholds[fold_of_row]).astype(np.int8)
    return CrossFit(predictions=predictions, thresholds=thresholds, fold_of_row=fold_of_row)


def _checked(scores: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, gold = np.asarray(scores, dtype=np.float64), np.asarray(gold, dtype=np.float64)
    if scores.ndim != 2 or scores.shape != gold.shape or not len(scores):
        raise ValueError(f"scores {scores.shape} and gold {gold.shape} must have one non-empty shape (n, L)")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores: holds {int((~np.isfinite(scores)).sum())} non-finite values")
    if not np.isin(gold, (0, 1)).all():
        raise ValueError("gold: holds values other than 0 and 1")
    return scores, gold
