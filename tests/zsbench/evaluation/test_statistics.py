"""Resampling, seeds and corrections against brute force, scipy, scikit-learn and statsmodels."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, permutation_test, ttest_ind
from sklearn.metrics import f1_score
from statsmodels.formula.api import ols
from statsmodels.stats.multitest import multipletests

from zsbench.evaluation import statistics
from zsbench.evaluation.metrics import one_hot, point
from zsbench.evaluation.statistics import (
    bootstrap,
    coins,
    degrees_of_freedom,
    holm,
    interval,
    mcnemar,
    p_value,
    row_weights,
    seed_spread,
    shapley,
    step_down_max_t,
    swapped,
)

quick = settings(max_examples=25)


def weights_of(n: int, draws: int, seed: int) -> np.ndarray:
    return np.concatenate(list(row_weights(n, draws, seed)))


@quick
@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 20))
def test_every_draw_takes_n_rows(seed, n, draws):
    weights = weights_of(n, draws, seed)
    assert weights.shape == (draws, n)
    assert (weights.sum(axis=1) == n).all()


def test_draws_do_not_depend_on_the_chunk_size(monkeypatch):
    whole = weights_of(37, 50, 4)
    monkeypatch.setattr(statistics, "CHUNK", 37 * 7)
    assert np.array_equal(weights_of(37, 50, 4), whole)


def test_counts_are_multinomial():
    weights = weights_of(20, 20_000, 1)
    assert weights.mean() == 1.0
    assert weights.var() == pytest.approx(1 - 1 / 20, rel=0.02)


@quick
@given(st.integers(0, 1000), st.integers(2, 25), st.integers(2, 5), st.integers(1, 3))
def test_weighted_counts_equal_repeated_rows_single_label(seed, n, labels, sets):
    rng = np.random.default_rng(seed)
    gold, predicted = rng.integers(labels, size=n), rng.integers(labels, size=(sets, n))
    found = bootstrap("macro_f1", one_hot(gold, labels), np.eye(labels, dtype=bool)[predicted], 6, seed, single=True)
    for draw, weights in enumerate(weights_of(n, 6, seed).astype(int)):
        rows = np.repeat(np.arange(n), weights)
        for column in range(sets):
            answers = predicted[column][rows]
            counted = set(gold[rows]) | (set(answers) - set(gold))  # a label without any gold row counts if predicted
            expected = f1_score(gold[rows], answers, labels=sorted(counted), average="macro", zero_division=0.0)
            assert found[draw, column] == pytest.approx(expected)


@quick
@given(st.integers(0, 1000), st.integers(2, 25), st.integers(1, 5))
def test_weighted_counts_equal_repeated_rows_multi_label(seed, n, labels):
    rng = np.random.default_rng(seed)
    gold, predictions = rng.random((n, labels)) < 0.4, rng.random((2, n, labels)) < 0.4
    found = bootstrap("macro_f1", gold, predictions, 5, seed, single=False)
    for draw, weights in enumerate(weights_of(n, 5, seed).astype(int)):
        rows = np.repeat(np.arange(n), weights)
        for column in range(2):
            pairs = ((gold[rows, k], predictions[column][rows, k]) for k in range(labels))
            expected = np.mean([f1_score(g, p, zero_division=0.0) for g, p in pairs])
            assert found[draw, column] == pytest.approx(expected)


def test_one_label_set_for_all_systems_of_a_draw():
    gold, rare = one_hot(np.array([0, 0, 1, 1, 2]), 3), np.array([[0, 0, 1, 1, 0], [2, 2, 1, 1, 2]])
    draws = bootstrap("macro_f1", gold, np.eye(3, dtype=bool)[rare], 200, 3, single=True)
    for weights, (first, second) in zip(weights_of(5, 200, 3), draws, strict=True):
        rows = np.repeat(np.arange(5), weights.astype(int))
        labels = np.unique(gold[rows].argmax(axis=1))  # not labels that only one system predicts
        for value, answers in ((first, rare[0]), (second, rare[1])):
            expected = f1_score(gold[rows].argmax(axis=1), answers[rows], labels=labels, average="macro")
            assert value == pytest.approx(expected)


@quick
@given(st.integers(0, 1000), st.integers(2, 25), st.integers(2, 4), st.booleans())
def test_swapped_counts_equal_swapped_rows(seed, n, labels, single):
    rng = np.random.default_rng(seed)
    answers = (
        np.eye(labels, dtype=bool)[rng.integers(labels, size=(4, n))] if single else rng.random((4, n, labels)) < 0.5
    )
    gold = one_hot(np.arange(n) % labels, labels) if single else rng.random((n, labels)) < 0.5
    scores = rng.random((4, n, labels)).round(1)
    gold[0] |= not single  # average precision needs a positive
    pairs = [(np.array([0, 1]), np.array([2, 3])), (np.array([0]), np.array([3]))]
    z = np.concatenate(list(coins(n, 6, seed)))
    for metric, of in (("macro_f1", answers), ("accuracy", answers), ("micro_f1", answers), ("mean_ap", scores)):
        found = swapped(metric, gold, of, pairs, 6, seed, single)
        for draw, coin in enumerate(z.astype(bool)):
            for column, (first, second) in enumerate(pairs):
                a = np.where(coin[:, None], of[second], of[first])
                b = np.where(coin[:, None], of[first], of[second])
                expected = (point(metric, gold, a, single) - point(metric, gold, b, single)).mean()
                assert found[draw, column] == pytest.approx(expected, abs=1e-6)


def test_swaps_do_not_depend_on_the_chunk_size(monkeypatch):
    rng = np.random.default_rng(0)
    gold, answers = one_hot(rng.integers(3, size=40), 3), np.eye(3, dtype=bool)[rng.integers(3, size=(2, 40))]
    args = "macro_f1", gold, answers, [(np.array([0]), np.array([1]))], 50, 4, True
    whole = swapped(*args)
    monkeypatch.setattr(statistics, "CHUNK", 40 * 7)
    assert np.array_equal(swapped(*args), whole)


def test_swaps_of_accuracy_are_the_sign_test_and_scipys_permutation_test():
    rng = np.random.default_rng(3)
    gold = rng.integers(2, size=30)
    answers = np.where(rng.random((2, 30)) < [[0.9], [0.6]], gold, 1 - gold)
    right = answers == gold
    expected = permutation_test(
        tuple(right.astype(float)),
        lambda a, b: a.mean() - b.mean(),
        permutation_type="samples",
        n_resamples=20_000,
        rng=1,
    )
    sides = one_hot(gold, 2), np.eye(2, dtype=bool)[answers]
    null = swapped("accuracy", *sides, [(np.array([0]), np.array([1]))], 20_000, 5, True)[:, 0]
    found = p_value(right[0].mean() - right[1].mean(), null)
    assert found == pytest.approx(expected.pvalue, abs=0.01)
    assert found == pytest.approx(mcnemar(*right), abs=0.01)


def test_ties_of_few_discordant_rows_are_counted():
    """Regression: in single precision ties were missed, and p of two systems that differ in ten rows was too small."""
    rng = np.random.default_rng(0)
    gold = one_hot(rng.integers(3, size=400), 3)
    first = gold.copy()
    first[:3] = np.roll(gold[:3], 1, axis=1)
    sides = gold, np.stack([first, gold])
    null = swapped("macro_f1", *sides, [(np.array([0]), np.array([1]))], 4000, 5, True)[:, 0]
    delta = np.subtract(*point("macro_f1", *sides, single=True))
    assert p_value(delta, null) == pytest.approx(2 / 2**3, abs=0.03)  # all three swapped, or none


def test_the_interval_holds_the_central_draws():
    samples = np.random.default_rng(0).normal(0.02, 0.01, size=9_999)
    assert interval(samples, 0.95) == pytest.approx(tuple(np.quantile(samples, [0.025, 0.975])))


def test_identical_systems_have_p_one_and_no_swap_gives_p_zero():
    assert p_value(0.0, np.zeros(100)) == 1.0
    assert p_value(1.0, np.zeros(999)) == p_value(-1.0, np.zeros(999)) == pytest.approx(1 / 1000)


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_least_level_at_which_stepping_down_rejects(values):
    adjusted = holm(np.array(values))
    for index, level in enumerate(adjusted):
        for alpha, rejected in ((min(level + 1e-9, 1.0), True), (level - 1e-9, False)):
            if level >= 1.0 and rejected:
                continue
            found, order = set(), np.argsort(values, kind="stable")
            for step, place in enumerate(order):
                if values[place] * (len(values) - step) > alpha:
                    break
                found.add(int(place))
            assert (index in found) == rejected


def test_holm_of_a_textbook_example():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@quick
@given(st.integers(0, 1000), st.integers(1, 60))
def test_mcnemar_is_the_binomial_test_of_discordant_rows(seed, n):
    rng = np.random.default_rng(seed)
    one, other = rng.random(n) < 0.7, rng.random(n) < 0.5
    b, c = int(np.sum(one & ~other)), int(np.sum(~one & other))
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar(one, other) == pytest.approx(expected)
    assert mcnemar(one, other) == pytest.approx(mcnemar(other, one))


@quick
@given(st.integers(0, 1000), st.integers(2, 6), st.integers(2, 5))
def test_pooled_seed_variance_is_the_residual_of_a_two_way_analysis(seed, variants, seeds):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(variants, seeds))
    blocked, within = seed_spread(points, np.zeros((2, variants, seeds)))
    frame = pd.DataFrame(points).stack().rename_axis(["variant", "seed"]).rename("y").reset_index()
    for formula, spread in (("y ~ C(variant) + C(seed)", blocked), ("y ~ C(variant)", within)):
        fitted = ols(formula, frame).fit()
        assert spread.variance == pytest.approx(fitted.mse_resid)
        assert spread.df <= fitted.df_resid + 1e-9  # equal if seeds have no effect, otherwise fewer
    assert blocked.df == (variants - 1) * (seeds - 1)
    assert within.df >= seeds - 1 - 1e-9


def test_the_paper_run_has_26_degrees_of_freedom():
    assert seed_spread(np.random.default_rng(0).random((14, 3)), np.zeros((2, 14, 3)))[0].df == 26


def test_one_variant_is_the_sample_variance():
    points = np.array([[0.1, 0.4, 0.3]])
    for spread in seed_spread(points, np.zeros((2, 1, 3))):
        assert (spread.variance, spread.df) == (pytest.approx(points.var(ddof=1)), 2)


def test_what_rows_alone_do_to_seeds_is_told_apart():
    rng = np.random.default_rng(0)
    models, rows = rng.normal(0, 0.03, size=400), rng.normal(0, 0.04, size=400)
    draws = models + rows + rng.normal(0, 0.04, size=(2000, 400))
    spread, _ = seed_spread((models + rows)[None], draws[:, None])
    assert spread.variance == pytest.approx(0.05**2, rel=0.15)
    assert spread.rows == pytest.approx(0.04**2, rel=0.15)


def test_degrees_of_freedom_are_welchs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=5), rng.normal(0, 3, size=9)
    parts = ((a.var(ddof=1) / 5, 4), (b.var(ddof=1) / 9, 8))
    assert degrees_of_freedom(0.0, *parts) == pytest.approx(ttest_ind(a, b, equal_var=False).df)
    assert degrees_of_freedom(1.0) == np.inf


def test_step_down_is_holm_where_tests_are_independent_and_cheaper_where_they_move_together():
    rng = np.random.default_rng(0)
    null, observed = np.abs(rng.normal(size=(50_000, 4))), np.array([2.9, 1.0, 2.6, 0.2])
    raw = 2 * norm.sf(observed)
    found, critical = step_down_max_t(observed, null, 0.95)
    assert found == pytest.approx(multipletests(raw, method="holm-sidak")[1], abs=0.01)
    assert critical == pytest.approx(norm.ppf(1 - (1 - 0.95 ** (1 / 4)) / 2), abs=0.03)
    together, _ = step_down_max_t(observed, null[:, [0, 0, 0, 0]], 0.95)
    assert together == pytest.approx(raw, abs=0.01)


def test_holm_is_statsmodels():
    p = np.random.default_rng(0).random(9) ** 3
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_the_shapley_value_is_the_mean_of_both_orders_and_adds_up():
    thresholds, system = shapley(0.2, 0.5, 0.3, 0.4), shapley(0.2, 0.3, 0.5, 0.4)
    assert thresholds == pytest.approx(((0.5 - 0.2) + (0.4 - 0.3)) / 2)
    assert thresholds + system == pytest.approx(0.4 - 0.2)


def test_ten_thousand_draws_of_ag_news_size_take_seconds():
    rng = np.random.default_rng(0)
    gold, predicted = rng.integers(20, size=7600), rng.integers(20, size=(2, 7600))
    started = time.process_time()
    bootstrap("macro_f1", one_hot(gold, 20), np.eye(20, dtype=bool)[predicted], 10_000, 0, single=True)
    assert time.process_time() - started < 40  # CPU seconds of all cores; about 6 on two idle cores
