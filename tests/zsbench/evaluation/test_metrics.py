"""Point metrics against manual counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_recall_fscore_support, precision_score

from zsbench.evaluation.metrics import mean_ap, of_counts, one_hot, per_label, point

quick = settings(max_examples=30)


def f1_by_hand(gold: np.ndarray, predictions: np.ndarray) -> list[float | None]:
    """F1 of each label by counting row by row; None if the label does not occur."""
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
    found = of_counts("single", gold, predictions[None])
    assert found["macro_f1"] == pytest.approx(np.mean(by_hand))
    assert found["accuracy"] == pytest.approx(np.mean(wanted == predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(wanted, predicted, average="macro", zero_division=0.0))


@quick
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 6))
def test_multi_label_counts_an_absent_label_as_zero(seed, n, labels):
    rng = np.random.default_rng(seed)
    gold, predictions = rng.random((n, labels)) < 0.3, rng.random((n, labels)) < 0.3
    by_hand = [value or 0.0 for value in f1_by_hand(gold, predictions)]
    found = of_counts("multi", gold, predictions[None])
    assert found["macro_f1"] == pytest.approx(np.mean(by_hand))
    assert found["hamming_accuracy"] == pytest.approx((gold == predictions).mean())
    assert found["exact_match"] == pytest.approx((gold == predictions).all(axis=1).mean())
    total = gold.sum() + predictions.sum()
    assert found["micro_f1"] == pytest.approx(2 * (gold & predictions).sum() / total if total else 0.0)
    assert found["macro_precision"] == pytest.approx(
        precision_score(gold, predictions, average="macro", zero_division=0)
    )


def test_per_label_precision_recall_and_average_precision():
    gold = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.4]])
    first, second = per_label(gold, scores[None] >= 0.75, scores)
    assert (first["precision"], first["recall"], first["f1"]) == (0.5, 0.5, 0.5)
    assert first["ap"] == pytest.approx((1 / 1 + 2 / 3) / 2)  # precision at each of the two positives
    assert second["ap"] is None  # a label without a positive has no average precision


@quick
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 4))
def test_mean_average_precision_of_weighted_rows_is_that_of_repeated_rows(seed, n, labels):
    rng = np.random.default_rng(seed)
    gold, scores = rng.random((n, labels)) < 0.5, rng.random((2, n, labels)).round(1)  # with ties
    gold[0] = True
    weights = rng.integers(0, 3, size=(3, n))
    weights[:, 0] = 1
    found = mean_ap(weights, gold, scores)
    for draw, counts in enumerate(weights):
        rows = np.repeat(np.arange(n), counts)
        for system in range(2):
            expected = average_precision_score(gold[rows], scores[system][rows], average=None)
            assert found[draw, system] == pytest.approx(np.mean(expected))


def test_torchmetrics_agrees_on_every_headline_metric():
    import torch
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_f1_score,
        multilabel_average_precision,
        multilabel_f1_score,
    )

    rng = np.random.default_rng(0)
    wanted, predicted = rng.integers(4, size=200), rng.integers(4, size=200)
    sides = one_hot(wanted, 4), one_hot(predicted, 4)[None]
    tensors = torch.tensor(predicted), torch.tensor(wanted)
    assert point("macro_f1", *sides, single=True)[0] == pytest.approx(float(multiclass_f1_score(*tensors, 4)))
    assert point("accuracy", *sides, single=True)[0] == pytest.approx(
        float(multiclass_accuracy(*tensors, 4, average="micro"))
    )
    gold, scores = rng.random((200, 4)) < 0.4, rng.random((200, 4))
    tensors = torch.tensor(scores), torch.tensor(gold.astype(int))
    for average in ("macro", "micro"):
        assert point(f"{average}_f1", gold, scores[None] >= 0.5, single=False)[0] == pytest.approx(
            float(multilabel_f1_score(*tensors, 4, average=average)), abs=1e-6
        )
    expected = float(multilabel_average_precision(*tensors, 4, average="macro"))
    assert point("mean_ap", gold, scores[None], single=False)[0] == pytest.approx(expected, abs=1e-6)


@quick
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(2, 4))
def test_values_of_labels_are_scikit_learns(seed, n, labels):
    rng = np.random.default_rng(seed)
    gold, scores = rng.random((n, labels)) < 0.3, rng.random((n, labels)).round(1)
    found = per_label(gold, scores[None] >= 0.5, scores)
    expected = precision_recall_fscore_support(gold, scores >= 0.5, average=None, zero_division=0.0)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert [label[name] for label in found] == pytest.approx(list(values))
    for index in np.flatnonzero(gold.any(axis=0)):
        assert found[index]["ap"] == pytest.approx(average_precision_score(gold[:, index], scores[:, index]))
