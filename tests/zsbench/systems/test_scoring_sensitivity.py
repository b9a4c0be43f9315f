"""Sensitivity to label order and wording: what is measured, on which rows, and where it is stored."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.evaluation.measure import sensitivity_records
from zsbench.evaluation.scoring import score_job
from zsbench.evaluation.sensitivity import answers, label_orders, subsample
from zsbench.evaluation.ties import winners
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.systems import load

TEXTS = [f"text {i}" for i in range(40)]
GOLD = [[i % 3] for i in range(40)]
WORDINGS = {"plain": ["red", "green", "blue"], "loud": ["RED", "GREEN", "BLUE"]}


class First:
    """Always prefers the first label: maximally order-sensitive."""

    def score(self, texts, labels):
        return np.tile(-np.arange(float(len(labels))), (len(texts), 1))


class Fair:
    """Knows the answer, regardless of order and case."""

    def score(self, texts, labels):
        truth = [WORDINGS["plain"][int(text.split()[1]) % 3] for text in texts]
        return np.array([[float(label.lower() == answer) for label in labels] for answer in truth])


@settings(max_examples=25)
@given(n=st.integers(1, 6), count=st.integers(0, 8), seed=st.integers(0, 50))
def test_orders_are_permutations_and_differ(n, count, seed):
    orders = label_orders(n, count, seed)
    assert orders[0].tolist() == list(range(n)) and 1 <= len(orders) <= count + 1
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)


def measure(system, wordings, joint=True, orders=4, rows=40):
    given = answers(system, TEXTS, GOLD, wordings, joint, orders=orders, rows=rows, seed=0)
    return list(sensitivity_records(given, "macro_f1"))


def test_a_fair_system_never_flips():
    records = measure(Fair(), WORDINGS, rows=20)
    assert [record["kind"] for record in records] == ["order", "verbalisation"]
    for record in records:
        assert record["mean"] == record["low"] == record["high"] == 1.0 and record["flip_rate"] == 0.0
    assert records[0]["rows"] == 20 and records[1]["k"] == 2


def test_a_system_that_likes_the_first_label_flips():
    [record] = measure(First(), {"plain": WORDINGS["plain"]}, orders=5)
    orders = label_orders(3, 5, 0)
    assert record["k"] == len(orders)
    assert record["flip_rate"] == pytest.approx(np.mean([order[0] != 0 for order in orders[1:]]))


def test_only_joint_families_are_permuted():
    records = measure(First(), WORDINGS, joint=False)
    assert [record["kind"] for record in records] == ["verbalisation"]


def test_equal_scores_are_drawn_for():
    texts = [f"text {i}" for i in range(400)]
    counts = np.bincount(winners(np.zeros((400, 2)), texts, ["x", "y"]))
    assert counts.tolist() == pytest.approx([200, 200], abs=4 * 10)


def test_the_subsample_is_seeded():
    assert subsample(40, 10, 1).tolist() == subsample(40, 10, 1).tolist() != subsample(40, 10, 2).tolist()
    assert len(subsample(40, 100, 1)) == 40


def test_the_cell_holds_it_and_it_is_not_scored_again(run, make_spec, tmp_path, monkeypatch):
    layout = Layout(tmp_path / "run")
    shutil.copytree(run.root, layout.root, ignore=shutil.ignore_patterns("cells", "cache"))
    wordings = {"news": {"plain": ["money", "health", "chips"], "other": ["banks", "doctors", "power"]}}
    wanted = {"orders": 2, "rows": 8, "seed": 0, "wordings": wordings}
    spec = make_spec("gliznet", model=("trained", "gliznet-full"), sensitivity=wanted)
    score_job(layout.root, spec)
    path = layout.sensitivity("gliclass", "news", spec["system"], 1)
    stored = read_json(path)
    assert np.shape(stored["order"]) == (3, 8) and np.shape(stored["verbalisation"]) == (2, 8)
    monkeypatch.setattr(load, "build", lambda *_: pytest.fail("a model was loaded"))
    score_job(layout.root, spec)
    assert read_json(path) == stored


def test_controls_have_none(run, make_spec):
    spec = make_spec(
        "control", settings={"control": "oracle"}, sensitivity={"orders": 1, "rows": 8, "seed": 0}, system="oracle"
    )
    score_job(run.root, spec)
    assert not (run.cell("gliclass", "news", "oracle", 1) / "sensitivity.json").exists()


class Moody:
    """Answers at random at every call: all flips are noise."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def score(self, texts, labels):
        return self.rng.random((len(texts), len(labels)))


def test_the_floor_is_measured_and_the_interval_holds_the_rate():
    fair = measure(Fair(), WORDINGS)
    assert {(record["floor"], record["flip_low"], record["flip_high"]) for record in fair} == {(0.0, 0.0, 0.0)}
    [moody] = measure(Moody(), {"plain": WORDINGS["plain"]})
    assert moody["floor"] > 0.4 and 0 < moody["flip_low"] < moody["flip_rate"] < moody["flip_high"] < 1


def test_a_run_that_no_longer_asks_keeps_no_old_record(run, make_spec, tmp_path):
    layout = Layout(tmp_path / "run")
    shutil.copytree(run.root, layout.root, ignore=shutil.ignore_patterns("cells", "cache"))
    spec = make_spec("gliznet", model=("trained", "gliznet-full"), sensitivity={"orders": 1, "rows": 4, "seed": 0})
    path = layout.cell("gliclass", "news", spec["system"], 1) / "sensitivity.json"
    score_job(layout.root, spec)
    assert path.exists()
    score_job(layout.root, {key: value for key, value in spec.items() if key != "sensitivity"})
    assert not path.exists()
