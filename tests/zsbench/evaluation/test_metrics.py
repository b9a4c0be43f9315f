"""Point metrics against counts done by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.evaluation.f1 import point_macro_f1
from zsbench.evaluation.metrics import multi_label, one_hot, per_label, single_label

quick = settings(max_examples=30, deadline=None)


def f1_by_hand(gold: np.ndarray, predictions: np.ndarray) -> list[float | None]:
    """F1 of each label by counting row by row; None where the label is nowhere."""
    found: list[float | None] = []
    for label in range(gold.shape[1]):
        hit = sum(1 for g, p in zip(gold[:, label], predictions[:, label], strict=True) if g and p)
        total = int(gold[:, label].sum() + predictions[:, label].sum())
        found.append(2 * hit / total if total else None)
    return found


@quick
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 7))
def test_single_label_is_the_mean_over_labels_that_occur(seed, n, labels):
    rng = np.random.default_rng(seed)
    wanted, predicted = rng.integers(labels, size=n), rng.integers(labels, size=n)
    gold, predictions = one_hot(wanted, labels), one_hot(predicted, labels)
    by_hand = [value for value in f1_by_hand(gold, predictions) if value is not None]
    found = single_label(gold, predictions)
    assert found["macro_f1"] == pytest.approx(np.mean(by_hand))
    assert found["accuracy"] == pytest.approx(np.mean(wanted == predicted))
    assert point_macro_f1(gold, predictions[None], skip_absent=True)[0] == pytest.approx(found["macro_f1"])


@quick
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 6))
def test_multi_label_counts_an_absent_label_as_zero(seed, n, labels):
    rng = np.random.default_rng(seed)
    gold, predictions = rng.random((n, labels)) < 0.3, rng.random((n, labels)) < 0.3
    by_hand = [value or 0.0 for value in f1_by_hand(gold, predictions)]
    found = multi_label(gold, predictions)
    assert found["macro_f1"] == pytest.approx(np.mean(by_hand))
    assert found["hamming_accuracy"] == pytest.approx((gold == predictions).mean())
    assert found["exact_match"] == pytest.approx((gold == predictions).all(axis=1).mean())
    total = gold.sum() + predictions.sum()
    assert found["micro_f1"] == pytest.approx(2 * (gold & predictions).sum() / total if total else 0.0)
    assert point_macro_f1(gold, predictions[None], skip_absent=False)[0] == pytest.approx(found["macro_f1"])


def test_per_label_precision_recall_and_average_precision():
    gold = np.array([[1, 0], [0, 0], [1, 0], [0, 0]])
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.4]])
    first, second = per_label(gold, scores >= 0.75, scores)
    assert (first["precision"], first["recall"], first["f1"]) == (0.5, 0.5, 0.5)
    assert first["ap"] == pytest.approx((1 / 1 + 2 / 3) / 2)  # precision at each of the two positives
    assert second["ap"] is None  # a label without a positive has no average precision
