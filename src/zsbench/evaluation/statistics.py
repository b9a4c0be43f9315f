"""Paired differences and their uncertainty: bootstrap over rows, permutation of answers, seeds, multiple testing.

Axis legend: D draws, n rows, L labels, M answer sets (system x seed x partition), S seeds, V variants, P pairs.

All answer sets of a data set share the same draws of rows and the same swaps, so differences are paired within a draw.
Verdicts are in `verdicts`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zsbench.evaluation.metrics import function_of
from zsbench.plan.suites import METRICS

CHUNK = 4_000_000  # array elements in memory at a time (16 MB)
ROUNDING = 1e-9  # smaller differences may be due to rounding


def row_weights(n: int, draws: int, seed: int, width: int = 1) -> Iterator[np.ndarray]:
    """How often each of n rows occurs in each bootstrap draw, in chunks (c, n) that add up to `draws` draws.

    Each draw takes n rows with replacement: counts are multinomial(n, 1/n). float32 is exact for counts below 2^24.

    Args:
        width: number of values that the caller computes per draw; chunks are sized for these, too.
    """
    generator, size = np.random.default_rng(seed), max(1, CHUNK // max(n, width))
    for start in range(0, draws, size):
        c = min(size, draws - start)
        picked = generator.integers(0, n, size=(c, n), dtype=np.int32).astype(np.int64)
        picked += np.arange(c)[:, None] * n  # separate bins for each draw
        yield np.bincount(picked.ravel(), minlength=c * n).reshape(c, n).astype(np.float32)


def coins(n: int, draws: int, seed: int, width: int = 1) -> Iterator[np.ndarray]:
    """Whether the answers to each of n rows are swapped (1) or not (0), in chunks (c, n) that add up to `draws` draws.

    Args:
        width: as in `row_weights`.
    """
    generator, size = np.random.default_rng(seed), max(1, CHUNK // max(n, width))
    for start in range(0, draws, size):
        yield (generator.random((min(size, draws - start), n), dtype=np.float32) < 0.5).astype(np.float32)


def bootstrap(metric: str, gold: np.ndarray, answers: np.ndarray, draws: int, seed: int, single: bool) -> np.ndarray:
    """A metric of each answer set in each bootstrap draw of rows (Efron and Tibshirani, 1993).

    Counts are matrix products: with row weights W (D, n), hits = W [gold and prediction] and predicted = W
    [prediction], both (D, M L). No rows are copied.

    Args:
        metric: a name in `plan.suites.METRICS`.
        gold: (n, L) bool.
        answers: (M, n, L) bool predictions, or scores for a metric that reads them.
        draws: D.
        seed: seed of the row draws; two calls with the same seed and rows are paired.
        single: each row has one gold label.

    Returns:
        (D, M).
    """
    M, n, L = answers.shape
    function = function_of(metric)
    if METRICS[metric].reads == "scores":
        return np.concatenate([function(weights, gold, answers) for weights in row_weights(n, draws, seed)])
    hits, predicted = _indicators(gold, answers)
    positive, occurs = gold.astype(np.float32), gold.any(axis=0) if single else None
    values = []
    for weights in row_weights(n, draws, seed, M * L):
        shape = len(weights), M, L
        wanted = (weights @ positive)[:, None]  # (c, 1, L)
        counts = (weights @ hits).reshape(shape), (weights @ predicted).reshape(shape)
        values.append(function(*counts, wanted, occurs))
    return np.concatenate(values)


def _indicators(gold: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[gold and prediction] and [prediction], both (n, M L) float32."""
    M, n, L = answers.shape
    flat = answers.transpose(1, 0, 2).reshape(n, M * L)
    return (flat & np.tile(gold, M)).astype(np.float32), flat.astype(np.float32)


