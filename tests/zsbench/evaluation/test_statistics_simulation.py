"""Do the intervals cover and are the p values honest? Whole experiments are repeated on made-up worlds."""

import numpy as np
import pytest

from zsbench.evaluation.compare import Sample, paired
from zsbench.evaluation.f1 import point_macro_f1
from zsbench.evaluation.metrics import one_hot
from zsbench.evaluation.statistics import bootstrap_macro_f1, difference

pytestmark = pytest.mark.slow
LABELS, DRAWS, REPEATS = 3, 600, 800


def world(rng, n: int, seeds: int, spread: float, skill: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Gold (n, L) and predictions (2 S, n, L) of two systems: rows differ in difficulty, seeds in skill."""
    gold, difficulty = rng.integers(LABELS, size=n), rng.normal(size=n)
    sets = []
    for level in skill:
        for effect in rng.normal(size=seeds) * spread:
            logit = level + effect + difficulty + 0.7 * rng.normal(size=n)
            right = rng.random(n) < 1 / (1 + np.exp(-2 * logit))
            sets.append(np.where(right, gold, (gold + rng.integers(1, LABELS, size=n)) % LABELS))
    return one_hot(gold, LABELS), np.eye(LABELS, dtype=bool)[np.array(sets)]


def experiment(rng, n, seeds, spread, skill, repeat):
    """Delta, interval and p of one simulated comparison, by the functions that `compare` uses."""
    gold, predictions = world(rng, n, seeds, spread, skill)
    draws = bootstrap_macro_f1(gold, predictions, DRAWS, repeat, skip_absent=True)
    points = point_macro_f1(gold, predictions, skip_absent=True)
    sides = [
        Sample(name, points[part], draws[:, part], np.ones(n, bool))
        for name, part in (("a", slice(seeds)), ("b", slice(seeds, None)))
    ]
    return difference(*paired(*sides, {"seed": repeat, "draws": DRAWS}), 0.95)


def truth(n_rows: int, seeds: int, spread: float, skill: tuple[float, float]) -> float:
    gold, predictions = world(np.random.default_rng(99), n_rows, seeds, spread, skill)
    points = point_macro_f1(gold, predictions, skip_absent=True)
    return float(points[:seeds].mean() - points[seeds:].mean())


@pytest.mark.parametrize(
    ("n", "seeds", "spread"),
    [(300, 1, 0.0), (2000, 1, 0.0), (400, 3, 0.0), (400, 3, 0.05), (400, 3, 0.15), (1500, 3, 0.15), (400, 5, 0.1)],
)
def test_intervals_cover_and_p_is_uniform_enough_under_the_null(n, seeds, spread):
    rng = np.random.default_rng(2024)
    found = [experiment(rng, n, seeds, spread, (0.8, 0.8), repeat) for repeat in range(REPEATS)]
    coverage = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.93 <= coverage <= 0.975 if seeds > 1 else 0.93 <= coverage <= 0.97
    p = np.array([one.p for one in found])
    for level in (0.05, 0.1, 0.2):  # three standard errors of the simulation above the level, at most
        assert np.mean(p < level) <= level + 3 * np.sqrt(level * (1 - level) / REPEATS)
    if seeds == 1:  # with few seeds p may be conservative; without them it is uniform
        for level in (0.1, 0.3, 0.5, 0.8):
            assert abs(np.mean(p < level) - level) <= 3.5 * np.sqrt(level * (1 - level) / REPEATS)


def test_intervals_cover_a_real_difference():
    rng, skill = np.random.default_rng(5), (0.9, 0.6)
    expected = truth(1_000_000, 1, 0.0, skill)
    found = [experiment(rng, 400, 1, 0.0, skill, repeat) for repeat in range(REPEATS)]
    assert 0.93 <= np.mean([one.low <= expected <= one.high for one in found]) <= 0.97
