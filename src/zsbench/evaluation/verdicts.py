"""Verdicts on a difference: an effect, no effect that matters, or undecided, with the additional data needed."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

POWER = 0.8
EFFECT, NO_EFFECT, UNDECIDED = "effect", "no effect", "undecided"


@dataclass(frozen=True)
class Precision:
    """Uncertainty of a difference, by source.

    Attributes:
        rows: variance that decreases with more rows.
        seeds: variance that decreases with more seeds; 0 with one seed.
        either: variance that decreases with either: errors of single trainings on single rows.
        df: degrees of freedom of the sum.
    """

    rows: float
    seeds: float = 0.0
    either: float = 0.0
    df: float = math.inf

    @property
    def error(self) -> float:
        """Standard error of the difference."""
        return math.sqrt(self.rows + self.seeds + self.either)


def unseen_variance(gold: np.ndarray) -> float:
    """Additional variance of a difference from two pseudo-rows, each answered correctly by a different side only.

    Two systems that agree on all n rows have a difference of 0 in every draw, but 50 such rows do not show that they
    agree on a thousand. Following Agresti and Min (2005) and Bonett and Price (2012) for paired proportions, two
    discordant rows are added. A row of label l moves macro-F1 by about 1 / (L n_l), so two rows taken at random add
    2 mean (1 / (L n_l))^2.

    Args:
        gold: (n, L) bool.
    """
    counts = gold.sum(axis=0)
    counts = counts[counts > 0]
    return float(2 * (counts * (1 / (len(counts) * counts)) ** 2).sum() / counts.sum()) if len(counts) else 0.0


def detectable(precision: Precision, critical: float) -> float:
    """Minimum detectable effect: the difference that is detected with probability `POWER`.

    (critical + t_POWER(df)) x standard error (Bloom, 1995).

    Args:
        critical: critical value of |difference| / error in the corrected test.
    """
    return (critical + float(student.ppf(POWER, precision.df))) * precision.error


def equivalence_interval(delta: float, precision: Precision, level: float) -> tuple[float, float]:
    """Interval of two one-sided tests at 1 - level each (Schuirmann, 1987): delta -+ t_level(df) x error; 90 % for .95.

    If the interval is within a margin, there is no effect beyond that margin.
    """
    half = float(student.ppf(level, precision.df)) * precision.error
    return delta - half, delta + half


def verdict(p: float, interval: tuple[float, float], margin: float, level: float) -> str:
    """`effect` if the corrected p is below 1 - level; else `no effect` if `interval` (see `equivalence_interval`) is
    within -+margin; else `undecided`."""
    if p < 1 - level:
        return EFFECT
    return NO_EFFECT if -margin < interval[0] and interval[1] < margin else UNDECIDED


def needs(precision: Precision, critical: float, margin: float, rows: int, seeds: int) -> tuple[float, float]:
    """Numbers of rows and of seeds with which an effect as large as the margin is detected with probability `POWER`.

    Each is computed with the other fixed: the corresponding variance decreases as 1 / rows or 1 / seeds. nan if no
    number is enough.

    Args:
        rows, seeds: current numbers.
    """
    target = (margin / (critical + float(student.ppf(POWER, precision.df)))) ** 2

    def enough(variance: float, rest: float, count: int) -> float:
        return math.ceil(count * variance / (target - rest)) if variance > 0 and target > rest else math.nan

    both = precision.either
    return enough(precision.rows + both, precision.seeds, rows), enough(precision.seeds + both, precision.rows, seeds)