def swapped(
    metric: str,
    gold: np.ndarray,
    answers: np.ndarray,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    draws: int,
    seed: int,
    single: bool,
) -> np.ndarray:
    """Differences of each pair when a fair coin decides, row by row, which side gave which answer.

    Approximate randomisation (Noreen, 1989; Yeh, COLING 2000): if the two sides do not differ, their answers to a row
    are exchangeable, so these are the differences that arise by chance. Swapped counts are the counts plus
    Z ([other side] - [this side]) with Z (D, n) the coins: matrix products again.

    Args:
        metric, gold, answers, single: as in `bootstrap`.
        pairs: for each pair, the indices in `answers` of the first and of the second side; both have the same length,
            one index per seed (and partition).
        draws: D.
        seed: seed of the coins, which all pairs share.

    Returns:
        (D, P) differences, each the mean over a pair's seeds.
    """
    M, n, L = answers.shape
    function, result = function_of(metric), []
    if METRICS[metric].reads == "scores":
        twice = np.concatenate([gold, gold])
        for z in coins(n, draws, seed):
            both = np.concatenate([1 - z, z], axis=1), np.concatenate([z, 1 - z], axis=1)  # (c, 2 n)
            columns = []
            for a, b in pairs:
                stacked = np.concatenate([answers[a], answers[b]], axis=1)  # (S, 2 n, L)
                first, second = (function(weights, twice, stacked) for weights in both)
                columns.append((first - second).mean(axis=1))
            result.append(np.stack(columns, axis=1))
        return np.concatenate(result)
    hits, predicted = _indicators(gold, answers)
    whole = [indicator.sum(axis=0).reshape(M, L) for indicator in (hits, predicted)]
    positive, occurs = gold.sum(axis=0).astype(np.float32), gold.any(axis=0) if single else None
    widest = max([M, *(len(a) for a, _ in pairs)])
    for z in coins(n, draws, seed, widest * L):
        shape = len(z), M, L
        moving = (z @ hits).reshape(shape), (z @ predicted).reshape(shape)
        columns = []
        for a, b in pairs:
            gained = [of_rows[:, b] - of_rows[:, a] for of_rows in moving]  # (c, S, L), by the first side
            these = [total[a] + more for total, more in zip(whole, gained, strict=True)]
            others = [total[b] - more for total, more in zip(whole, gained, strict=True)]
            difference = function(*these, positive, occurs) - function(*others, positive, occurs)
            columns.append(difference.mean(axis=1))
        result.append(np.stack(columns, axis=1))
    return np.concatenate(result)


