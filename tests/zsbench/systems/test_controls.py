"""Controls: the expected score of each, and that only they see the gold labels."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.evaluation.scoring import score_job
from zsbench.families import Control
from zsbench.systems import DatasetRows
from zsbench.systems.controls import CONTROLS, ControlSystem

GOLD = [[0]] * 60 + [[1]] * 30 + [[2]] * 10


def rows(gold, task="single", labels=3, splits=None, dataset="d"):
    names = [f"l{i}" for i in range(labels)]
    return DatasetRows(dataset, task, names, [str(i) for i in range(len(gold))], splits or ["test"] * len(gold), gold)


def score(name, data, seed=0):
    return ControlSystem({"settings": {"control": name}, "seed": seed}, None).score_rows(data)


def test_the_oracle_is_the_gold():
    data = rows(GOLD)
    np.testing.assert_array_equal(score("oracle", data), data.matrix)
    assert score("oracle", data).argmax(axis=1).tolist() == [gold[0] for gold in GOLD]


def test_majority_predicts_the_most_frequent_label():
    assert (score("majority", rows(GOLD)).argmax(axis=1) == 0).all()
    multi = rows([[0, 1], [0], [0, 2]], "multi")
    np.testing.assert_array_equal(score("majority", multi), [[1, 0, 0]] * 3)


def test_always_positive_is_one_everywhere():
    assert (score("always-positive", rows(GOLD, "multi")) == 1).all()


def test_the_shuffled_oracle_keeps_frequencies_and_label_sets():
    gold = [[0, 1]] * 5 + [[2]] * 7 + [[]] * 8
    data = rows(gold, "multi")
    shuffled = score("shuffled-oracle", data)
    assert sorted(map(tuple, shuffled)) == sorted(map(tuple, data.matrix)) and (shuffled != data.matrix).any()


@pytest.mark.parametrize("task", ["single", "multi"])
def test_prior_random_follows_the_prior(task):
    found = score("prior-random", rows(GOLD * 100, task))
    np.testing.assert_allclose(found.mean(axis=0), [0.6, 0.3, 0.1], atol=0.02)
    assert set(np.unique(found)) == {0.0, 1.0}
    assert (found.sum(axis=1) == 1).all() == (task == "single")


def test_uniform_random_prefers_no_label():
    found = score("uniform-random", rows(GOLD * 100))
    np.testing.assert_allclose(np.bincount(found.argmax(axis=1)) / len(found), 1 / 3, atol=0.02)
    np.testing.assert_allclose((found >= 0.5).mean(axis=0), 0.5, atol=0.02)


@settings(max_examples=25)
@given(
    gold=st.lists(st.lists(st.integers(0, 3), max_size=4, unique=True), min_size=2, max_size=30),
    name=st.sampled_from(sorted(CONTROLS)),
    seed=st.integers(0, 99),
)
def test_controls_are_probabilities_and_reproducible(gold, name, seed):
    data = rows(gold, "multi", 4)
    first = score(name, data, seed)
    assert first.shape == (len(gold), 4) and first.min() >= 0 and first.max() <= 1
    np.testing.assert_array_equal(first, score(name, data, seed))


@pytest.mark.parametrize("name", sorted(CONTROLS))
def test_no_gold_of_one_split_reaches_another(name):
    splits = ["validation"] * 50 + ["test"] * 50
    other = GOLD[:50] + [[2]] * 50
    first, second = (score(name, rows(gold, "multi", splits=splits)) for gold in (GOLD, other))
    np.testing.assert_array_equal(first[:50], second[:50])


def test_seeds_and_datasets_draw_other_numbers():
    base = score("uniform-random", rows(GOLD))
    assert (score("uniform-random", rows(GOLD), seed=1) != base).any()
    assert (score("uniform-random", rows(GOLD, dataset="e")) != base).any()


@pytest.mark.parametrize(("suite", "dataset"), [("gliclass", "news"), ("topics", "topics")])
def test_oracle_cells_are_perfect(run, make_spec, suite, dataset):
    spec = make_spec("control", suite, None, {"control": "oracle"})
    score_job(run.root, spec)
    frame = pd.read_parquet(run.scores(suite, dataset, spec["system"], 1))
    scores = frame.filter(like="score:").to_numpy()
    assert [np.flatnonzero(row).tolist() for row in scores] == [sorted(gold) for gold in frame["gold"]]


@pytest.mark.parametrize(("name", "label"), [("position-first", 0), ("position-last", 2)])
def test_position_canaries_like_one_end(name, label):
    scores = score(name, rows(GOLD))
    assert (scores.argmax(axis=1) == label).all() and sorted(scores[0]) == [0.0, 0.5, 1.0]


def test_every_control_of_the_registry_can_be_drawn():
    assert set(CONTROLS) == set(get_args(Control))
