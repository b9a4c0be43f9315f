"""ECE, Brier and AUROC against sklearn and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

from zsbench.evaluation.calibration import (
    BINS,
    COVERAGES,
    are_probabilities,
    auroc,
    bins,
    brier,
    calibrated_ece,
    ece,
    ece_interval,
    fitted_temperature,
    probabilities,
    risk_coverage,
    wilson,
)

quick = settings(max_examples=25)


@quick
@given(st.integers(0, 1000), st.integers(1, 200))
def test_ece_is_the_weighted_gap_of_the_bins(seed, n):
    rng = np.random.default_rng(seed)
    confidences, correct = rng.random(n), rng.random(n) < 0.6
    gap = 0.0
    for index in range(BINS):
        low, high = index / BINS, (index + 1) / BINS
        inside = (confidences >= low) & ((confidences < high) if index < BINS - 1 else (confidences <= 1))
        if inside.any():
            gap += inside.mean() * abs(correct[inside].mean() - confidences[inside].mean())
    found = bins(confidences, correct)
    assert ece(found) == pytest.approx(gap)
    assert found["count"].sum() == n


def test_bins_agree_with_sklearns_calibration_curve():
    rng = np.random.default_rng(2)
    confidences = rng.random(2000)
    correct = rng.random(2000) < confidences
    accuracy, mean = calibration_curve(correct, confidences, n_bins=BINS)
    found = bins(confidences, correct)
    assert found["correct"] / found["count"] == pytest.approx(accuracy)
    assert found["confidence"] / found["count"] == pytest.approx(mean)
    assert ece(found) < 0.05


def test_a_confidence_of_one_is_in_the_last_bin():
    found = bins(np.array([1.0, 0.0, 0.5]), np.array([1, 0, 1]))
    assert found["count"][-1] == found["correct"][-1] == 1 and found["count"].sum() == 3


@quick
@given(st.integers(0, 1000), st.integers(3, 100))
def test_auroc_is_sklearns(seed, n):
    rng = np.random.default_rng(seed)
    confidences, correct = rng.random(n).round(1), rng.random(n) < 0.5
    if 0 < correct.sum() < n:
        above = [(a > b) + 0.5 * (a == b) for a in confidences[correct] for b in confidences[~correct]]
        assert auroc(confidences, correct) == pytest.approx(np.mean(above))
        assert auroc(confidences, correct) == pytest.approx(roc_auc_score(correct, confidences))


def test_rounding_makes_no_order_of_equal_confidences():
    equal = np.array([0.1 + 0.2, 0.3, 0.1 + 0.2, 0.3])
    assert auroc(equal, np.array([True, False, True, False])) == 0.5


@quick
@given(st.integers(0, 1000), st.integers(3, 100), st.integers(2, 6))
def test_brier_is_sklearns_of_all_labels(seed, n, labels):
    rng = np.random.default_rng(seed)
    stated, wanted = softmax(rng.normal(size=(n, labels)), axis=1), rng.integers(labels, size=n)
    expected = brier_score_loss(wanted, stated, labels=range(labels), scale_by_half=False)
    assert brier(stated, np.eye(labels)[wanted]) == pytest.approx(expected)


def test_brier_ranks_the_system_that_is_surely_wrong_last():
    gold = np.eye(3)[[0, 1, 2, 0]]
    sure, wrong, unsure = gold, np.roll(gold, 1, axis=1), np.full((4, 3), 1 / 3)
    assert brier(sure, gold) == 0 < brier(unsure, gold) < brier(wrong, gold) == 2


def test_a_calibrated_system_shows_the_ece_that_is_said_of_it():
    rng = np.random.default_rng(1)
    for n in (50, 2000):
        confidences = rng.random(n)
        found = [ece(bins(confidences, rng.random(n) < confidences)) for _ in range(200)]
        expected, largest = calibrated_ece(confidences)
        assert expected == pytest.approx(np.mean(found), rel=0.1)
        assert largest == pytest.approx(np.quantile(found, 0.95), rel=0.1)
        assert (expected > 0.05) == (n == 50)


def test_torchmetrics_agrees_on_the_ece():
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    rng = np.random.default_rng(0)
    confidences = rng.random(500)
    correct = rng.random(500) < 0.7
    expected = binary_calibration_error(torch.tensor(confidences), torch.tensor(correct.astype(int)), n_bins=BINS)
    assert ece(bins(confidences, correct)) == pytest.approx(float(expected), abs=1e-6)


def test_cosines_get_a_temperature_of_other_rows():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 4)) * 3
    gold = (softmax(logits, axis=1).cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)[:, None] == np.arange(4)
    assert fitted_temperature(logits, gold) == pytest.approx(1.0, abs=0.1)
    assert fitted_temperature(logits / 20, gold) == pytest.approx(1 / 20, rel=0.1)
    stated = probabilities(logits / 20, gold, "cosine")
    assert ece(bins(stated.max(axis=1), gold[np.arange(4000), stated.argmax(axis=1)])) < 0.03
    changed = gold.copy()
    changed[0] = np.roll(gold[0], 1)
    np.testing.assert_array_equal(probabilities(logits / 20, changed, "cosine")[0], stated[0])


def test_auroc_is_missing_where_all_is_right_or_wrong():
    assert auroc(np.array([0.1, 0.9]), np.array([True, True])) is None
    assert auroc(np.array([0.1, 0.9]), np.array([False, False])) is None


def test_scores_are_taken_as_they_are_and_logits_through_a_softmax():
    scores, logits = np.array([[0.2, 0.9], [0.6, 0.1]]), np.array([[3.0, -1.0, 800.0], [0.0, 0.0, 0.0]])
    gold = np.zeros((2, 2), bool)
    assert probabilities(scores, gold, "score") is scores
    assert probabilities(logits, gold, "softmax") == pytest.approx(softmax(logits, axis=1))
    assert are_probabilities(scores)
    assert not are_probabilities(logits)


@quick
@given(st.integers(0, 1000), st.integers(2, 60))
def test_risk_and_coverage_against_a_loop(seed, n):
    """Ties enter with their mean: the expected curve over all orders of equal rows."""
    rng = np.random.default_rng(seed)
    confidences, correct = np.round(rng.random(n), 1), rng.random(n) < 0.6
    curves = []
    for _ in range(300):
        order = np.lexsort((rng.random(n), -confidences))
        curves.append(1 - correct[order].cumsum() / np.arange(1, n + 1))
    found = risk_coverage(confidences, correct, draws=50)
    assert found["aurc"] == pytest.approx(np.mean(curves), abs=0.04)
    for coverage in COVERAGES:
        accuracy = found[f"accuracy_{100 * coverage:.0f}"]
        place = max(1, round(coverage * n)) - 1
        assert 1 - accuracy == pytest.approx(np.mean([curve[place] for curve in curves]), abs=0.08)


def test_confidence_that_knows_what_is_wrong_has_the_smaller_area():
    rng = np.random.default_rng(0)
    correct = rng.random(500) < 0.7
    knows, guesses = risk_coverage(correct + 0.1 * rng.random(500), correct), risk_coverage(rng.random(500), correct)
    constant = risk_coverage(np.full(500, 0.5), correct)
    assert knows["aurc_high"] < guesses["aurc_low"]
    assert knows["accuracy_50"] == 1 > guesses["accuracy_95"]
    assert constant["aurc"] == pytest.approx(1 - correct.mean(), abs=1e-9)
    assert constant["aurc_low"] < constant["aurc"] < constant["aurc_high"]


def test_intervals_of_aurc_ece_and_shares_cover():
    rng = np.random.default_rng(5)

    def world(n):
        confidences = 0.2 + 0.8 * rng.random(n)
        return confidences, rng.random(n) < confidences - 0.15

    many = world(200_000)
    truth = {"aurc": risk_coverage(*many, draws=2)["aurc"], "ece": ece(bins(*many))}
    held = {"aurc": 0, "ece": 0, "share": 0}
    for _ in range(200):
        confidences, correct = world(200)
        found = risk_coverage(confidences, correct, draws=300)
        low, high = ece_interval(confidences, correct, draws=300)
        share = wilson(np.array(correct.sum()), np.array(200))
        held["aurc"] += found["aurc_low"] <= truth["aurc"] <= found["aurc_high"]
        held["ece"] += low <= truth["ece"] <= high
        held["share"] += share[0] <= 0.45 <= share[1]
    least = {"aurc": 0.86, "ece": 0.82, "share": 0.90}  # three standard errors below the coverage in docs/statistics.md
    assert all(least[name] <= count / 200 <= 0.99 for name, count in held.items()), held


def test_wilson_is_scipys():
    from scipy.stats import binomtest

    for successes, n in ((0, 5), (3, 10), (10, 10)):
        expected = binomtest(successes, n).proportion_ci(method="wilson")
        assert np.array(wilson(np.array(successes), np.array(n))) == pytest.approx(np.array(expected))
    assert np.isnan(wilson(np.array(0), np.array(0))).all()
