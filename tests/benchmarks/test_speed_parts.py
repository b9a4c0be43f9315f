"""Workloads, the cost model, interleaving and the page: all parts of the speed run that need no model."""

import copy
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import measures
from benchmarks.__main__ import main
from benchmarks.costs import CostModel
from benchmarks.measures import fastest
from benchmarks.page import write_speed_page
from benchmarks.parts import Parts
from benchmarks.ratios import ratios, verdict
from benchmarks.timing import interleave, interval, rates, ratio
from benchmarks.workloads import make_labels, make_texts, mixed_lengths
from zsbench.reporting.page import Section, _add_speed
from zsbench.store.provenance import write_json

from .made_up_record import part, record, rounds

COSTS = CostModel(hidden=384, intermediate=1536, layers=6, relative=False)


def letters(texts: list[str]) -> list[int]:
    """A stand-in tokenizer: one token per four letters of a word, rounded up."""
    return [sum(-(-len(word) // 4) for word in text.split()) for text in texts]


@given(st.lists(st.integers(4, 400), min_size=1, max_size=40), st.integers(0, 99))
@settings(max_examples=20)
def test_texts_have_the_lengths_asked_for(lengths: list[int], seed: int) -> None:
    texts = make_texts(lengths, letters, seed)
    assert texts == make_texts(lengths, letters, seed)
    for length, found in zip(lengths, letters(texts), strict=True):
        assert length - 8 < found <= max(length, 8)  # a word has at most 8 of these tokens, and one is always there


def test_mixed_lengths_have_their_mean_and_limit() -> None:
    lengths = mixed_lengths(20_000, 90, 510, 3)
    assert max(lengths) <= 510
    assert 80 < np.mean(lengths) < 95
    assert np.percentile(lengths, 10) < 30
    assert np.percentile(lengths, 95) > 200


def test_labels_are_distinct_and_limited() -> None:
    assert len(set(make_labels(128, 1))) == 128
    assert make_labels(5, 1) == make_labels(128, 1)[:5]
    with pytest.raises(ValueError, match="distinct"):
        make_labels(10**6, 1)


def test_cost_model() -> None:
    assert COSTS.sequence(1) == 2 * 6 * (4 * 384**2 + 2 * 384 * 1536) + 4 * 6 * 384
    assert COSTS.joint(30, 4, 20, 20) == COSTS.sequence(30 + 2 + 100)
    assert COSTS.joint(30, 4, 21, 20) == COSTS.sequence(132) + COSTS.sequence(37)
    assert COSTS.pairwise(30, 4, 7) == 7 * COSTS.sequence(37)
    # Never more than the number of labels, and bounded by (t + l) / l however many there are.
    for labels in (2, 16, 128):
        times = COSTS.pairwise(25, 5, labels) / COSTS.joint(25, 5, labels, labels)
        assert times < labels
        assert times < (25 + 5 + 3) / 5


@pytest.mark.parametrize("relative", [False, True])
def test_cost_of_labels_in_order_invariant_mode(relative: bool) -> None:
    """Against brute force: every token through the layers, every token with the tokens it may attend to."""
    costs = CostModel(hidden=8, intermediate=16, layers=2, relative=relative)
    text, label, labels = 10, 3, 5
    tokens = text + 2 + labels * (label + 1)
    seen = (text + 2) ** 2 + labels * (label + 1) * (text + 2 + label + 1)
    expected = tokens * 2 * 2 * (4 * 8 * 8 + 2 * 8 * 16) + seen * 4 * 2 * 8 * (2 if relative else 1)
    assert costs.invariant(text, label, labels) == expected
    assert costs.encoder(30, 30 * 10) == 3 * costs.sequence(10), "three sequences of ten tokens"


def test_runs_are_interleaved_and_paired() -> None:
    calls: list[str] = []
    found = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert all(len(rounds) == 3 for rounds in found.values())
    fast, slow = rounds(1.0, 2.0), rounds(3.0, 8.0)
    assert ratio(fast, slow)["cpu"]["mean"] == pytest.approx((3 * 4) ** 0.5), "paired by round"
    assert ratio(fast, slow, factor=2.0)["cpu"]["mean"] == pytest.approx(2 * (3 * 4) ** 0.5)
    assert rates(fast, 8)["wall"]["mean"] == pytest.approx((4 * 2) ** 0.5)


def test_an_interval_covers_the_mean_in_19_of_20_repetitions() -> None:
    draws = np.random.default_rng(5).lognormal(np.log(1.5), 0.1, (2000, 5))
    found = [interval(values) for values in draws]
    assert np.mean([one["low"] <= 1.5 <= one["high"] for one in found]) == pytest.approx(0.95, abs=0.015)
    assert interval([3.0]) == {"mean": pytest.approx(3.0), "low": pytest.approx(3.0), "high": pytest.approx(3.0)}


@pytest.mark.parametrize(
    ("cpu", "at_least", "at_most"),
    [
        ((1.52, 1.50, 1.51, 1.53, 1.52), "yes", "no"),
        ((1.30, 1.32, 1.31, 1.30, 1.33), "no", "yes"),
        ((1.20, 1.80, 1.40, 1.60, 1.35), "undecided", "undecided"),
    ],
)
def test_the_interval_decides_whether_a_goal_is_met(cpu: tuple[float, ...], at_least: str, at_most: str) -> None:
    times = ratio(rounds(*[1.0] * 5), rounds(*cpu))["cpu"]
    assert verdict(times["low"], times["high"], 1.45) == at_least
    assert verdict(times["low"], times["high"], 1.45, at_most=True) == at_most
    assert verdict(times["low"], times["high"], None) == ""


def test_goals_are_judged_against_the_best_batch_and_the_default_call() -> None:
    """gliclass is fastest at batches of 1, and its default call is 8; shares are of the products of the same rounds."""
    seconds = {"gliznet/fp32": 1.0, "gliznet/bf16": 0.5, "apart/fp32": 0.8, "apart/bf16": 0.4}
    peers = {"gliclass-1/fp32": 1.5, "gliclass-8/fp32": 3.2, "gliclass-1/bf16": 0.9, "pipeline-1/fp32": 13.0}
    mixed = part(seconds | {"invariant/fp32": 1.0, "invariant/bf16": 0.5} | peers, 10)
    for precision in ("fp32", "bf16"):
        mixed[f"gliznet/{precision}"]["operations"] = 4e9
        mixed[f"products/{precision}"] = {"operations": 1e9, "rounds": rounds(0.1, 0.1)}
    mixed["gliclass-8/fp32"]["encoder_tokens"] = 1600
    nli = part({"nli-sorted/fp32": 2.0, "nli-sorted/bf16": 1.0, "pipeline-1/fp32": 3.2, "pipeline-8/fp32": 2.9}, 5)
    steps = {"gliznet": rounds(2.0, 2.0), "bare": rounds(1.9, 1.9), "norms": rounds(2.4, 2.4)}
    training = {
        "steps": 2,
        "operations": 6e9,
        "product_operations": 1e9,
        "rounds": steps | {"products": rounds(0.2, 0.2)},
    }
    few = copy.deepcopy(mixed)
    few["pipeline-1/fp32"] |= {"texts": 5, "encoder_tokens": 4500}
    empty = {"training": dict.fromkeys(("fp32", "bf16"), training), "nli-5": nli, "nli-10": nli}
    found = {"mixed": mixed, "pairs": few, "many": few, **empty}
    rows = {
        (row["comparison"], row["precision"]): row for row in ratios(found, ["fp32", "bf16"], "cpu", norms_every=80)
    }

    def times(comparison: str, precision: str) -> float:
        return float(rows[comparison, precision]["times"]["cpu"]["mean"])

    assert times("GliZNet vs gliclass", "fp32") == pytest.approx(1.5)
    assert times("GliZNet vs gliclass", "bf16") == pytest.approx(1.8)
    assert times("GliZNet vs gliclass, default call", "bf16") == pytest.approx(6.4), "the default call is in fp32"
    assert rows["GliZNet vs gliclass, default call", "fp32"]["times_tokens"] == 1.6
    assert times("GliZNet vs transformers pipeline", "fp32") == pytest.approx(26), "per text"
    assert rows["GliZNet vs transformers pipeline", "fp32"]["times_tokens"] == 9
    assert rows["NLI pass vs transformers pipeline", "fp32"]["against"] == "pipeline-8/fp32"
    assert times("NLI pass vs transformers pipeline, default call", "bf16") == pytest.approx(3.2)
    assert rows["NLI pass vs transformers pipeline, default call", "fp32"]["goal"] is None
    assert times("GliZNet's share of matrix products", "bf16") == pytest.approx(0.8)
    assert times("Training's share of matrix products", "fp32") == pytest.approx(0.6)
    assert times("Training step vs bare encoder", "fp32") == pytest.approx(2.0 / 1.9)
    assert times("Gradient norms vs training steps", "fp32") == pytest.approx(2.4 / (2.0 * 40))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_rate_of_products_is_that_of_the_fastest_way(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[set[str]] = []

    def last(runs: dict[str, Callable[[], object]], clock: str) -> str:
        tried.append(set(runs))
        return [name for name, run in runs.items() if run() is not None][-1]

    monkeypatch.setattr(measures, "fastest", last)
    torch.manual_seed(0)
    products = measures.Products("cpu", precision, 48)
    assert tried == [{"matmul", "prepacked"}] and products.way == "prepacked" and products.operations == 2 * 48**3
    monkeypatch.setattr(measures, "can_prepack", lambda dtype: False)
    torch.manual_seed(0)
    plain = measures.Products("cpu", precision, 48)
    assert plain.way == "matmul" and plain() == pytest.approx(products(), rel=0.02), "the same product"


def test_the_fastest_way_is_chosen() -> None:
    assert fastest({"slow": lambda: sum(range(300_000)), "fast": lambda: None}, "cpu") == "fast"


def test_a_stopped_run_continues_with_the_next_part(tmp_path: Path) -> None:
    calls: list[str] = []

    def measure(name: str) -> Callable[[], str]:
        return lambda: calls.append(name) or name  # type: ignore[func-returns-value]

    assert Parts(tmp_path, "key").get("one", measure("one")) == "one"
    again = Parts(tmp_path, "key")
    assert [again.get(name, measure(name)) for name in ("one", "two")] == ["one", "two"]
    assert calls == ["one", "two"] and set(again.facts) == {"one", "two"}
    Parts(tmp_path, "other code").get("one", measure("one"))
    assert calls == ["one", "two", "one"]
    again.clear()
    assert not tmp_path.exists()


def test_the_page_shows_what_was_measured(tmp_path: Path) -> None:
    write_json(tmp_path / "speed.json", record())
    written = write_speed_page(tmp_path / "speed.json", tmp_path / "out")
    assert {path.name for path in written} >= {"speed.md", "targets.csv", "sweep.csv", "throughput_labels.svg"}
    page = (tmp_path / "out" / "speed.md").read_text()
    assert "| minilm | a vs b | fp32 | b-8/fp32 | 10 | 4 | 3.9 | 4.1 | ≥ 3 | yes | 2 | 2 | kernels | 8 | 2 |" in page
    assert "| minilm | step | bf16 |  |  | 4 | 3.9 | 4.1 | ≤ 4.05 | undecided |  |  |  | 8 | 2 |" in page
    assert "100 GFLOP/s in fp32 (prepacked)" in page
    assert "| deberta-v3, random | a vs b |" in page and "| own |" not in page
    assert page.index("| minilm |") < page.index("| deberta-v3, random |"), "in the order of the config"
    assert "load average seen while it ran (0 minutes): 2.5" in page
    assert "O(1)" not in page
    sweep = pd.read_csv(tmp_path / "out" / "sweep.csv")
    assert (sweep.loc[sweep["system"] == "nli-sorted", "GliZNet faster, measured"] == 2).all()
    assert "at most 20 labels each" in page, "the arithmetic stands beside the measurement"
    first = {path: path.read_bytes() for path in written}
    write_speed_page(tmp_path / "speed.json", tmp_path / "out")
    assert all(path.read_bytes() == content for path, content in first.items())


def test_the_report_shows_the_speed_page_where_there_is_one(tmp_path: Path) -> None:
    section = Section("speed", "Speed")
    _add_speed(section, tmp_path / "speed")
    assert section == Section("speed", "Speed")
    write_json(tmp_path / "speed.json", record())
    write_speed_page(tmp_path / "speed.json", tmp_path / "speed")
    _add_speed(section, tmp_path / "speed")
    names = [re.search(r'id="table-(\w+)"', table)[1] for table in section.tables]
    assert names == ["targets", "mixed", "sweep", "gate"]
    assert 'href="data:text/csv' in section.tables[0] and "a vs b" in section.tables[0]
    assert section.figures[0]["svg"].startswith("<svg") and section.figures[0]["csv"].startswith("data:text/csv")
    assert any("at most 20 labels each" in sentence for sentence in section.texts)


def test_the_page_command_writes_the_page(tmp_path: Path) -> None:
    write_json(tmp_path / "speed.json", record())
    assert main(["page", str(tmp_path / "speed.json"), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "speed.md").read_text(encoding="utf-8").startswith("# Speed")
