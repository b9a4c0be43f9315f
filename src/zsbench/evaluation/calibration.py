"""Calibration: ECE, Brier score, AUROC of confidence, bins of a reliability diagram, and accuracy on the most confident
rows.

Axis legend: n rows, L labels, D draws.
"""

import numpy as np
from scipy.special import softmax

BINS = 15  # equal-width bins over [0, 1]; the customary number
COVERAGES = (0.5, 0.8, 0.9, 0.95)  # shares of rows that the system answers
CHUNK = 2_000_000  # array elements in memory at a time


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether all scores lie in [0, 1], so that the highest can be read as a confidence."""
    return bool(scores.min() >= 0.0 and scores.max() <= 1.0)


def fitted_temperature(scores: np.ndarray, gold: np.ndarray) -> float:
    """The temperature with the highest likelihood of the gold labels (Guo et al., ICML 2017), from 0.001 to 1,000.

    Args:
        scores: (n, L).
        gold: (n, L) bool, one label per row.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    optimum = minimize_scalar(
        lambda log: -log_softmax(scores / np.exp(log), axis=1)[gold].mean(),
        bounds=np.log([1e-3, 1e3]),
        method="bounded",
    )
    return float(np.exp(optimum.x))


def probabilities(scores: np.ndarray, gold: np.ndarray, kind: str) -> np.ndarray:
    """Label probabilities (n, L) from a system's scores.

    Args:
        scores: (n, L).
        gold: (n, L) bool, one label per row; used only to fit temperatures.
        kind: "score": unchanged, since they are in [0, 1]; "softmax": a softmax; "cosine": a softmax whose temperature
            is fitted on the other half of the rows, because cosines have no natural scale.
    """
    if kind == "score":
        return scores
    if kind == "softmax" or len(scores) < 2:
        return softmax(scores, axis=1)
    half = np.random.default_rng(0).permutation(len(scores)) % 2  # (n,)
    temperatures = [fitted_temperature(scores[half != side], gold[half != side]) for side in (0, 1)]
    return softmax(scores / np.array(temperatures)[half][:, None], axis=1)


def _bin(confidences: np.ndarray) -> np.ndarray:
    """Bin index of each confidence."""
    return np.minimum((np.asarray(confidences) * BINS).astype(int), BINS - 1)


def bins(confidences: np.ndarray, correct: np.ndarray) -> dict[str, np.ndarray]:
    """`count` of rows, and sums of `confidence` and `correct`, in each of `BINS` bins, (BINS,); the last includes 1.

    Sums rather than means, so that bins of several seeds can be added.

    Args:
        confidences: (n,) in [0, 1].
        correct: (n,) outcomes.
    """
    weights = {"count": None, "confidence": confidences, "correct": np.asarray(correct, dtype=float)}
    return {name: np.bincount(_bin(confidences), of_rows, BINS) for name, of_rows in weights.items()}


def ece(of_bins: dict[str, np.ndarray]) -> float:
    """Expected calibration error, sum_b (n_b / n) |accuracy_b - confidence_b| (Naeini et al., AAAI 2015)."""
    return float(np.abs(of_bins["correct"] - of_bins["confidence"]).sum() / of_bins["count"].sum())


