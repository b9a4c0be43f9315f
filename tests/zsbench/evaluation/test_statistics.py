"""Bootstrap, Holm and McNemar against brute force and the libraries."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, kstest
from sklearn.metrics import f1_score

from zsbench.evaluation import statistics
from zsbench.evaluation.metrics import one_hot
from zsbench.evaluation.statistics import (
    bootstrap_macro_f1,
    difference,
    holm,
    mcnemar,
    row_weights,
    seed_effects,
    seed_sd,
    smallest_corrected_p,
)

quick = settings(max_examples=25, deadline=None)


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
    found = bootstrap_macro_f1(one_hot(gold, labels), np.eye(labels, dtype=bool)[predicted], 6, seed, skip_absent=True)
    for draw, weights in enumerate(weights_of(n, 6, seed).astype(int)):
        rows = np.repeat(np.arange(n), weights)
        for column in range(sets):
            expected = f1_score(gold[rows], predicted[column][rows], average="macro", zero_division=0.0)
            assert found[draw, column] == pytest.approx(expected)


@quick
@given(st.integers(0, 1000), st.integers(2, 25), st.integers(1, 5))
def test_weighted_counts_equal_repeated_rows_multi_label(seed, n, labels):
    rng = np.random.default_rng(seed)
    gold, predictions = rng.random((n, labels)) < 0.4, rng.random((2, n, labels)) < 0.4
    found = bootstrap_macro_f1(gold, predictions, 5, seed, skip_absent=False)
    for draw, weights in enumerate(weights_of(n, 5, seed).astype(int)):
        rows = np.repeat(np.arange(n), weights)
        for column in range(2):
            pairs = ((gold[rows, k], predictions[column][rows, k]) for k in range(labels))
            expected = np.mean([f1_score(g, p, zero_division=0.0) for g, p in pairs])
            assert found[draw, column] == pytest.approx(expected)


def test_the_interval_holds_the_central_draws_and_p_agrees_with_it():
    samples = np.random.default_rng(0).normal(0.02, 0.01, size=9_999)
    found = difference(0.02, samples, 0.95)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(samples, [0.025, 0.975])))
    assert found.p == pytest.approx(2 * (np.sum(samples <= 0) + 1) / 10_000)
    assert (found.p < 0.05) == (found.low > 0)


def test_identical_systems_have_p_one_and_no_draw_gives_p_zero():
    assert difference(0.0, np.zeros(100), 0.95).p == 1.0
    assert difference(1.0, np.ones(999), 0.95).p == pytest.approx(2 / 1000)


def test_p_changes_sides_with_the_sign():
    samples = np.random.default_rng(1).normal(0.5, 1.0, size=1000)
    assert difference(0.5, samples, 0.95).p == difference(-0.5, -samples, 0.95).p


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


def test_seed_sd_takes_off_what_the_rows_explain():
    rng = np.random.default_rng(0)
    models, rows = rng.normal(0, 0.03, size=400), rng.normal(0, 0.04, size=400)
    draws = models + rows + rng.normal(0, 0.04, size=(2000, 400))
    assert seed_sd(models + rows, draws) == pytest.approx(0.03, rel=0.15)
    assert seed_sd(rows, rows + rng.normal(0, 0.08, size=(2000, 400))) == 0.0
    assert seed_sd(np.array([0.5]), np.ones((10, 1))) == 0.0


def test_seed_effects_are_student_t_over_root_s():
    effects = seed_effects(3, 5000, 7)
    assert kstest(effects * np.sqrt(3), "t", args=(2,)).pvalue > 0.001
    assert not seed_effects(1, 10, 7).any()


def test_smallest_corrected_p():
    assert smallest_corrected_p(999, 10) == pytest.approx(0.02)


def test_ten_thousand_draws_of_ag_news_size_take_seconds():
    rng = np.random.default_rng(0)
    gold, predicted = rng.integers(20, size=7600), rng.integers(20, size=(2, 7600))
    started = time.process_time()
    bootstrap_macro_f1(one_hot(gold, 20), np.eye(20, dtype=bool)[predicted], 10_000, 0, skip_absent=True)
    assert time.process_time() - started < 40  # seconds of all cores together; about 6 on two free ones
