"""Paired differences and what can be said about them: bootstrap intervals, p values, Holm, McNemar.

Axis legend: D draws, n rows, L labels, M prediction sets (system x seed x protocol), S seeds.

All draws of rows are shared by all prediction sets of a dataset, so every difference is one within a draw: paired.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zsbench.evaluation.f1 import macro_f1

CHUNK = 4_000_000  # weights held at a time (16 MB)


def row_weights(n: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n rows occurs in each bootstrap draw, in chunks (c, n) that add up to `draws` draws.

    Each draw takes n rows with replacement: counts are multinomial(n, 1/n). float32 is exact for counts below 2^24.
    """
    generator, size = np.random.default_rng(seed), max(1, CHUNK // n)
    for start in range(0, draws, size):
        c = min(size, draws - start)
        picked = generator.integers(0, n, size=(c, n), dtype=np.int32).astype(np.int64)
        picked += np.arange(c)[:, None] * n  # one stretch of bins a draw
        yield np.bincount(picked.ravel(), minlength=c * n).reshape(c, n).astype(np.float32)


def bootstrap_macro_f1(
    gold: np.ndarray, predictions: np.ndarray, draws: int, seed: int, skip_absent: bool
) -> np.ndarray:
    """Macro-F1 of each prediction set in each bootstrap draw of rows.

    Weighted confusion counts by matrix products: with W (D, n) the rows' counts, hits = W [gold and prediction] and
    predicted = W [prediction], both (D, M L); no draw copies a row.

    Args:
        gold: (n, L) bool.
        predictions: (M, n, L) bool.
        draws: D.
        seed: of the row draws; two calls with the same seed and rows are paired.

    Returns:
        (D, M).
    """
    M, n, L = predictions.shape
    flat = predictions.transpose(1, 0, 2).reshape(n, M * L)  # (n, M L)
    predicted = flat.astype(np.float32)
    hits = (flat & np.tile(gold, M)).astype(np.float32)
    positive = gold.astype(np.float32)
    found = []
    for weights in row_weights(n, draws, seed):
        shape = len(weights), M, L
        wanted = (weights @ positive)[:, None]  # (c, 1, L)
        found.append(
            macro_f1((weights @ hits).reshape(shape), (weights @ predicted).reshape(shape), wanted, skip_absent)
        )
    return np.concatenate(found)


def seed_sd(points: np.ndarray, draws: np.ndarray) -> float:
    """Standard deviation between seeds that the choice of rows does not explain; 0 for one seed.

    Seeds judged on the same finite rows differ for two reasons: the models differ, and each errs on other rows. The
    variance between the points holds both; the second is what the bootstrap shows within draws, and is taken off, since
    the row draws hold it already.

    Args:
        points: (S,) metric of each seed.
        draws: (D, S) metric of each seed in each draw of rows.
    """
    if len(points) == 1:
        return 0.0
    moved = draws - draws.mean(axis=0)
    rows_alone = moved.var(axis=1, ddof=1).mean()
    return math.sqrt(max(0.0, float(points.var(ddof=1)) - float(rows_alone)))


def seed_effects(seeds: int, draws: int, seed: int) -> np.ndarray:
    """Standardised errors (D,) of a mean over S seeds: Student's t with S - 1 degrees of freedom, over sqrt(S).

    Multiplied by the standard deviation between seeds they are the second level of the hierarchy. Drawing S seeds with
    replacement out of S = 3 would give intervals far too short where seeds matter (a simulated coverage of 80 % at
    nominal 95 %): the variance is a third too small, and three values have no tails. 0 for one seed: an interval over
    one seed says nothing about other seeds, and tables note it.
    """
    if seeds == 1:
        return np.zeros(draws)
    return np.random.default_rng(seed).standard_t(seeds - 1, size=draws) / math.sqrt(seeds)


@dataclass(frozen=True)
class Difference:
    """A delta with its percentile interval and two-sided p."""

    delta: float
    low: float
    high: float
    p: float


def difference(delta: float, samples: np.ndarray, level: float) -> Difference:
    """Interval and p of a delta from its bootstrap draws.

    The interval holds the central `level` of the draws. p = 2 min(#(draw <= 0), #(draw >= 0)) counted with the usual
    + 1, so it is at least 2 / (D + 1), and it is below 1 - level exactly when the interval leaves out 0.

    Args:
        samples: (D,) deltas of the draws.
        level: e.g. 0.95.
    """
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    tail = min(np.count_nonzero(samples <= 0), np.count_nonzero(samples >= 0))
    return Difference(float(delta), float(low), float(high), min(1.0, 2.0 * (tail + 1) / (len(samples) + 1)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down correction: adjusted p of each test, controlling the chance of any false finding.

    Sorted p_(1) <= ... <= p_(m): adjusted p_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)) (Holm, 1979).
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def mcnemar(correct: np.ndarray, other: np.ndarray) -> float:
    """Exact two-sided McNemar test of two systems' right and wrong answers on the same rows.

    Of the rows that one system alone gets right, half are expected on each side: a binomial test.

    Args:
        correct, other: (n,) bool.
    """
    from scipy.stats import binomtest

    only, against = int((correct & ~other).sum()), int((other & ~correct).sum())
    if only + against == 0:
        return 1.0
    return float(binomtest(only, only + against, 0.5).pvalue)


def smallest_corrected_p(draws: int, tests: int) -> float:
    """The least p that Holm's correction of `tests` tests can give with `draws` draws."""
    return min(1.0, 2.0 * tests / (draws + 1))
