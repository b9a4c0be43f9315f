"""Every metric: the headline ones as functions of counts or scores, the others by scikit-learn's functions.

Axis legend: n rows, L labels, M systems. Gold and predictions are (n, L) of 0 and 1; a single-label row holds one 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hybridnli.thresholds import f1


def one_hot(indices: np.ndarray, labels: int) -> np.ndarray:
    """(n,) label indices -> (n, L) bool."""
    return np.asarray(indices)[:, None] == np.arange(labels)


def macro_f1(
    hits: np.ndarray, predicted: np.ndarray, positive: np.ndarray, occurs: np.ndarray | None = None
) -> np.ndarray:
    """Mean of F1 over labels.

    Where a row has one label, only labels with a gold row count: those of the rows at hand, so that two systems on the
    same draw of rows are averaged over the same labels. A label that no row of the set has counts where it is
    predicted, with an F1 of 0. On all rows this is scikit-learn's default.

    Args:
        hits, predicted, positive: (..., L) counts of true positives, predictions and gold.
        occurs: (L,) labels that the whole set has gold rows of; None, where rows have several labels: all L count.

    Returns:
        (...) in [0, 1].
    """
    values = f1(hits, predicted, positive)
    if occurs is None:
        return values.sum(axis=-1) / values.shape[-1]
    counted = (positive > 0) | (~occurs & (predicted > 0))
    return values.sum(axis=-1) / counted.sum(axis=-1)


def micro_f1(
    hits: np.ndarray, predicted: np.ndarray, positive: np.ndarray, occurs: np.ndarray | None = None
) -> np.ndarray:
    """F1 of the counts of all labels together. Shapes as in `macro_f1`."""
    return f1(hits.sum(axis=-1), predicted.sum(axis=-1), positive.sum(axis=-1))


def accuracy(
    hits: np.ndarray, predicted: np.ndarray, positive: np.ndarray, occurs: np.ndarray | None = None
) -> np.ndarray:
    """Share of the gold labels that are predicted: of rows that are right, where each has one label. As `macro_f1`."""
    return np.divide(hits.sum(axis=-1), positive.sum(axis=-1), dtype=np.float64)


def mean_ap(weights: np.ndarray, gold: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean over labels of average precision, sum_k (R_k - R_(k-1)) P_k over distinct scores, of weighted rows.

    Labels without a positive row among the weighted ones are left out.

    Args:
        weights: (c, n) how often each row counts, in c draws.
        gold: (n, L).
        scores: (M, n, L).

    Returns:
        (c, M).
    """
    result = np.empty((len(weights), len(scores)))
    for system, of_system in enumerate(scores):
        values = np.full((len(weights), gold.shape[1]), np.nan)
        for label in range(gold.shape[1]):
            order = np.argsort(-of_system[:, label], kind="stable")
            last = np.flatnonzero(np.diff(of_system[order, label], append=-np.inf))  # of each run of equal scores
            ordered = weights[:, order]
            hits = np.cumsum(ordered * gold[order, label], axis=1, dtype=float)[:, last]
            predicted = np.cumsum(ordered, axis=1, dtype=float)[:, last]
            precision = np.divide(hits, predicted, out=np.zeros(hits.shape), where=predicted > 0)
            gained = np.diff(hits, axis=1, prepend=0.0)
            np.divide((gained * precision).sum(axis=1), hits[:, -1], out=values[:, label], where=hits[:, -1] > 0)
        result[:, system] = np.nanmean(values, axis=1)
    return result


@dataclass(frozen=True)
class Metric:
    """A headline metric.

    Attributes:
        function: of counts `(hits, predicted, positive, occurs)`, or of `(weights, gold, scores)`.
        reads: "counts" (of predictions) or "scores".
    """

    function: Callable[..., np.ndarray]
    reads: str


METRICS = {
    "macro_f1": Metric(macro_f1, "counts"),
    "micro_f1": Metric(micro_f1, "counts"),
    "accuracy": Metric(accuracy, "counts"),
    "mean_ap": Metric(mean_ap, "scores"),
}


def point(metric: str, gold: np.ndarray, answers: np.ndarray, single: bool) -> np.ndarray:
    """A headline metric of each of M systems on all rows.

    Args:
        gold: (n, L) bool.
        answers: (M, n, L) bool predictions, or scores for a metric that reads them.
        single: each row has one label.

    Returns:
        (M,).
    """
    chosen = METRICS[metric]
    if chosen.reads == "scores":
        return chosen.function(np.ones((1, len(gold))), gold, answers)[0]
    hits, occurs = (answers & gold).sum(axis=1), gold.any(axis=0) if single else None
    return chosen.function(hits, answers.sum(axis=1), gold.sum(axis=0), occurs)


def chance(gold: np.ndarray, draws: int = 100) -> float:
    """Macro-F1 of uniformly random answers to rows of one label each, (n, L): its mean over `draws`."""
    n, labels = gold.shape
    answers = np.random.default_rng(0).integers(labels, size=(draws, n))
    return float(point("macro_f1", gold, np.eye(labels, dtype=bool)[answers], single=True).mean())


def single_label(gold: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Macro-F1 and accuracy of one prediction a row.

    Args:
        gold, predictions: (n, L), one 1 a row.
    """
    gold, answers = np.asarray(gold, dtype=bool), np.asarray(predictions, dtype=bool)[None]
    return {name: float(point(name, gold, answers, single=True)[0]) for name in ("macro_f1", "accuracy")}


def multi_label(gold: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Macro and micro F1, Hamming accuracy, exact match, macro precision and recall over all L labels.

    A ratio without a denominator (no prediction, or no positive) counts as 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    gold, predictions = np.asarray(gold, dtype=bool), np.asarray(predictions, dtype=bool)
    precision, recall, _, _ = precision_recall_fscore_support(gold, predictions, average="macro", zero_division=0.0)
    return {
        **{name: float(point(name, gold, predictions[None], single=False)[0]) for name in ("macro_f1", "micro_f1")},
        "hamming_accuracy": float((gold == predictions).mean()),
        "exact_match": float((gold == predictions).all(axis=1).mean()),
        "macro_precision": float(precision),
        "macro_recall": float(recall),
    }


def per_label(gold: np.ndarray, predictions: np.ndarray, scores: np.ndarray) -> list[dict[str, float | None]]:
    """Precision, recall, F1 and average precision of each label.

    Average precision does not depend on the threshold; equal scores enter it together, in whatever order the rows
    come, so a constant score has the label's prevalence. It is None for a label without a positive row.
    """
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support

    gold, predictions = np.asarray(gold, dtype=int), np.asarray(predictions, dtype=int)
    precision, recall, f1_values, positive = precision_recall_fscore_support(
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
            "f1": float(f1_values[label]),
            "ap": float(ap[label]) if label in ap else None,
        }
        for label in range(gold.shape[1])
    ]
