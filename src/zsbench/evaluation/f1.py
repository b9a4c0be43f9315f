"""Macro-F1 from counts: what bootstraps and sensitivity need, without importing scikit-learn.

A module of its own, so that an edit of the statistics scores nothing again. n rows, L labels, M prediction sets.
"""

import numpy as np


def macro_f1(hits: np.ndarray, predicted: np.ndarray, positive: np.ndarray, skip_absent: bool) -> np.ndarray:
    """Macro-F1 from weighted counts: mean over labels of 2 hits / (predicted + positive).

    Args:
        hits, predicted, positive: (..., L) weighted counts of true positives, predictions and gold.
        skip_absent: leave out labels with neither gold nor prediction (scikit-learn's default for one label a row);
            otherwise they count as 0 (its default for several labels a row).

    Returns:
        (...) in [0, 1].
    """
    total = predicted + positive
    f1 = np.divide(2.0 * hits, total, out=np.zeros(total.shape), where=total > 0)
    return f1.sum(axis=-1) / ((total > 0).sum(axis=-1) if skip_absent else total.shape[-1])


def point_macro_f1(gold: np.ndarray, predictions: np.ndarray, skip_absent: bool) -> np.ndarray:
    """Macro-F1 of each of M prediction sets. gold (n, L) and predictions (M, n, L) bool -> (M,)."""
    hits = (predictions & gold).sum(axis=1)
    return macro_f1(hits, predictions.sum(axis=1), gold.sum(axis=0), skip_absent)
