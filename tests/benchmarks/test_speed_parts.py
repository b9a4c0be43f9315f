"""Workloads, the cost model, interleaving and the page: all parts of the speed run that need no model."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.__main__ import main
from benchmarks.costs import CostModel
from benchmarks.page import write_speed_page
from benchmarks.parts import Parts
from benchmarks.tables import compiled
from benchmarks.timing import interleave, rates, ratio
from benchmarks.workloads import make_labels, make_texts, mixed_lengths
from zsbench.reporting.page import Section, _add_speed
from zsbench.store.provenance import write_json

from .made_up_record import record

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


def test_what_compiling_gains_is_set_against_its_warm_up() -> None:
    data = record()
    del data["shapes"]["deberta"]["compiled"]
    row = compiled(data).iloc[0]
    assert row["times faster"] == 2 and row["pays after texts"] == "300", "30 s, and 0.1 s less a text"
    data["shapes"]["own"]["compiled"]["scoring"]["compiled"] = [{"wall": 2.5, "cpu": 2.5}] * 2
    assert compiled(data)["pays after texts"].tolist() == ["never"]
    data["shapes"]["own"]["compiled"] = {"skipped": "no C++ compiler (g++)"}
    assert compiled(data)["what"].tolist() == ["not measured: no C++ compiler (g++)"]
    del data["shapes"]["own"]["compiled"]
    assert compiled(data).empty


def test_runs_are_interleaved_and_paired() -> None:
    calls: list[str] = []
    found = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert all(len(rounds) == 3 for rounds in found.values())
    fast, slow = (
        [{"wall": 1.0, "cpu": 2.0}, {"wall": 2.0, "cpu": 2.0}],
        [{"wall": 3.0, "cpu": 2.0}, {"wall": 8.0, "cpu": 4.0}],
    )
    assert ratio(fast, slow)["wall"]["median"] == 3.5
    assert rates(fast, 8)["wall"] == {"median": 6.0, "low": 5.0, "high": 7.0}


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
    assert "| minilm | a vs b | b | 10 | 4 | 3.9 | 4.1 | 4 | 5.5 | 2 | 3 | yes |" in page
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
    assert names == ["targets", "mixed", "latency", "sweep", "compiled", "gate"]
    assert 'href="data:text/csv' in section.tables[0] and "a vs b" in section.tables[0]
    assert section.figures[0]["svg"].startswith("<svg") and section.figures[0]["csv"].startswith("data:text/csv")
    assert any("at most 20 labels each" in sentence for sentence in section.texts)


def test_the_page_command_writes_the_page(tmp_path: Path) -> None:
    write_json(tmp_path / "speed.json", record())
    assert main(["page", str(tmp_path / "speed.json"), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "speed.md").read_text(encoding="utf-8").startswith("# Speed")
