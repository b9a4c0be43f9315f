"""All metrics, computed from counts or scores. Tests compare them with scikit-learn and torchmetrics.

A cell needs thousands of evaluations (random controls, partitions of `cv`, bootstrap draws), for which those libraries
are too slow.

Axis legend: n rows, L labels, M systems. Gold and predictions are (n, L) of 0 and 1; single-label rows have one 1.
"""

from collections.abc import Callable

import numpy as np

from hybridnli.thresholds import f1
from zsbench.plan.suites import METRICS, metrics_of


def one_hot(indices: np.ndarray, labels: int) -> np.ndarray:
    """(..., n) label indices -> (..., n, L) bool."""
    return np.asarray(indices)[..., None] == np.arange(labels)


def macro_f1(
    hits: np.ndarray, predicted: np.ndarray, positive: np.ndarray, occurs: np.ndarray | None = None
) -> np.ndarray:
    """Mean F1 over labels.

    Single-label: only labels with a gold row among the given rows count, so that two systems on the same draw of rows
    are averaged over the same labels. A label without any gold row in the whole set counts if it is predicted, with an
    F1 of 0. On all rows, this equals scikit-learn's default.

    Args:
        hits, predicted, positive: (..., L) counts of true positives, predictions and gold labels.
        occurs: (L,) bool, whether the whole set has gold rows of the label; None for multi-label, where all L count.

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
    """F1 of the counts summed over labels. Shapes as in `macro_f1`."""
    return f1(hits.sum(axis=-1), predicted.sum(axis=-1), positive.sum(axis=-1))


def accuracy(
    hits: np.ndarray, predicted: np.ndarray, positive: np.ndarray, occurs: np.ndarray | None = None
) -> np.ndarray:
    """Share of gold labels that are predicted; with one label per row, accuracy. Shapes as in `macro_f1`."""
    return np.divide(hits.sum(axis=-1), positive.sum(axis=-1), dtype=np.float64)


def average_precision(weights: np.ndarray, gold: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average precision of each label over weighted rows: sum_k (R_k - R_(k-1)) P_k over distinct scores.

    Rows with equal scores enter together, so row order does not matter and a constant score gets the label's
    prevalence.

    Args:
        weights: (c, n) how often each row counts in each of c draws.
        gold, scores: (n, L).

    Returns:
        (c, L); nan for a label without a positive row of nonzero weight.
    """
    values = np.full((len(weights), gold.shape[1]), np.nan)
    for label in range(gold.shape[1]):
        order = np.argsort(-scores[:, label], kind="stable")
        last = np.flatnonzero(np.diff(scores[order, label], append=-np.inf))  # last index of each run of equal scores
        ordered = weights[:, order]
        hits = np.cumsum(ordered * gold[order, label], axis=1, dtype=float)[:, last]
        predicted = np.cumsum(ordered, axis=1, dtype=float)[:, last]
        gained = np.diff(hits, axis=1, prepend=0.0)
        whole = hits[:, -1]
        np.divide((gained * _ratio(hits, predicted)).sum(axis=1), whole, out=values[:, label], where=whole > 0)
    return values


def mean_ap(weights: np.ndarray, gold: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean of `average_precision` over labels with positive rows; scores (M, n, L) -> (c, M)."""
    values = np.stack([average_precision(weights, gold, one) for one in scores], axis=1)  # (c, M, L)
    known = (~np.isnan(values)).sum(axis=-1)
    return np.divide(np.nansum(values, axis=-1), known, out=np.full(known.shape, np.nan), where=known > 0)


def _ratio(counts: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Elementwise quotient, 0 where the denominator is 0."""
    return np.divide(counts, of, out=np.zeros(np.shape(of)), where=of > 0, dtype=np.float64)


def function_of(metric: str) -> Callable[..., np.ndarray]:
    """The function in this module that computes a metric of `plan.suites.METRICS`; it has the same name."""
    function: Callable[..., np.ndarray] = globals()[metric]
    return function


def point(metric: str, gold: np.ndarray, answers: np.ndarray, single: bool) -> np.ndarray:
    """A headline metric of each of M systems on all rows.

    Args:
        gold: (n, L) bool.
        answers: (M, n, L) bool predictions, or scores for a metric that reads them.
        single: each row has one label.

    Returns:
        (M,).
    """
    function = function_of(metric)
    if METRICS[metric].reads == "scores":
        return function(np.ones((1, len(gold))), gold, answers)[0]
    hits, occurs = (answers & gold).sum(axis=1), gold.any(axis=0) if single else None
    return function(hits, answers.sum(axis=1), gold.sum(axis=0), occurs)


def chance(gold: np.ndarray, draws: int = 100) -> float:
    """Macro-F1 of uniformly random answers to single-label rows, mean over `draws` draws; `gold` is (n, L)."""
    n, labels = gold.shape
    answers = np.random.default_rng(0).integers(labels, size=(draws, n))
    return float(point("macro_f1", gold, one_hot(answers, labels), single=True).mean())


def of_scores(task: str, gold: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    """The metrics of a task that read scores; None if one is undefined. `gold` and `scores` are (n, L)."""
    single, names = task == "single", metrics_of(task, "scores")
    values = {name: float(point(name, gold, scores[None], single)[0]) for name in names}
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def of_counts(task: str, gold: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """The metrics of a task that are computed from counts, each a mean over K partitions.

    For task `multi`, also Hamming accuracy, exact match, macro precision and recall. A ratio with denominator 0 (no
    prediction, or no positive) counts as 0.

    Args:
        gold: (n, L) bool.
        answers: (K, n, L) bool predictions; task `single`: one per row.
    """
    values = {name: point(name, gold, answers, task == "single") for name in metrics_of(task, "counts")}
    if task == "multi":
        right, (hits, predicted, positive) = answers == gold, _counts(gold, answers)
        values |= {
            "hamming_accuracy": right.mean(axis=(1, 2)),
            "exact_match": right.all(axis=2).mean(axis=1),
            "macro_precision": _ratio(hits, predicted).mean(axis=1),
            "macro_recall": _ratio(hits, positive).mean(axis=1),
        }
    return {name: float(value.mean()) for name, value in values.items()}


def per_label(gold: np.ndarray, answers: np.ndarray, scores: np.ndarray) -> list[dict[str, float | None]]:
    """Precision, recall and F1 of each label, means over K partitions, and its average precision.

    Average precision is None without a positive row.

    Args:
        gold: (n, L) bool.
        answers: (K, n, L) bool predictions.
        scores: (n, L).
    """
    hits, predicted, positive = _counts(gold, answers)
    of_partitions = {
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, positive),
        "f1": f1(hits, predicted, positive),
    }
    values = {name: np.ascontiguousarray(value.T).mean(axis=1) for name, value in of_partitions.items()}
    (values["ap"],) = average_precision(np.ones((1, len(gold))), gold, scores)
    return [
        {name: None if np.isnan(of_labels[label]) else float(of_labels[label]) for name, of_labels in values.items()}
        for label in range(gold.shape[1])
    ]


def _counts(gold: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, predictions and gold labels, each (K, L), from gold (n, L) and answers (K, n, L)."""
    hits = (answers & gold).sum(axis=1)
    return hits, answers.sum(axis=1), np.broadcast_to(gold.sum(axis=0), hits.shape)
