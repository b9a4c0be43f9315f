"""How often intervals contain the truth, and how often p values and verdicts are wrong, in simulated experiments.

Axis legend: n rows, L labels, V variants, S seeds.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from zsbench.evaluation import verdicts
from zsbench.evaluation.compare import AVERAGE, Answers, Comparisons, Measured, correct, resample
from zsbench.evaluation.metrics import one_hot, point

pytestmark = pytest.mark.slow
DRAWS, REPEATS, LEVEL = 400, 500, 0.95


@dataclass(frozen=True)
class World:
    """Rows differ in difficulty, seeds in skill; `rare` makes label sizes fall as 1 / rank; `alike` is the share of
    rows to which all variants give one answer."""

    n: int
    seeds: int = 1
    spread: float = 0.0
    labels: int = 3
    rare: bool = False
    alike: float = 0.0
    variants: int = 2
    gain: float = 0.0  # extra skill of the first variant

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Gold (n, L) and predictions (V, S, n, L)."""
        sizes = 1 / np.arange(1, self.labels + 1) if self.rare else np.ones(self.labels)
        gold, difficulty = rng.choice(self.labels, size=self.n, p=sizes / sizes.sum()), rng.normal(size=self.n)
        shape = self.variants, self.seeds, self.n
        skill = 0.8 + self.gain * (np.arange(self.variants) == 0)[:, None] + self.spread * rng.normal(size=shape[:2])
        right = rng.random(shape) < 1 / (
            1 + np.exp(-2 * (skill[..., None] + difficulty + 0.7 * rng.normal(size=shape)))
        )
        wrong = (gold + rng.integers(1, self.labels, size=shape)) % self.labels
        answers = np.where(right, gold, wrong)
        same = rng.random(self.n) < self.alike
        answers[..., same] = answers[0, 0, same]
        return one_hot(gold, self.labels), np.eye(self.labels, dtype=bool)[answers]

    def truth(self, metric: str) -> float:
        """True difference of the first variant and another one, from many rows and seeds."""
        many = World(200_000, 1, 0.0, self.labels, self.rare, self.alike, 2, self.gain)
        gold, answers = many.draw(np.random.default_rng(99))
        first, second = point(metric, gold, answers[:, 0], single=True)
        return float(first - second)


def experiment(world: World, repeat: int, metric: str = "macro_f1", margin: float = 0.01) -> list[tuple[Measured, str]]:
    """The first variant against each other one, as in `compare`: measured, corrected, with a verdict."""
    statistics = {"seed": repeat, "draws": DRAWS, "level": LEVEL, "margin": margin}
    gold, answers = world.draw(np.random.default_rng(repeat))
    keys = [("test", f"v{variant}", "argmax") for variant in range(world.variants)]
    tests = [(keys[0], key) for key in keys[1:]]
    systems = dict(zip(keys, answers[:, :, None], strict=True))
    evidence = resample("d", Answers({"test": gold}, systems), tests, metric, True, statistics)
    comparisons = Comparisons({"d": evidence}, {key[1]: "base" for key in keys}, statistics)
    family = [{AVERAGE: comparisons.measured(test, ["d"])} for test in tests]
    correct(family, LEVEL)
    found = [levels[AVERAGE] for levels in family]
    ranges = [verdicts.equivalence_interval(one.delta, one.precision, LEVEL) for one in found]
    return [
        (one, verdicts.verdict(one.p_adjusted, ends, margin, LEVEL)) for one, ends in zip(found, ranges, strict=True)
    ]


def share(values) -> float:
    return float(np.mean(list(values)))


def at_most(level: float) -> float:
    """A level plus three standard errors of the simulation."""
    return level + 3 * np.sqrt(level * (1 - level) / REPEATS)


NULLS = {
    "300 rows": World(300),
    "50 rows": World(50),
    "20 labels, most of them rare": World(200, labels=20, rare=True),
    "nearly the same system": World(400, alike=0.97),
    "3 seeds that do not differ": World(400, 3, variants=3),
    "3 seeds, little spread": World(400, 3, 0.05, variants=3),
    "3 seeds, much spread": World(400, 3, 0.2, variants=3),
    "3 seeds, two variants": World(400, 3, 0.2),
    "5 seeds, much spread": World(400, 5, 0.2, variants=3),
}


@pytest.mark.parametrize("world", NULLS.values(), ids=NULLS)
def test_under_the_null(world):
    found = [experiment(world, repeat) for repeat in range(REPEATS)]
    ones = [of_family[0][0] for of_family in found]
    assert 0.92 <= share(one.low <= 0 <= one.high for one in ones) <= 0.98
    for level in (0.01, 0.05, 0.1, 0.2):
        assert share(one.p < level for one in ones) <= at_most(level)
        assert share(any(one.p_adjusted < level for one, _ in of_family) for of_family in found) <= at_most(level)
    assert share(any(word == verdicts.EFFECT for _, word in of_family) for of_family in found) <= at_most(0.05)


def test_a_family_of_many_variants_has_one_error_and_more_power_than_separate_variances():
    null, real = (World(600, 3, 0.15, variants=8, gain=gain) for gain in (0.0, 0.35))
    false = [experiment(null, repeat) for repeat in range(REPEATS // 2)]
    assert share(any(one.p_adjusted < 0.05 for one, _ in family) for family in false) <= at_most(0.05) + 0.02
    power = share(experiment(real, repeat)[0][0].p_adjusted < 0.05 for repeat in range(REPEATS // 4))
    alone = World(600, 3, 0.15, gain=0.35)
    assert power > share(experiment(alone, repeat)[0][0].p < 0.05 for repeat in range(REPEATS // 4)) - 0.1


@pytest.mark.parametrize(("world", "metric"), [(World(400, gain=0.3), "macro_f1"), (World(400, gain=0.3), "accuracy")])
def test_intervals_cover_a_real_difference_and_power_is_what_the_mde_says(world, metric):
    truth = world.truth(metric)
    found = [experiment(world, repeat, metric)[0][0] for repeat in range(REPEATS)]
    assert 0.93 <= share(one.low <= truth <= one.high for one in found) <= 0.97
    smallest = np.median([verdicts.detectable(one.precision, one.critical) for one in found])
    power = share(one.p < 0.05 for one in found)
    assert (power > 0.8) == (truth > smallest) or abs(truth / smallest - 1) < 0.15


EQUIVALENT = {  # worlds whose true difference is at least the margin
    "2,000 rows": World(2000, gain=0.1),
    "50 rows, nearly the same system": World(50, alike=0.9, gain=1.0),
    "200 rows, rare labels": World(200, labels=20, rare=True, alike=0.95, gain=1.5),
    "3 seeds": World(1000, 3, 0.1, variants=3, gain=0.1),
}


@pytest.mark.parametrize("world", EQUIVALENT.values(), ids=EQUIVALENT)
def test_no_effect_is_rarely_said_of_an_effect_as_large_as_the_margin(world):
    margin = abs(world.truth("macro_f1"))
    words = [experiment(world, repeat, margin=margin)[0][1] for repeat in range(REPEATS)]
    assert share(word == verdicts.NO_EFFECT for word in words) <= at_most(0.05)


def test_no_effect_is_said_where_there_is_none_and_rows_are_enough():
    words = [experiment(World(4000, alike=0.8), repeat, margin=0.02)[0][1] for repeat in range(100)]
    assert share(word == verdicts.NO_EFFECT for word in words) > 0.8
