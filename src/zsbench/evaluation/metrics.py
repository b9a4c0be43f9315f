"""Point values of every metric, by scikit-learn's functions.

Axis legend: n rows, L labels. Gold and predictions are (n, L) of 0 and 1; a single-label row holds one 1.
"""

import numpy as np

from zsbench.evaluation.f1 import point_macro_f1


def one_hot(indices: np.ndarray, labels: int) -> np.ndarray:
    """(n,) label indices -> (n, L) bool."""
    return np.asarray(indices)[:, None] == np.arange(labels)


def single_label(gold: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Macro-F1 and accuracy of one prediction a row.

    Macro-F1 averages over the labels that occur in gold or predictions, as `sklearn.metrics.f1_score` does by default;
    a label that is neither wanted nor predicted anywhere says nothing about the system.

    Args:
        gold, predictions: (n, L), one 1 a row.
    """
    from sklearn.metrics import accuracy_score, f1_score

    wanted, predicted = np.argmax(gold, axis=1), np.argmax(predictions, axis=1)
    return {
        "macro_f1": float(f1_score(wanted, predicted, average="macro", zero_division=0.0)),
        "accuracy": float(accuracy_score(wanted, predicted)),
    }


def multi_label(gold: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Macro and micro F1, Hamming accuracy, exact match, macro precision and recall over all L labels.

    A ratio without a denominator (no prediction, or no positive) counts as 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    gold, predictions = np.asarray(gold, dtype=int), np.asarray(predictions, dtype=int)
    precision, recall, f1, _ = precision_recall_fscore_support(gold, predictions, average=None, zero_division=0.0)
    chosen = int(gold.sum() + predictions.sum())
    return {
        "macro_f1": float(f1.mean()),
        "micro_f1": 2.0 * int((gold & predictions).sum()) / chosen if chosen else 0.0,
        "hamming_accuracy": float((gold == predictions).mean()),
        "exact_match": float((gold == predictions).all(axis=1).mean()),
        "macro_precision": float(precision.mean()),
        "macro_recall": float(recall.mean()),
    }


def per_label(gold: np.ndarray, predictions: np.ndarray, scores: np.ndarray) -> list[dict[str, float | None]]:
    """Precision, recall, F1 and average precision of each label.

    Average precision does not depend on the threshold; equal scores enter it together, in whatever order the rows
    come, so a constant score has the label's prevalence. It is None for a label without a positive row.
    """
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support

    gold, predictions = np.asarray(gold, dtype=int), np.asarray(predictions, dtype=int)
    precision, recall, f1, positive = precision_recall_fscore_support(
        gold, predictions, average=None, zero_division=0.0
    )
    known = np.flatnonzero(positive)
    ap: dict[int, float] = {}
    if len(known):
        values = average_precision_score(gold[:, known], scores[:, known], average=None)
        ap = dict(zip(known.tolist(), np.atleast_1d(values), strict=True))
    return [
        {
            "precision": float(precision[label]),
            "recall": float(recall[label]),
            "f1": float(f1[label]),
            "ap": float(ap[label]) if label in ap else None,
        }
        for label in range(gold.shape[1])
    ]


def point(metric: str, gold: np.ndarray, answers: np.ndarray, single: bool) -> np.ndarray:
    """A headline metric of each of M prediction sets. gold (n, L), answers (M, n, L) -> (M,)."""
    if metric == "accuracy":
        return (answers & gold).any(axis=2).mean(axis=1)
    return point_macro_f1(gold, answers, skip_absent=single)
