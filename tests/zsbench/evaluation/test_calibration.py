"""ECE, Brier and AUROC against sklearn and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

from zsbench.evaluation.calibration import BINS, are_probabilities, auroc, bins, brier, confidence

quick = settings(max_examples=25, deadline=None)


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
    assert found.ece == pytest.approx(gap)
    assert found.count.sum() == n


def test_bins_agree_with_sklearns_calibration_curve():
    rng = np.random.default_rng(2)
    confidences = rng.random(2000)
    correct = rng.random(2000) < confidences
    accuracy, mean = calibration_curve(correct, confidences, n_bins=BINS)
    found = bins(confidences, correct)
    assert found.correct / found.count == pytest.approx(accuracy)
    assert found.confidence / found.count == pytest.approx(mean)
    assert found.ece < 0.05


def test_bins_of_seeds_add_up_and_one_is_in_the_last_bin():
    one, other = bins(np.array([1.0, 0.0]), np.array([1, 0])), bins(np.array([0.5]), np.array([1]))
    both = one + other
    assert both.count[-1] == 1
    assert both.count.sum() == 3


@quick
@given(st.integers(0, 1000), st.integers(3, 100))
def test_brier_and_auroc_are_sklearns(seed, n):
    rng = np.random.default_rng(seed)
    confidences, correct = rng.random(n).round(1), rng.random(n) < 0.5
    assert brier(confidences, correct) == pytest.approx(np.mean((confidences - correct) ** 2))
    assert brier(confidences, correct) == pytest.approx(brier_score_loss(correct, confidences, pos_label=1))
    if 0 < correct.sum() < n:
        above = [(a > b) + 0.5 * (a == b) for a in confidences[correct] for b in confidences[~correct]]
        assert auroc(confidences, correct) == pytest.approx(np.mean(above))
        assert auroc(confidences, correct) == pytest.approx(roc_auc_score(correct, confidences))


def test_auroc_is_missing_where_all_is_right_or_wrong():
    assert auroc(np.array([0.1, 0.9]), np.array([True, True])) is None
    assert auroc(np.array([0.1, 0.9]), np.array([False, False])) is None


def test_confidence_is_the_score_of_probabilities_and_a_softmax_of_others():
    scores = np.array([[0.2, 0.9], [0.6, 0.1]])
    assert confidence(scores, probabilities=True).tolist() == [0.9, 0.6]
    logits = np.array([[3.0, -1.0, 800.0], [0.0, 0.0, 0.0]])
    assert confidence(logits, probabilities=False) == pytest.approx(softmax(logits, axis=1).max(axis=1))
    assert are_probabilities(scores)
    assert not are_probabilities(logits)
