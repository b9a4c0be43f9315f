"""Row order and label sampling: pure functions of the seed."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from zsbench.store.layout import WORKFLOW
from zsbench.training.nli import PAIRS_PER_TEXT
from zsbench.training.rows import (
    TrainingRows,
    draw_labels,
    read_evaluation_rows,
    read_training_rows,
    step_rows,
)
from zsbench.training.selection import mean_average_precision


@settings(max_examples=30)
@given(st.integers(1, 80), st.integers(1, 9), st.integers(0, 99))
def test_an_epoch_sees_every_row_at_most_once(n: int, batch: int, seed: int) -> None:
    lengths = np.random.default_rng(n).integers(1, 50, n)
    if n < batch:
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


@settings(max_examples=50)
@given(st.integers(0, 8), st.integers(0, 20), st.integers(2, 12), st.integers(0, 1000))
def test_positives_are_kept_and_targets_are_true(n_pos: int, n_neg: int, limit: int, seed: int) -> None:
    positives, negatives = [f"p{i}" for i in range(n_pos)], [f"n{i}" for i in range(n_neg)]
    rows = TrainingRows(["text"], [positives], [negatives])
    labels, targets = draw_labels(rows, 0, limit, (seed, 1), "stratified")
    assert len(labels) == len(targets) == len(set(labels)) <= limit
    assert [label.startswith("p") for label in labels] == [bool(target) for target in targets]
    if n_pos < limit or not n_neg:
        assert sum(targets) == min(n_pos, limit)  # every true label, if there is room
    if n_pos and n_neg:
        assert {0, 1} == set(targets)  # both classes must occur
    assert (labels, targets) == draw_labels(rows, 0, limit, (seed, 1), "stratified")


def test_labels_are_drawn_anew_each_epoch() -> None:
    rows = TrainingRows(["text"], [["a", "b"]], [list("cdefghijkl")])
    assert len({tuple(draw_labels(rows, 0, 12, (1, step), "stratified")[0]) for step in range(20)}) > 10


def test_neither_a_labels_place_nor_its_place_in_the_file_tells_anything() -> None:
    """A joint encoder trained with true labels first would learn positions; files list labels by importance."""
    rows, draws = TrainingRows(["text"], [list("abc")], [list("defghijkl")]), 2000
    drawn = [draw_labels(rows, 0, 12, (1, step), "stratified") for step in range(draws)]
    share = np.mean([np.mean(targets) for _, targets in drawn])
    for place in (0, 1, -1):
        assert np.mean([targets[place] for _, targets in drawn]) == pytest.approx(share, abs=4 * 0.5 / draws**0.5)
    few = [label for step in range(draws) for label in draw_labels(rows, 0, 2, (1, step), "stratified")[0]]
    for label in "abc":
        assert few.count(label) / draws == pytest.approx(1 / 3, abs=4 * 0.5 / draws**0.5)
    for label in "dl":  # 5 negatives on average of 9
        assert np.mean([label in labels for labels, _ in drawn]) == pytest.approx(5 / 9, abs=4 * 0.5 / draws**0.5)


@pytest.mark.parametrize("limit", [PAIRS_PER_TEXT, 8, 20])
def test_both_classes_are_trained_on_whatever_the_number_of_labels(limit: int) -> None:
    """Regression: three labels of a text with four true ones were all true, and the NLI peer learned to say yes."""
    texts = [
        json.loads(line)
        for line in (WORKFLOW.parent / "authored" / "hardset-mini.jsonl").read_text("utf-8").splitlines()
    ]
    rows = TrainingRows(*([text[key] for text in texts] for key in ("text", "labels", "not_labels")))
    drawn = [draw_labels(rows, row, limit, (1, 0), "stratified")[1] for row in range(len(texts))]
    assert 0.3 < np.mean([target for targets in drawn for target in targets]) < 0.65


@settings(max_examples=60)
@given(st.integers(0, 8), st.integers(0, 20), st.integers(2, 12), st.sampled_from(["reference", "stratified"]))
def test_every_draw_is_of_the_rows_own_labels(n_pos: int, n_neg: int, limit: int, draw: str) -> None:
    rows = TrainingRows(["text"], [[f"p{i}" for i in range(n_pos)]], [[f"n{i}" for i in range(n_neg)]])
    if not n_pos + n_neg:
        return
    labels, targets = draw_labels(rows, 0, limit, (1, n_pos), draw)
    assert 1 <= len(labels) == len(targets) == len(set(labels)) <= limit
    assert set(labels) <= {*rows.positives[0], *rows.negatives[0]}
    assert [label.startswith("p") for label in labels] == [bool(target) for target in targets]
    assert (labels, targets) == draw_labels(rows, 0, limit, (1, n_pos), draw)


def test_the_reference_draw_takes_any_number_of_any_labels() -> None:
    """4 true of 14: every number of labels equally often, each label as often as any other. Exact shares: rows without
    a true label are the mean over k of C(10, k) / C(14, k), rows without a false one that of C(4, k) / C(14, k)."""
    rows, draws = TrainingRows(["text"], [list("abcd")], [list("efghijklmn")]), 20_000
    drawn = [draw_labels(rows, 0, 20, (1, step), "reference") for step in range(draws)]
    counts = np.bincount([len(labels) for labels, _ in drawn], minlength=15)[1:]
    assert counts / draws == pytest.approx(np.full(14, 1 / 14), abs=4 * (1 / 14 / draws) ** 0.5)
    for of, empty in ((10, 0.0), (4, 1.0)):
        exact = np.mean([math.comb(of, k) / math.comb(14, k) for k in range(1, 15)])
        found = np.mean([np.mean(targets) == empty for _, targets in drawn])
        assert found == pytest.approx(exact, abs=4 * 0.35 / draws**0.5)
    for label in "an":
        share = np.mean([label in labels for labels, _ in drawn])
        assert share == pytest.approx(7.5 / 14, abs=4 * 0.5 / draws**0.5)
    assert max(len(draw_labels(rows, 0, 5, (2, step), "reference")[0]) for step in range(200)) == 5


@pytest.mark.parametrize("draw", ["reference", "stratified"])
def test_nine_labels_of_ten_lose_their_underscores_each_for_itself(draw: str) -> None:
    rows = TrainingRows(["text"], [["calm_tone_here"]], [["hidden_plan"]])
    drawn = [draw_labels(rows, 0, 2, (1, step), draw)[0] for step in range(8000)]
    every = [label for labels in drawn for label in labels]
    assert set(every) == {"calm_tone_here", "calm tone here", "hidden_plan", "hidden plan"}
    assert np.mean(["_" not in label for label in every]) == pytest.approx(0.9, abs=4 * 0.3 / len(every) ** 0.5)
    pairs = [["_" not in label for label in labels] for labels in drawn if len(labels) == 2]
    mixed = np.mean([one != other for one, other in pairs])  # one spaced and one not: 2 x 0.9 x 0.1 of the rows
    assert mixed == pytest.approx(0.18, abs=4 * 0.39 / len(pairs) ** 0.5)


def write_rows(path: Path, rows: list[tuple[str, list[str], list[str]]]) -> Path:
    columns = {"text": [text for text, _, _ in rows], "labels": [a for _, a, _ in rows]}
    columns |= {"not_labels": [b for _, _, b in rows], "shown": [a + b for _, a, b in rows]}
    frame = pd.DataFrame(columns | {"targets": [[1] * len(a) + [0] * len(b) for _, a, b in rows]})
    pd.concat([frame.assign(split="train"), frame.assign(split="validation")]).to_parquet(path)
    return path


def test_short_labels_are_left_out_of_the_reference_draw_alone(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", [("a", ["joy", "calm"], ["pos"]), ("b", ["ham"], ["neg"])])
    reference, stratified = read_training_rows(path, "reference"), read_training_rows(path, "stratified")
    assert (reference.texts, reference.positives, reference.negatives) == (["a"], [["calm"]], [[]])
    assert (stratified.texts, stratified.positives[1]) == (["a", "b"], ["ham"])
    with pytest.raises(ValueError, match="no training row has a label"):
        read_training_rows(write_rows(tmp_path / "short.parquet", [("b", ["ham"], ["neg"])]), "reference")


def test_the_reference_draw_strips_labels_before_it_measures_them(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", [("a", [" joy ", " calm_tone"], ["bad\t", "loud "])])
    reference = read_training_rows(path, "reference")
    assert (reference.positives, reference.negatives) == ([["calm_tone"]], [["loud"]])


def test_validation_labels_have_spaces_and_all_their_labels(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", [("a", ["joy", "calm_tone"], ["pos"])])
    assert read_evaluation_rows(path).labels == [["joy", "calm tone", "pos"]]


def test_mean_average_precision_is_sklearns_over_texts_that_rank_something() -> None:
    scores = [np.array([0.9, 0.1, 0.5]), np.array([0.2, 0.8]), np.array([0.3])]
    targets = [np.array([1, 0, 1]), np.array([1, 0]), np.array([1])]
    expected = np.mean([average_precision_score(t, s) for s, t in zip(scores[:2], targets[:2], strict=True)])
    assert mean_average_precision(scores, targets) == pytest.approx(expected)


def test_missing_split_is_named(layout, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rows in split 'nowhere'"):
        read_evaluation_rows(layout.training_set("colours"), "nowhere")
