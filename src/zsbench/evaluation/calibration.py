"""Does a score mean what it says: ECE, Brier score, AUROC of confidence, and the bins of a reliability diagram.

Axis legend: n rows, L labels.
"""

from dataclasses import dataclass

import numpy as np

BINS = 15  # equal width over [0, 1], the customary number


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether every score lies in [0, 1], so that the top one can be read as a confidence."""
    return bool(scores.min() >= 0.0 and scores.max() <= 1.0)


def confidence(scores: np.ndarray, probabilities: bool) -> np.ndarray:
    """Confidence of the argmax: its score where scores are probabilities, else its share of the softmax over labels.

    Args:
        scores: (n, L).
        probabilities: the system's scores lie in [0, 1] on every dataset of the suite.

    Returns:
        (n,) in [0, 1].
    """
    if probabilities:
        return scores.max(axis=1)
    return 1.0 / np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1)


@dataclass(frozen=True)
class Bins:
    """Counts and sums of equal-width bins over [0, 1]; the last bin holds 1."""

    count: np.ndarray
    confidence: np.ndarray  # sums, not means, so that bins of several seeds add up
    correct: np.ndarray

    def __add__(self, other: "Bins") -> "Bins":
        return Bins(self.count + other.count, self.confidence + other.confidence, self.correct + other.correct)

    @property
    def ece(self) -> float:
        """Expected calibration error, sum_b (n_b / n) |accuracy_b - confidence_b| (Naeini et al., AAAI 2015)."""
        return float(np.abs(self.correct - self.confidence).sum() / self.count.sum())


def bins(confidences: np.ndarray, correct: np.ndarray) -> Bins:
    """Put (n,) confidences in [0, 1] with (n,) outcomes into `BINS` bins."""
    place = np.minimum((np.asarray(confidences) * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    sums = (np.bincount(place, weights=values, minlength=BINS) for values in (confidences, np.asarray(correct, float)))
    return Bins(count, *sums)


def brier(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Mean squared distance of confidence and outcome."""
    from sklearn.metrics import brier_score_loss

    return float(brier_score_loss(np.asarray(correct, int), confidences, pos_label=1))


def auroc(confidences: np.ndarray, correct: np.ndarray) -> float | None:
    """Chance that a right answer has more confidence than a wrong one, ties counting half.

    None where all are right or all are wrong.
    """
    from sklearn.metrics import roc_auc_score

    correct = np.asarray(correct, dtype=bool)
    if correct.all() or not correct.any():
        return None
    return float(roc_auc_score(correct, confidences))
