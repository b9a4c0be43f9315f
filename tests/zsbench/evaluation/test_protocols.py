"""Decisions: argmax, and thresholds that are independent of the rows they must not use."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.model_selection import KFold

from hybridnli.thresholds import fit_thresholds
from zsbench.evaluation.cells import Cell
from zsbench.evaluation.metrics import of_counts
from zsbench.evaluation.protocols import (
    V1_GRID,
    Folds,
    argmax,
    representative,
    representative_decision,
    thresholded,
    write_decisions,
)
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError

FOLDS = Folds(5, 0, 3)
ALL = ["fixed-0.5", "val-tuned", "cv", "held-out"]

IDS, NAMES = [f"row {i}" for i in range(80)], [f"label {i}" for i in range(5)]


def make_cell(seed=0, n=80, labels=5, test=True) -> Cell:
    rng = np.random.default_rng(seed)
    gold = rng.random((n, labels)) < 0.5
    scores = np.clip(0.5 + 0.3 * (gold - 0.5) + 0.3 * rng.normal(size=gold.shape), 0, 1)
    half = n // 2 if test else n
    split = np.array(["validation"] * half + ["test"] * (n - half), dtype=object)
    return Cell("topics", "d", "s", 1, "", split, gold, scores, {}, IDS, NAMES)


def decisions(cell, protocols=ALL, folds=FOLDS):
    return {(one.protocol, one.split): one for one in thresholded(cell, protocols, folds)}


def test_each_protocol_reports_on_its_splits():
    found = decisions(make_cell())
    assert list(found) == [
        ("fixed-0.5", "validation"),
        ("fixed-0.5", "test"),
        ("val-tuned", "validation"),
        ("cv", "validation"),
        ("held-out", "test"),
    ]
    without = decisions(make_cell(test=False))
    assert ("held-out", "test") not in without
    assert ("fixed-0.5", "test") not in without


def test_thresholds_do_not_move_when_the_test_gold_is_permuted():
    cell = make_cell()
    before = decisions(cell)
    gold = cell.gold.copy()
    rows = np.flatnonzero(cell.split == "test")
    gold[rows] = gold[np.random.default_rng(1).permutation(rows)]
    after = decisions(Cell("topics", "d", "s", 1, "", cell.split, gold, cell.scores, {}, IDS, NAMES))
    for key, decision in before.items():
        assert np.array_equal(decision.thresholds, after[key].thresholds)
        assert np.array_equal(decision.partitions, after[key].partitions)


def with_train(seed=0) -> Cell:
    """60 train rows before the 40 + 40 rows of `make_cell`."""
    first, rest = make_cell(seed + 100, n=60, test=False), make_cell(seed)
    split = np.append(np.full(60, "train", dtype=object), rest.split)
    scores, gold = np.vstack([first.scores, rest.scores]), np.vstack([first.gold, rest.gold])
    return replace(rest, split=split, scores=scores, gold=gold, sample_ids=[f"row {i}" for i in range(140)])


def test_train_cv_is_the_mean_of_the_folds_thresholds_and_sees_train_rows_alone():
    cell = with_train()
    decision = decisions(cell, ["train-cv"])["train-cv", "validation"]
    folds = KFold(5, shuffle=True, random_state=42).split(np.arange(60))
    by_hand = np.mean([fit_thresholds(cell.scores[part], cell.gold[part]) for _, part in folds], axis=0)
    assert np.array_equal(decision.thresholds, by_hand) and decision.fitted_on == "train"
    assert np.array_equal(decision.predictions, cell.scores[60:100] >= by_hand)
    flipped = replace(cell, gold=np.vstack([cell.gold[:60], ~cell.gold[60:]]))
    assert np.array_equal(decisions(flipped, ["train-cv"])["train-cv", "validation"].thresholds, by_hand)
    with pytest.raises(ValueError, match="train rows"):
        decisions(make_cell(), ["train-cv"])


def test_heads_tuned_leaves_labels_without_a_head_at_one_half():
    """The published v1: one head, with the best threshold of 0.20, 0.22 ... 0.84 on the reported rows."""
    cell = replace(make_cell(), card={"settings": {"nli_only": NAMES[1:]}})
    decision = decisions(cell, ["heads-tuned"])["heads-tuned", "validation"]
    scores, gold = cell.scores[:40, 0], cell.gold[:40, 0]
    grid = [round(0.2 + 0.02 * i, 2) for i in range(33)]
    best = max(grid, key=lambda value: f1_score(gold, scores >= value, zero_division=0))
    assert grid[-1] == 0.84 and V1_GRID.round(2).tolist() == grid
    assert decision.thresholds.tolist() == [best, 0.5, 0.5, 0.5, 0.5]
    assert np.array_equal(decision.predictions, cell.scores[:40] >= decision.thresholds)


def test_a_row_of_a_fold_does_not_choose_its_own_threshold():
    cell = make_cell(n=40)
    before = decisions(cell)["cv", "validation"].partitions
    for row in range(0, 20, 5):
        gold = cell.gold.copy()
        gold[row] = ~gold[row]
        after = decisions(Cell("topics", "d", "s", 1, "", cell.split, gold, cell.scores, {}, IDS, NAMES))[
            "cv", "validation"
        ]
        assert np.array_equal(before[:, row], after.partitions[:, row])


def test_held_out_uses_the_thresholds_of_val_tuned():
    found = decisions(make_cell())
    assert np.array_equal(found["held-out", "test"].thresholds, found["val-tuned", "validation"].thresholds)
    assert found["held-out", "test"].fitted_on == "validation"


def test_held_out_without_validation_rows_is_an_error():
    cell = make_cell()
    split = np.array(["test"] * len(cell.split), dtype=object)
    with pytest.raises(ValueError, match="topics/d/s/seed1.*needs validation rows"):
        thresholded(Cell("topics", "d", "s", 1, "", split, cell.gold, cell.scores, {}, IDS, NAMES), ["held-out"], FOLDS)


def constant(gold, ids, names):
    split = np.array(["test"] * len(gold), object)
    return Cell("gliclass", "d", "s", 0, "", split, gold, np.full(gold.shape, 0.5), {}, ids, names)


def test_a_constant_scorer_gains_nothing_from_the_order_of_labels_or_rows():
    rng = np.random.default_rng(2)
    gold, ids, names = np.eye(4, dtype=bool)[rng.integers(4, size=300)], [f"{i}" for i in range(300)], list("abcd")
    (before,) = argmax(constant(gold, ids, names))
    labels, rows = np.array([2, 0, 3, 1]), rng.permutation(300)
    moved = constant(gold[rows][:, labels], [ids[i] for i in rows], [names[i] for i in labels])
    (after,) = argmax(moved)
    np.testing.assert_array_equal(after.predictions, before.predictions[rows][:, labels])


def test_a_constant_scorer_is_uniform_random_and_not_position_first():
    gold = np.eye(2, dtype=bool)[(np.arange(4000) % 4 == 0).astype(int)]  # three quarters have the first label
    (decision,) = argmax(constant(gold, [f"{i}" for i in range(4000)], ["yes", "no"]))
    assert decision.predictions.sum(axis=0) == pytest.approx([2000, 2000], abs=4 * 32)  # four standard deviations
    chance = (2 * 0.75 / 2 / 1.25 + 2 * 0.25 / 2 / 0.75) / 2  # mean of 2 pi q / (pi + q) with q = 1/2
    assert of_counts("single", gold, decision.partitions)["macro_f1"] == pytest.approx(chance, abs=0.03)


def test_only_the_highest_scores_are_drawn_from():
    scores = np.array([[0.0, 2.0, 2.0], [3.0, 1.0, 1.0]])
    gold = np.eye(3, dtype=bool)[[1, 0]]
    (decision,) = argmax(
        Cell("gliclass", "d", "s", 0, "", np.array(["test"] * 2, object), gold, scores, {}, IDS, NAMES)
    )
    assert decision.predictions.argmax(axis=1)[0] in (1, 2) and decision.predictions.argmax(axis=1)[1] == 0
    assert decision.predictions.sum() == 2


def test_one_number_stands_for_a_system_under_the_protocol_that_flatters_least():
    every = decisions(make_cell())
    assert representative(every) == ("held-out", "test")
    without = decisions(make_cell(test=False))
    assert representative(without) == ("cv", "validation")
    assert representative([("val-tuned", "validation"), ("fixed-0.5", "validation")]) == ("fixed-0.5", "validation")
    assert representative([]) is None


@pytest.mark.parametrize(
    ("protocols", "shown"),
    [
        (ALL, ("held-out", "test")),
        (["cv"], ("cv", "validation")),
        (["fixed-0.5"], ("fixed-0.5", "test")),
        (["heads-tuned", "train-cv"], ("heads-tuned", "validation")),
    ],
)
def test_the_decision_of_one_number_is_one_that_the_run_made(tmp_path, protocols, shown):
    layout, cell = Layout(tmp_path), replace(with_train(), card={"task": "multi", "scores_sha256": "5c"})
    folds = Folds(2, 3, 1)
    write_decisions(layout, cell, thresholded(cell, protocols, folds))
    found, made = representative_decision(layout, cell), decisions(cell, protocols, folds)[shown]
    assert (found.protocol, found.split) == shown
    assert np.array_equal(found.partitions, made.partitions) and np.array_equal(found.rows, made.rows)


def test_one_label_per_row_needs_no_stored_decision(tmp_path):
    cell = replace(make_cell(), card={"task": "single"})
    assert representative_decision(Layout(tmp_path), cell).protocol == "argmax"
    with pytest.raises(IntegrityError, match=r"has not been measured"):
        representative_decision(Layout(tmp_path), replace(cell, card={"task": "multi", "scores_sha256": "5c"}))
