"""End to end: canaries score no better than guessing on a suite and on topics, under every protocol.

The files are a worst case: rows are sorted by class, and gold columns list the first labels first.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.measures import GateError, gate
from tests.measured import measure
from zsbench.data.prepare import prepare_dataset
from zsbench.evaluation.measure import sensitivity_records
from zsbench.evaluation.metrics import of_counts
from zsbench.evaluation.protocols import PROTOCOLS, Folds, thresholded
from zsbench.evaluation.scoring import score_job
from zsbench.evaluation.sensitivity import answers
from zsbench.plan.suites import OF_THE_CARD
from zsbench.store.integrity import listing
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json, write_json
from zsbench.systems import load

from ..training.conftest import WORDS
from .canaries import CANARIES, ROWS, CanarySystem, interval

LABELS = ["sports and games", "war", "household things", "art"]
SHARES = [0.4, 0.3, 0.2, 0.1]
TOPICS = ["t one", "t two and more", "a topic"]
PROTOCOL_NAMES = [name for name in PROTOCOLS if name not in OF_THE_CARD]  # the canaries have no train split
SPLITS = ["train"] * 100 + ["validation"] * 150 + ["test"] * 150


def write_source(layout: Layout, name: str, rows: list[dict]) -> Path:
    folder = layout.fetched(name).parent / "files"
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(layout.fetched(name), {"origin": "t", "revision": "0", "verified": "no", "files": listing(folder)})
    return layout.fetched(name)


def prepare(layout: Layout, name: str, rows: list[dict], labels: list[str], task: str) -> None:
    splits = ["test"] if task == "single" else ["train", "validation", "test"]
    spec = {"id": name, "title": name, "files": dict.fromkeys(splits, "rows.jsonl"), "format": {"type": "jsonl"}}
    spec |= {"text": "text", "gold": {"column": "gold", "values": labels}, "labels": labels, "label_names": labels}
    spec |= {"verbalisation": "plain", "task": task, "domain": "d", "rows": None, "licence": "", "citation": ""}
    spec |= {"split_column": "split", "sample_seed": 0, "suite": "topics" if task == "multi" else "gliclass"}
    spec |= {"expected_rows": pd.Series([row["split"] for row in rows]).value_counts().to_dict()}
    prepare_dataset(spec, write_source(layout, name, rows), layout.dataset(name), layout.dataset_card(name))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Layout:
    """A run with two prepared sets whose gold is unrelated to the texts, scored by every canary and measured."""
    layout, rng = Layout(tmp_path_factory.mktemp("run") / "r"), np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 3 + rng.integers(35))) + f" {i}" for i in range(2 * ROWS)]
    counts = (np.array(SHARES) * ROWS).astype(int)
    gold = [label for label, count in zip(LABELS, counts, strict=True) for _ in range(count)]  # by class
    rows = [{"text": text, "gold": label, "split": "test"} for text, label in zip(texts, gold, strict=False)]
    prepare(layout, "news", rows, LABELS, "single")
    rows = []
    for split in ("train", "validation", "test"):
        drawn = rng.random((SPLITS.count(split), 3)) < (0.5, 0.35, 0.2)
        ordered = drawn[np.lexsort(drawn.T)]  # by class here too
        rows += [
            {"text": texts[ROWS + len(rows) + i], "split": split, "gold": [TOPICS[j] for j in np.flatnonzero(row)]}
            for i, row in enumerate(ordered)
        ]
    prepare(layout, "topics", rows, TOPICS, "multi")

    def build(spec: dict, layout: Layout) -> CanarySystem:
        return CanarySystem(spec["system"], spec["task"] == "multi")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "build", build)
        for name in CANARIES:
            for spec in (score_spec("gliclass", "news", name), score_spec("topics", "topics", name)):
                score_job(layout.root, spec)
    measure(layout.root, analysis_spec())
    return layout


def score_spec(suite: str, dataset: str, name: str) -> dict:
    task = "multi" if suite == "topics" else "single"
    spec = {"suite": suite, "task": task, "datasets": [dataset], "system": name, "seed": 0}
    spec |= {"family": "control", "model": None}
    return spec | {"settings": {"control": name}, "precision": "fp32", "token_budget": 512}


def analysis_spec() -> dict:
    def dataset(name: str, task: str, labels: list[str]) -> dict:
        return {"id": name, "title": name, "task": task, "labels": labels, "label_names": labels, "domain": "d"}

    names = [
        {"id": name, "family": "control", "settings": {"control": name}, "seeds": [0], "trained": False}
        | {"suites": ["gliclass", "topics"], "control": True}
        for name in CANARIES
    ]
    topics = {"task": "multi", "metric": "macro_f1", "datasets": [dataset("topics", "multi", TOPICS)]}
    topics |= {"protocols": PROTOCOL_NAMES, "folds": 5, "fold_seed": 0, "partitions": 2}
    news = {"task": "single", "metric": "macro_f1", "datasets": [dataset("news", "single", LABELS)]}
    suites = {"gliclass": news, "topics": topics}
    return {"run": "r", "suites": suites, "systems": names}


def macro_f1(layout: Layout, dataset: str, system: str, protocol: str, split: str) -> float:
    frame = pd.read_parquet(layout.root / "analysis" / "metrics.parquet")
    wanted = {"dataset": dataset, "system": system, "protocol": protocol, "split": split, "metric": "macro_f1"}
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return float(frame["value"].item())


def guesses(layout: Layout) -> list[float]:
    """Macro-F1 on the suite's set of 300 guessers: a label drawn uniformly for each row."""
    from sklearn.metrics import f1_score

    gold = [row[0] for row in pd.read_parquet(layout.dataset("news"))["gold"]]
    rng = np.random.default_rng(5)
    return [f1_score(gold, rng.integers(4, size=len(gold)), average="macro") for _ in range(300)]