def interval(samples: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval: the central `level` of (D,) bootstrap draws (Efron and Tibshirani, 1993)."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def p_value(delta: float, null: np.ndarray) -> float:
    """Two-sided p: (#(|null| >= |delta|) + 1) / (D + 1); the observed difference counts as one of the swaps.

    Phipson and Smyth (2010): without the + 1, p could be 0 and the error rate would exceed its level.

    Args:
        null: (D,) differences under the null hypothesis.
    """
    return float((np.count_nonzero(np.abs(null) >= abs(delta) - ROUNDING) + 1) / (len(null) + 1))


@dataclass(frozen=True)
class Spread:
    """Variance between trainings, for blocked or for unblocked comparisons (see `seed_spread`).

    Attributes:
        variance: variance of one training's metric around its recipe's mean, as observed on these rows.
        rows: the part of it that arises because each training errs on different rows.
        df: degrees of freedom of `variance`.
    """

    variance: float
    rows: float
    df: float


def seed_spread(points: np.ndarray, draws: np.ndarray) -> tuple[Spread, Spread]:
    """Variance between seeds, pooled over the V variants of one base: (blocked on seed, not blocked).

    All variants and seeds form a two-way table, point = variant + seed + rest (Fisher's randomised blocks). A contrast
    of two variants compares them seed by seed, so only the rest matters:

        rest = sum (y_vs - y_v. - y_.s + y_..)^2 / ((V - 1)(S - 1)),  df = (V - 1)(S - 1)

    A comparison with anything else is not blocked; its variance is the variance within variants,
    (blocks + (V - 1) rest) / V with blocks = V sum (y_.s - y_..)^2 / (S - 1), and df by Satterthwaite (1946). With
    V = 1, both are the sample variance with S - 1 degrees of freedom.

    Pooling is Smyth's (2004) moderated t with variances assumed equal; a variant that collapses violates that. Seeds
    also differ because, on a finite set of rows, each errs on different rows. That part, the mean square of the draws
    around their means, is also in the row draws and must not count twice. It is subtracted there: subtracted here, a
    small estimate would become 0 and Student's t would lose its tails (a simulated coverage of 90 %).

    Args:
        points: (V, S) metric of each variant and seed, S >= 2.
        draws: (D, V, S) the same in each bootstrap draw of rows.
    """
    V, S = points.shape
    observed = _mean_squares(points)
    of_rows = [float(square.mean()) for square in _mean_squares(draws - draws.mean(axis=0))]
    blocks, rest = (float(square) for square in observed)
    if V == 1:
        spread = Spread(blocks, of_rows[0], S - 1)
        return spread, spread
    blocked = Spread(rest, of_rows[1], (V - 1) * (S - 1))
    parts = blocks / V, rest * (V - 1) / V
    squares = parts[0] ** 2 / (S - 1) + parts[1] ** 2 / ((V - 1) * (S - 1))
    df = sum(parts) ** 2 / squares if squares > 0 else S - 1
    return blocked, Spread(sum(parts), (of_rows[0] + (V - 1) * of_rows[1]) / V, df)


def _mean_squares(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean squares of seeds and of the rest (0 for a single variant) of tables (..., V, S)."""
    V, S = values.shape[-2:]
    seeds = values.mean(axis=-2, keepdims=True) - values.mean(axis=(-2, -1), keepdims=True)
    rest = values - values.mean(axis=-1, keepdims=True) - seeds
    blocks = V * (seeds**2).sum(axis=(-2, -1)) / (S - 1)
    return blocks, (rest**2).sum(axis=(-2, -1)) / max(1, (V - 1) * (S - 1))


def degrees_of_freedom(fixed: float, *parts: tuple[float, float]) -> float:
    """Degrees of freedom of a variance (Satterthwaite, 1946): total^2 / sum(part^2 / df).

    Args:
        fixed: the part that is treated as known.
        parts: (estimated part, its df).
    """
    estimated = sum(part**2 / df for part, df in parts)
    return (fixed + sum(part for part, _ in parts)) ** 2 / estimated if estimated > 0 else math.inf


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down correction: adjusted p of each test, controlling the family-wise error rate.

    Sorted p_(1) <= ... <= p_(m): adjusted p_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)) (Holm, 1979).
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def step_down_max_t(observed: np.ndarray, null: np.ndarray, level: float) -> tuple[np.ndarray, float]:
    """Step-down correction like Holm's, with the joint distribution of the tests in place of Bonferroni's bound.

    Sorted t_(1) >= ... >= t_(m): adjusted p_(i) = max_{j <= i} P(max over k >= j of null t_(k) >= t_(j)) (Westfall and
    Young, 1993; Romano and Wolf, 2005). Tests that share systems are correlated, so this loses less power than Holm.

    Args:
        observed: (m,) absolute statistics, each a difference divided by its standard error.
        null: (D, m) absolute statistics under the null hypothesis, in shared draws.
        level: e.g. 0.95.

    Returns:
        adjusted p (m,), and the critical value: the `level` quantile of the largest null statistic.
    """
    order = np.argsort(-observed, kind="stable")
    largest = np.maximum.accumulate(null[:, order[::-1]], axis=1)[:, ::-1]  # (D, m): of test j and all below it
    exceed = (largest >= observed[order] - ROUNDING).sum(axis=0)
    adjusted = np.empty(len(observed))
    adjusted[order] = np.maximum.accumulate((exceed + 1) / (len(null) + 1))
    return adjusted, float(np.quantile(largest[:, 0], level))


def mcnemar(correct: np.ndarray, other: np.ndarray) -> float:
    """p of the exact two-sided McNemar test of two systems' correctness on the same rows.

    Of the rows that only one system gets right, half are expected on each side: a binomial test.

    Args:
        correct, other: (n,) bool.
    """
    from scipy.stats import binomtest

    only, against = int((correct & ~other).sum()), int((other & ~correct).sum())
    if only + against == 0:
        return 1.0
    return float(binomtest(only, only + against, 0.5).pvalue)


def shapley(neither: np.ndarray, first: np.ndarray, second: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Contribution of the first of two changes to their joint effect: its mean over both orders (Shapley, 1953).

    ((first - neither) + (both - second)) / 2, elementwise on values or on draws of them.
    """
    return ((first - neither) + (both - second)) / 2


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, 1 for the highest value; ties share the mean rank. (..., M) -> (..., M)."""
    from scipy.stats import rankdata

    return rankdata(-values, axis=-1)
