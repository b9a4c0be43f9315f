"""Row order and label sampling: pure functions of the seed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from zsbench.training.rows import TrainingRows, draw_labels, read_evaluation_rows, step_rows
from zsbench.training.selection import mean_average_precision


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 80), st.integers(1, 9), st.integers(0, 99))
def test_an_epoch_sees_every_row_at_most_once(n: int, batch: int, seed: int) -> None:
    lengths = np.random.default_rng(n).integers(1, 50, n)
    if n < batch:
        with pytest.raises(ValueError, match="fewer than one effective batch"):
            step_rows(lengths, 0, batch, seed)
        return
    per_epoch = n // batch
    for epoch in range(2):
        seen = np.concatenate([step_rows(lengths, epoch * per_epoch + k, batch, seed) for k in range(per_epoch)])
        assert len(seen) == per_epoch * batch
        assert len(set(seen.tolist())) == len(seen)


def test_batches_hold_rows_of_similar_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 1000, 640)
    spread = [np.ptp(lengths[step_rows(lengths, step, 16, 1)]) for step in range(40)]
    assert np.mean(spread) < 0.3 * np.ptp(lengths)


def test_order_differs_between_seeds_and_epochs() -> None:
    lengths = np.arange(64)
    first = [step_rows(lengths, step, 8, 1).tolist() for step in range(16)]
    assert first == [step_rows(lengths, step, 8, 1).tolist() for step in range(16)]
    assert first[:8] != first[8:]
    assert first != [step_rows(lengths, step, 8, 2).tolist() for step in range(16)]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 8), st.integers(0, 20), st.integers(2, 12), st.integers(0, 1000))
def test_positives_are_kept_and_targets_are_true(n_pos: int, n_neg: int, limit: int, seed: int) -> None:
    positives, negatives = [f"p{i}" for i in range(n_pos)], [f"n{i}" for i in range(n_neg)]
    rows = TrainingRows(["text"], [positives], [negatives])
    labels, targets = draw_labels(rows, 0, limit, (seed, 1))
    assert len(labels) == len(targets) == len(set(labels)) <= limit
    assert [label.startswith("p") for label in labels] == [bool(target) for target in targets]
    assert sum(targets) == min(n_pos, limit)
    if n_neg and n_pos < limit:
        assert 0 in targets
    assert (labels, targets) == draw_labels(rows, 0, limit, (seed, 1))


def test_labels_are_drawn_anew_each_epoch() -> None:
    rows = TrainingRows(["text"], [["a", "b"]], [list("cdefghijkl")])
    assert len({tuple(draw_labels(rows, 0, 12, (1, step))[0]) for step in range(20)}) > 10


def test_neither_a_labels_place_nor_its_place_in_the_file_tells_anything() -> None:
    """A joint encoder trained on true labels first would learn the place; files list labels by importance."""
    rows, draws = TrainingRows(["text"], [list("abc")], [list("defghijkl")]), 2000
    drawn = [draw_labels(rows, 0, 12, (1, step)) for step in range(draws)]
    share = np.mean([np.mean(targets) for _, targets in drawn])
    for place in (0, 1, -1):
        assert np.mean([targets[place] for _, targets in drawn]) == pytest.approx(share, abs=4 * 0.5 / draws**0.5)
    few = [label for step in range(draws) for label in draw_labels(rows, 0, 2, (1, step))[0]]
    for label in "abc":
        assert few.count(label) / draws == pytest.approx(2 / 3, abs=4 * 0.5 / draws**0.5)
    for label in "dl":  # 5 negatives on average of 9
        assert np.mean([label in labels for labels, _ in drawn]) == pytest.approx(5 / 9, abs=4 * 0.5 / draws**0.5)


def test_mean_average_precision_is_sklearns_over_texts_that_rank_something() -> None:
    scores = [np.array([0.9, 0.1, 0.5]), np.array([0.2, 0.8]), np.array([0.3])]
    targets = [np.array([1, 0, 1]), np.array([1, 0]), np.array([1])]
    expected = np.mean([average_precision_score(t, s) for s, t in zip(scores[:2], targets[:2], strict=True)])
    assert mean_average_precision(scores, targets) == pytest.approx(expected)


def test_missing_split_is_named(layout, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rows in split 'nowhere'"):
        read_evaluation_rows(layout.training_set("colours"), "nowhere")