def test_no_canary_gets_above_a_guess_on_the_suite(made) -> None:
    _, high = interval(guesses(made))
    for name in CANARIES:
        assert macro_f1(made, "news", name, "argmax", "test") < high, name


@pytest.mark.parametrize(("name", "share"), [("position_first", SHARES[0]), ("position_last", SHARES[-1])])
def test_position_canaries_score_what_one_constant_label_does(made, name: str, share: float) -> None:
    """F1 = 2p / (1 + p) for the label that is always predicted and 0 for the three others."""
    assert macro_f1(made, "news", name, "argmax", "test") == pytest.approx(2 * share / (1 + share) / 4)


def test_the_row_canary_finds_rows_that_run_by_class(made) -> None:
    """In file order, which an old version kept, it is correct half of the time; in prepared order it is at chance."""
    rows = pd.read_parquet(made.dataset("news"))
    gold = np.array([row[0] for row in rows["gold"]])
    scores = CANARIES["row_number"](rows["text"].tolist(), LABELS, 0)
    assert (scores.argmax(axis=1) == np.sort(gold)).mean() > 0.45
    assert (scores.argmax(axis=1) == gold).mean() < 0.35


def topic_chance(made: Layout, protocol: str, split: str, draws: int = 60) -> list[float]:
    """Macro-F1 of random scores under a protocol, computed with the protocol's code."""
    from dataclasses import replace

    from zsbench.evaluation.cells import read_cell

    dataset = analysis_spec()["suites"]["topics"]["datasets"][0]
    cell, rng = read_cell(made, "topics", dataset, "constant", 0), np.random.default_rng(6)
    found = []
    for _ in range(draws):
        random = replace(cell, scores=rng.random(cell.scores.shape))
        decision = next(d for d in thresholded(random, [protocol], Folds(5, 0, 20)) if d.split == split)
        found.append(of_counts("multi", decision.predictions, cell.gold[decision.rows][None])["macro_f1"])
    return found


@pytest.mark.parametrize(
    ("protocol", "split"), [(protocol, split) for protocol in PROTOCOL_NAMES for split in PROTOCOLS[protocol]]
)
def test_no_canary_gets_above_random_scores_on_topics(made, protocol: str, split: str) -> None:
    """Nor above predicting every label for every row, which any score reaches with fitted thresholds."""
    rows = pd.read_parquet(made.dataset("topics"))
    rates = [rows.loc[rows["split"] == split, "gold"].map(lambda own, j=j: j in own).mean() for j in range(3)]
    everything = float(np.mean([2 * rate / (1 + rate) for rate in rates]))
    _, high = interval(topic_chance(made, protocol, split))
    for name in CANARIES:
        assert macro_f1(made, "topics", name, protocol, split) <= max(high, everything + 1e-9), name


def test_sensitivity_gives_the_position_canaries_a_guess_and_calls_them_unstable(made) -> None:
    rows = pd.read_parquet(made.dataset("news"))
    texts, gold = rows["text"].tolist(), [list(row) for row in rows["gold"]]
    _, high = interval(guesses(made))

    def record(name: str) -> dict:
        given = answers(
            CanarySystem(name, False), texts, gold, {"plain": LABELS}, True, orders=6, rows=len(rows), seed=1
        )
        [found] = sensitivity_records(given, "macro_f1")
        return found

    for name in ("position_first", "position_last"):
        assert record(name)["mean"] < high and record(name)["flip_rate"] > 0.5, name
    for name in ("label_length", "alphabetical", "text_length", "constant"):
        assert record(name)["high"] < high, name
    assert record("label_length")["flip_rate"] == 0.0


class Way:
    """A way of scoring, as checked by the gate of the speed page."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores

    def prepare(self, texts, labels):
        return lambda: self.scores


@pytest.mark.parametrize("name", sorted(CANARIES))
def test_no_canary_passes_the_speed_gate(name: str) -> None:
    """A fast way of scoring that returns a canary's numbers is refused."""
    texts = [f"{'word ' * (i % 7)}{i}" for i in range(24)]
    honest = Way(np.random.default_rng(7).normal(size=(24, 4)))
    ways = {"gliznet": honest, "reference": honest, "nli-sorted": honest, "pipeline-1": honest}
    gate(ways, texts, LABELS, "bf16")
    for swapped in ("gliznet", "nli-sorted"):
        canary = {swapped: Way(CANARIES[name](texts, LABELS, 0))}
        with pytest.raises(GateError):
            gate(ways | canary, texts, LABELS, "bf16")


def test_cells_say_that_no_split_was_mixed_up(made) -> None:
    card = read_json(made.card("topics", "topics", "constant", 0))
    assert card["rows"] == {"validation": 150, "test": 150}
