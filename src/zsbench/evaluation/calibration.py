"""Does a score mean what it says: ECE, Brier score, AUROC of confidence, and the bins of a reliability diagram.

Axis legend: n rows, L labels.
"""

from dataclasses import dataclass

import numpy as np

BINS = 15  # equal width over [0, 1], the customary number


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether every score lies in [0, 1], so that the top one can be read as a confidence."""
    return bool(scores.min() >= 0.0 and scores.max() <= 1.0)


def softmax(scores: np.ndarray, temperature: float | np.ndarray = 1.0) -> np.ndarray:
    """Softmax over labels of scores / temperature, (n, L); `temperature` is one number, or (n, 1)."""
    scaled = scores / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fitted_temperature(scores: np.ndarray, gold: np.ndarray) -> float:
    """The temperature that makes the gold labels most likely (Guo et al., ICML 2017), between 0.001 and 1,000.

    Args:
        scores: (n, L).
        gold: (n, L) bool, one label a row.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    found = minimize_scalar(
        lambda log: -log_softmax(scores / np.exp(log), axis=1)[gold].mean(),
        bounds=np.log([1e-3, 1e3]),
        method="bounded",
    )
    return float(np.exp(found.x))


def probabilities(scores: np.ndarray, gold: np.ndarray, kind: str) -> np.ndarray:
    """What a system's scores say about each label, (n, L).

    Args:
        kind: "score": as they are, being in [0, 1]; "softmax"; "cosine": a softmax whose temperature was fitted on the
            other half of the rows, since a cosine has no scale of its own.
    """
    if kind == "score":
        return scores
    if kind == "softmax" or len(scores) < 2:
        return softmax(scores)
    half = np.random.default_rng(0).permutation(len(scores)) % 2  # (n,)
    temperatures = [fitted_temperature(scores[half != mine], gold[half != mine]) for mine in (0, 1)]
    return softmax(scores, np.array(temperatures)[half][:, None])


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


def calibrated_ece(confidences: np.ndarray, runs: int = 100) -> float:
    """The ECE that these confidences would show if they were right: its mean where answers are right by their chance.

    With few rows in a bin the ECE of a calibrated system is far from 0 (consistency resampling, Broecker and Smith,
    2007)."""
    chance = np.random.default_rng(0).random((runs, len(confidences)))
    return float(np.mean([bins(confidences, drawn < confidences).ece for drawn in chance]))


def brier(probabilities: np.ndarray, gold: np.ndarray) -> float:
    """Mean over rows of the squared distance sum_l (p_l - g_l)^2 (Brier, 1950): of all labels, since that of the top
    one alone is best for a system that is surely wrong.

    Args:
        probabilities, gold: (n, L).
    """
    return float(((probabilities - gold) ** 2).sum(axis=1).mean())


def auroc(confidences: np.ndarray, correct: np.ndarray) -> float | None:
    """Chance that a right answer has more confidence than a wrong one, ties counting half.

    Confidences are rounded to 1e-9: what rounding does to equal scores is no order. None where all are right or all are
    wrong.
    """
    from sklearn.metrics import roc_auc_score

    correct = np.asarray(correct, dtype=bool)
    if correct.all() or not correct.any():
        return None
    return float(roc_auc_score(correct, np.round(confidences, 9)))
