"""Canaries are at chance in everything that selects or evaluates with label lists (validation, hardset).

Chance: the same rows scored at random 300 times; the interval is `canaries.interval`.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from zsbench.data import training_sets
from zsbench.data.authored_sets import HARDSET, read_authored
from zsbench.data.label_order import shown_labels
from zsbench.data.training_sets import prepare_training_set
from zsbench.evaluation import hardset
from zsbench.store.integrity import listing
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json, write_json
from zsbench.training.run import build_task
from zsbench.training.task import Task

from ..training.conftest import RECIPE, WORDS, finish_backbone, save_tiny_encoder
from .canaries import CANARIES, ROWS, chance, interval, rows_of

FAMILIES = {"gliznet": {}, "gliclass": {}, "biencoder": {}, "nli": {"template": "this is {}"}}


def true_first(text: str, true: list[str], false: list[str]) -> tuple[list[str], list[int]]:
    """The order that used to leak: true labels before false ones."""
    return [*true, *false], [1] * len(true) + [0] * len(false)


def prepare(root: Path) -> Layout:
    """A run with a tiny encoder and a set with labels unrelated to its texts; the file lists true labels first."""
    layout, rng = Layout(root), np.random.default_rng(1)
    save_tiny_encoder(layout.fetched("tiny").parent / "files")
    finish_backbone(layout)
    folder = layout.fetched("rows").parent / "files"
    folder.mkdir(parents=True)
    rows = []
    for i in range(ROWS + 40):
        names = [" ".join(rng.choice(WORDS, 1 + rng.integers(3), replace=False)) for _ in range(12)]
        names = list(dict.fromkeys(names))
        true = 1 + int(rng.integers(4))
        text = " ".join(rng.choice(WORDS, 3 + rng.integers(30)))
        rows.append({"text": text, "labels": names[:true], "not_labels": names[true:], "split": "validation"})
        if i >= ROWS:
            rows[-1]["split"] = "train"
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(layout.fetched("rows"), {"origin": "t", "revision": "0", "files": listing(folder)})
    spec = {"id": "colours", "title": "t", "format": {"type": "jsonl"}, "split_column": "split"}
    spec |= {"files": dict.fromkeys(("train", "validation"), ["rows.jsonl"]), "licence": "", "citation": ""}
    path = layout.training_set("colours")
    prepare_training_set(spec, layout.fetched("rows"), path, path.with_name("card.json"))
    return layout


def task_of(family: str, layout: Layout) -> Task:
    spec = {"id": "m", "family": family, "seed": 1, "recipe": RECIPE, "options": FAMILIES[family]}
    return build_task(spec, layout)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory) -> dict[str, Task]:
    layout = prepare(tmp_path_factory.mktemp("run"))
    return {family: task_of(family, layout) for family in FAMILIES}


def ask(task: Task, name: str, monkeypatch: pytest.MonkeyPatch) -> float:
    """The task's validation metric for a canary in place of the model."""

    def score(texts, label_lists):
        return rows_of(name, texts, label_lists)

    monkeypatch.setattr(task, "score", score)
    return task.validate()


@pytest.mark.parametrize("family", FAMILIES)
def test_validation_gives_every_canary_chance(tasks, monkeypatch, family: str) -> None:
    low, high = interval(chance(tasks[family].validation.targets).mean(axis=1))
    for name in set(CANARIES) - {"constant"}:
        assert low < ask(tasks[family], name, monkeypatch) < high, name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_constant_score_gets_the_share_of_true_labels(tasks, monkeypatch, family: str) -> None:
    """Tied labels enter the ranking together, so the score is below chance and the same for every order."""
    expected = np.mean([targets.mean() for targets in tasks[family].validation.targets])
    assert ask(tasks[family], "constant", monkeypatch) == pytest.approx(expected)


def test_the_canaries_find_the_old_leak(tmp_path, monkeypatch) -> None:
    """With true labels listed first, as in an old version, the position canaries are far from chance."""
    monkeypatch.setattr(training_sets, "shown_labels", true_first)
    task = task_of("biencoder", prepare(tmp_path / "run"))
    low, high = interval(chance(task.validation.targets).mean(axis=1))
    assert ask(task, "position_first", monkeypatch) == 1.0
    assert ask(task, "position_last", monkeypatch) < low
    assert low < ask(task, "alphabetical", monkeypatch) < high


def test_every_family_sees_the_same_stored_order(tasks) -> None:
    """One order for all, determined by text and label names, regardless of the order in the file."""
    orders = [task.validation.labels for task in tasks.values()]
    assert all(order == orders[0] for order in orders)
    assert shown_labels("t", ["a", "b"], ["c", "d"])[0] == shown_labels("t", ["d", "b"], ["c", "a"])[0]
    firsts = [bool(targets[0]) for targets in tasks["nli"].validation.targets]
    share = np.mean([targets.mean() for targets in tasks["nli"].validation.targets])
    assert np.mean(firsts) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(firsts)))


def measured(layout: Layout, monkeypatch, canary: str) -> float:
    """Mean AP of the hardset measurement for a canary in place of the trained model."""
    rng = np.random.default_rng(3)

    def trained(checkpoint, texts, labels, precision, token_budget):
        return rows_of(canary, texts, labels)

    def untrained(folder, texts, labels):
        return [rng.random(len(names)) for names in labels]

    monkeypatch.setattr(hardset, "trained_scores", trained)
    monkeypatch.setattr(hardset, "untrained_scores", untrained)
    monkeypatch.setattr(hardset, "open_model", lambda *place: Path())
    spec = {"models": ["canary"], "seed": 1, "backbone": "tiny", "draws": 50, "level": 0.95, "rng": 1}
    spec |= {"precision": "fp32", "token_budget": 1024}
    hardset.measure_hardset(layout.root, spec)
    return read_json(layout.root / "analysis" / "hardset.json")["rows"][0]["trained"]


def bundle_chance() -> list[float]:
    """Mean AP per bundle of random scores on hardset-mini's test split."""
    rows = [row for row in read_authored(HARDSET) if row["split"] == "test"]
    bundles = [row["bundle"] for row in rows]
    targets = [np.array([1] * len(row["labels"]) + [0] * len(row["not_labels"])) for row in rows]
    return [float(hardset.bundle_means(values, bundles).mean()) for values in chance(targets, 100)]


def test_hardset_gives_the_position_canaries_chance(tasks, tmp_path, monkeypatch) -> None:
    layout = Layout(tmp_path / "run")
    save_tiny_encoder(layout.fetched("tiny").parent / "files")
    finish_backbone(layout)
    low, high = interval(bundle_chance())
    for name in ("position_first", "position_last", "label_length", "alphabetical", "text_length", "row_number"):
        assert low < measured(layout, monkeypatch, name) < high, name
    assert measured(layout, monkeypatch, "constant") < low
    monkeypatch.setattr(hardset, "shown_labels", true_first)
    assert measured(layout, monkeypatch, "position_first") == 1.0
    assert measured(layout, monkeypatch, "position_last") < low
