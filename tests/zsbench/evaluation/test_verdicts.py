"""Power, equivalence and needs against statsmodels and simulations."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.weightstats import ttost_paired

from zsbench.evaluation.verdicts import (
    EFFECT,
    NO_EFFECT,
    UNDECIDED,
    Precision,
    detectable,
    equivalence_interval,
    needs,
    unseen_variance,
    verdict,
)


def test_the_detectable_effect_has_the_power_that_it_is_named_for():
    n = 200  # unit variance in each of two groups: a variance of 2 / n
    found = detectable(Precision(rows=2 / n), norm.ppf(0.975))
    assert NormalIndPower().power(found, n, 0.05) == pytest.approx(0.8, abs=1e-3)


def test_few_degrees_of_freedom_need_more():
    assert detectable(Precision(1.0, df=2), 4.3) > detectable(Precision(1.0), 4.3)


def test_equivalence_is_two_one_sided_tests():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.002, 0.05, size=60)
    precision = Precision(differences.var(ddof=1) / 60, df=59)
    low, high = equivalence_interval(differences.mean(), precision, 0.95)
    for margin in np.linspace(0.001, 0.05, 40):
        p, _, _ = ttost_paired(differences, np.zeros(60), -margin, margin)
        assert (p < 0.05) == (-margin < low and high < margin)
    assert high - low == pytest.approx(2 * t.ppf(0.95, 59) * precision.error)


def test_a_verdict_is_an_effect_before_it_is_none():
    assert verdict(0.01, (0.001, 0.003), 0.01, 0.95) == EFFECT
    assert verdict(0.2, (-0.003, 0.004), 0.01, 0.95) == NO_EFFECT
    assert verdict(math.nan, (-0.003, 0.012), 0.01, 0.95) == UNDECIDED


def test_with_what_is_needed_the_margin_can_be_detected():
    precision, critical, margin = Precision(rows=4e-5, seeds=1e-5, either=2e-5), 2.5, 0.025
    rows, seeds = needs(precision, critical, margin, rows=1000, seeds=3)
    for factor_rows, factor_seeds in ((rows / 1000, 1.0), (1.0, seeds / 3)):
        more = Precision(
            precision.rows / factor_rows,
            precision.seeds / factor_seeds,
            precision.either / factor_rows / factor_seeds,
        )
        assert detectable(more, critical) == pytest.approx(margin, rel=0.1)
        assert detectable(more, critical) <= margin


def test_no_number_of_rows_makes_up_for_few_seeds():
    rows, seeds = needs(Precision(rows=1e-7, seeds=1e-4, df=4), 3.0, 0.01, rows=1000, seeds=3)
    assert math.isnan(rows) and seeds > 3


def test_agreement_on_few_rows_does_not_show_that_systems_agree():
    gold = np.eye(2, dtype=bool)[np.arange(1000) % 2]
    halves = [equivalence_interval(0.0, Precision(unseen_variance(gold[:n])), 0.95)[1] for n in (50, 200, 1000)]
    assert halves[0] > 0.02 and halves[1] > 0.01 > halves[2]
    n = 200  # two discordant rows of n, one per side: Bonett and Price's variance of a paired difference of 0
    assert unseen_variance(gold[:n]) == pytest.approx(2 / (n + 2) / (n + 2), rel=0.03)
    rare = np.eye(20, dtype=bool)[np.r_[np.zeros(181, int), np.arange(1, 20)]]
    assert unseen_variance(rare) > 5 * unseen_variance(gold[:n])