def _eces(bin_numbers: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """ECE of each draw, (D,).

    Args:
        bin_numbers: bin index of each row, (D, n) or (n,).
        gaps: outcome minus confidence of each row, (D, n).
    """
    D, n = gaps.shape
    shifted = (bin_numbers + np.arange(D)[:, None] * BINS).ravel()
    sums = np.bincount(shifted, weights=gaps.ravel(), minlength=D * BINS).reshape(D, BINS)
    return np.abs(sums).sum(axis=1) / n


def calibrated_ece(confidences: np.ndarray, runs: int = 1000) -> tuple[float, float]:
    """Mean and 95th percentile of the ECE of a perfectly calibrated system with these confidences, (n,).

    Each answer is simulated as correct with probability equal to its confidence (consistency resampling, Broecker and
    Smith, 2007). With few rows per bin, the ECE of a calibrated system is far from 0.
    """
    confidences, generator = np.asarray(confidences, dtype=float), np.random.default_rng(0)
    draws = [
        _eces(_bin(confidences), (generator.random((c, len(confidences))) < confidences) - confidences)
        for c in _chunks(runs, len(confidences))
    ]
    drawn = np.concatenate(draws)
    return float(drawn.mean()), float(np.quantile(drawn, 0.95))


def ece_interval(confidences: np.ndarray, correct: np.ndarray, draws: int = 1000) -> tuple[float, float]:
    """95 % interval of the ECE: the basic bootstrap, 2 ECE - quantiles (Davison and Hinkley, 1997).

    Answers are drawn independently: rows in a single-label set, (row, label) pairs in a multi-label one.

    ECE is biased upwards, and bootstrap draws add the same bias again, so a percentile interval would lie too high.
    Reflecting the quantiles at the observed value removes that bias. Clipped at 0.

    Args:
        confidences: (n,) in [0, 1].
        correct: (n,) bool.
    """
    confidences, generator = np.asarray(confidences, dtype=float), np.random.default_rng(0)
    bin_numbers, gaps, n = _bin(confidences), np.asarray(correct, dtype=float) - confidences, len(confidences)
    drawn = []
    for c in _chunks(draws, n):
        rows = generator.integers(n, size=(c, n))
        drawn.append(_eces(bin_numbers[rows], gaps[rows]))
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    observed = ece(bins(confidences, correct))
    return max(0.0, float(2 * observed - high)), max(0.0, float(2 * observed - low))


def _chunks(draws: int, n: int) -> list[int]:
    """Chunk sizes that add up to `draws`, with at most `CHUNK` elements per chunk."""
    size = max(1, CHUNK // max(n, 1))
    return [min(size, draws - start) for start in range(0, draws, size)]


def wilson(successes: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a proportion (Wilson, 1927), elementwise; nan where n is 0.

    For the accuracy in a bin, where a bootstrap of a few rows that are all correct would have width 0.
    """
    n = np.where(np.asarray(n) > 0, n, np.nan).astype(float)
    z, share = 1.959963984540054, np.asarray(successes, dtype=float) / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return centre - half, centre + half


def risk_coverage(confidences: np.ndarray, correct: np.ndarray, draws: int = 1000) -> dict[str, float]:
    """Accuracy when a system answers only its most confident rows (Geifman and El-Yaniv, 2017).

    Rows with equal confidence (to 1e-9) each count with their mean accuracy.

    Args:
        confidences: (n,).
        correct: (n,) bool.

    Returns:
        `rows`; `accuracy_50` and so on, one per share of rows in `COVERAGES`; `accuracy` on all rows; `aurc`, the area
        under the risk-coverage curve: mean over k of the error rate on the k most confident rows; `aurc_low` and
        `aurc_high`, its 95 % percentile interval over rows.
    """
    confidences, correct = np.round(confidences, 9), np.asarray(correct, dtype=float)
    n, generator, drawn = len(correct), np.random.default_rng(0), []
    order = np.lexsort((generator.permutation(n), -confidences))  # draws break ties at random
    _, tie, sizes = np.unique(-confidences[order], return_inverse=True, return_counts=True)
    right = (np.bincount(tie, weights=correct[order]) / sizes)[tie]  # (n,) most confident first; ties at their mean
    sums = right.cumsum()
    for c in _chunks(draws, n):
        rows = np.sort(generator.integers(n, size=(c, n)), axis=1)  # draws stay sorted by confidence
        drawn.append((1 - correct[order][rows].cumsum(axis=1) / np.arange(1, n + 1)).mean(axis=1))
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    counts = [max(1, round(coverage * n)) for coverage in COVERAGES]
    return {
        "rows": n,
        **{f"accuracy_{100 * share:.0f}": float(sums[k - 1] / k) for share, k in zip(COVERAGES, counts, strict=True)},
        "accuracy": float(correct.mean()),
        "aurc": float((1 - sums / np.arange(1, n + 1)).mean()),
        "aurc_low": float(low),
        "aurc_high": float(high),
    }


def brier(probabilities: np.ndarray, gold: np.ndarray) -> float:
    """Brier score: mean over rows of sum_l (p_l - g_l)^2 (Brier, 1950).

    The sum runs over all labels: with the top label alone, a system that is reliably wrong could score best.

    Args:
        probabilities, gold: (n, L).
    """
    return float(((probabilities - gold) ** 2).sum(axis=1).mean())


def auroc(confidences: np.ndarray, correct: np.ndarray) -> float | None:
    """Probability that a correct answer has higher confidence than a wrong one; ties count half.

    Confidences are rounded to 1e-9, so that rounding errors do not order equal scores. None if all answers are correct
    or all are wrong.

    Args:
        confidences: (n,).
        correct: (n,) bool.
    """
    from sklearn.metrics import roc_auc_score

    correct = np.asarray(correct, dtype=bool)
    if correct.all() or not correct.any():
        return None
    return float(roc_auc_score(correct, np.round(confidences, 9)))
