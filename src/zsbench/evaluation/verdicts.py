"""What a difference lets one say: an effect, none that matters, or nothing yet, and then how much more it takes."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

POWER = 0.8
EFFECT, NO_EFFECT, UNDECIDED = "effect", "no effect", "undecided"


@dataclass(frozen=True)
class Precision:
    """How well a difference is known.

    Attributes:
        rows: variance that more rows shrink.
        seeds: variance that more seeds shrink; 0 with one seed.
        either: variance that both shrink: errors of single trainings on single rows.
        df: degrees of freedom of their sum.
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
    """Variance of a difference that two more rows would bring, each answered by one side alone, one a side.

    Two systems that agree on all n rows have differences of 0 in every draw; 50 such rows do not show that they agree
    on a thousand. As Agresti and Min (2005) and Bonett and Price (2012) do for paired proportions, two discordant
    rows are added. A row of label l moves macro-F1 by about 1 / (L n_l), so two rows taken at random add
    2 mean (1 / (L n_l))^2.

    Args:
        gold: (n, L) bool.
    """
    counts = gold.sum(axis=0)
    counts = counts[counts > 0]
    return float(2 * (counts * (1 / (len(counts) * counts)) ** 2).sum() / counts.sum()) if len(counts) else 0.0


def detectable(precision: Precision, critical: float) -> float:
    """Minimum detectable effect: the difference that is found in `POWER` of all runs like this one.

    (critical + t_POWER(df)) x standard error (Bloom, 1995).

    Args:
        critical: what |difference| / error has to exceed, of the corrected test.
    """
    return (critical + float(student.ppf(POWER, precision.df))) * precision.error


def equivalence_interval(delta: float, precision: Precision, level: float) -> tuple[float, float]:
    """Interval of two one-sided tests at 1 - level each (Schuirmann, 1987): delta -+ t_level(df) x error; 90 % for .95.

    No effect beyond a margin is shown where the interval lies within it.
    """
    half = float(student.ppf(level, precision.df)) * precision.error
    return delta - half, delta + half


def verdict(p: float, interval: tuple[float, float], margin: float, level: float) -> str:
    """`effect` where the corrected p is below 1 - level; else `no effect` where `interval` (see `equivalence_interval`)
    lies within -+margin; else `undecided`."""
    if p < 1 - level:
        return EFFECT
    return NO_EFFECT if -margin < interval[0] and interval[1] < margin else UNDECIDED


def needs(precision: Precision, critical: float, margin: float, rows: int, seeds: int) -> tuple[float, float]:
    """(rows, seeds) with which an effect as large as the margin is found in `POWER` of all runs.

    Each alone, the other staying as it is: a part of the variance shrinks as 1 / rows, or as 1 / seeds. nan where no
    number of them is enough.

    Args:
        rows, seeds: what there is now.
    """
    target = (margin / (critical + float(student.ppf(POWER, precision.df)))) ** 2

    def enough(part: float, rest: float, count: int) -> float:
        return math.ceil(count * part / (target - rest)) if part > 0 and target > rest else math.nan

    both = precision.either
    return enough(precision.rows + both, precision.seeds, rows), enough(precision.seeds + both, precision.rows, seeds)
