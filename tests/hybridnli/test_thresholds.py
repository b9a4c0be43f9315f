"""Threshold fitting against a plain grid search, out-of-fold use, and no leak of test gold."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from hybridnli.thresholds import GRID, apply_thresholds, cross_fit, f1_per_label, fit_thresholds


def plain_f1(predicted, positive):
    hits = sum(1 for p, y in zip(predicted, positive, strict=True) if p and y)
    wrong = sum(1 for p, y in zip(predicted, positive, strict=True) if bool(p) != bool(y))
    return 2 * hits / (2 * hits + wrong) if 2 * hits + wrong else 0.0


def grid_search(scores, gold):
    """The published search: every grid point, the first maximum."""
    best = []
    for column, positive in zip(scores.T, gold.T.tolist(), strict=True):
        f1 = [plain_f1((column >= tau).tolist(), positive) for tau in GRID]
        best.append(GRID[f1.index(max(f1))])
    return np.array(best)


def draw(seed, rows, labels, coarse=False):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 2, size=(rows, labels))
    scores = np.clip(0.3 * gold + rng.uniform(size=(rows, labels)) * 0.7, 0, 1)
    return (np.round(scores, 2) if coarse else scores), gold


def test_grid_is_the_published_one():
    assert len(GRID) == 98 and GRID[0] == 0.01 and GRID[-1] == 0.98 and GRID[34] == 0.35


@settings(max_examples=15)
@given(seed=st.integers(0, 2**16), rows=st.integers(1, 25), labels=st.integers(1, 3), coarse=st.booleans())
def test_fit_equals_the_grid_search(seed, rows, labels, coarse):
    scores, gold = draw(seed, rows, labels, coarse)
    np.testing.assert_array_equal(fit_thresholds(scores, gold), grid_search(scores, gold))


def test_first_maximum_wins_and_no_positives_gives_the_first_point():
    scores = np.array([[0.9, 0.5], [0.1, 0.5]])
    gold = np.array([[1, 0], [0, 0]])
    # Every threshold in 0.11 ... 0.90 separates the first column; a label without positives scores 0 everywhere.
    np.testing.assert_array_equal(fit_thresholds(scores, gold), [0.11, 0.01])


def test_float32_scores_meet_the_grid_as_published():
    """A float32 score just below a grid value in float64 is negative there."""
    scores = np.array([[np.float32(0.7)], [np.float32(0.2)]], dtype=np.float32)
    assert apply_thresholds(scores, np.array([0.7])).ravel().tolist() == [int(float(np.float32(0.7)) >= 0.7), 0]


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), rows=st.integers(1, 20))
def test_f1_equals_sklearn(seed, rows):
    scores, gold = draw(seed, rows, 3)
    predictions = apply_thresholds(scores, np.array([0.2, 0.5, 0.99]))
    expected = f1_score(gold, predictions, average=None, zero_division=0)
    np.testing.assert_allclose(f1_per_label(predictions, gold), expected)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**16), rows=st.integers(4, 30), folds=st.integers(2, 4))
def test_cross_fit_is_out_of_fold(seed, rows, folds):
    scores, gold = draw(seed, rows, 2)
    result = cross_fit(scores, gold, folds, seed=seed)
    sizes = np.bincount(result.fold_of_row, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for fold in range(folds):
        inside = result.fold_of_row == fold
        expected = grid_search(scores[~inside], gold[~inside])
        np.testing.assert_array_equal(result.thresholds[fold], expected)
        np.testing.assert_array_equal(result.predictions[inside], scores[inside] >= expected)


def test_a_row_s_own_gold_moves_none_of_its_thresholds():
    """Permuting the gold of the predicted fold does not change that fold's thresholds and predictions."""
    scores, gold = draw(5, 60, 3)
    before = cross_fit(scores, gold, 5, seed=1)
    for fold in range(5):
        inside = np.flatnonzero(before.fold_of_row == fold)
        permuted = gold.copy()
        permuted[inside] = 1 - gold[np.random.default_rng(fold).permutation(inside)]
        after = cross_fit(scores, permuted, 5, seed=1)
        np.testing.assert_array_equal(after.thresholds[fold], before.thresholds[fold])
        np.testing.assert_array_equal(after.predictions[inside], before.predictions[inside])
        assert (np.delete(after.thresholds, fold, 0) != np.delete(before.thresholds, fold, 0)).any()


@pytest.mark.parametrize(
    ("scores", "gold", "message"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3)), r"\(2, 2\).*\(2, 3\)"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "non-empty"),
        (np.array([[np.nan]]), np.array([[1]]), "non-finite"),
        (np.array([[0.5]]), np.array([[0.5]]), "gold"),
    ],
)
def test_bad_input(scores, gold, message):
    with pytest.raises(ValueError, match=message):
        fit_thresholds(scores, gold)


def test_bad_folds_and_thresholds():
    scores, gold = draw(1, 5, 2)
    with pytest.raises(ValueError, match="folds: 6.*2 to 5"):
        cross_fit(scores, gold, 6)
    with pytest.raises(ValueError, match="2 labels"):
        apply_thresholds(scores, np.array([0.5, 0.5, 0.5]))


def test_thresholds_need_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import hybridnli.thresholds, hybridnli.data\n"
        "from hybridnli import fit_thresholds, published_split, TOPICS\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
