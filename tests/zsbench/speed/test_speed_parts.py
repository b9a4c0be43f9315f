"""Workloads, the cost model, interleaving and the page: everything of the speed run that needs no model."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.provenance import write_json
from zsbench.speed.costs import CostModel
from zsbench.speed.page import write_speed_page
from zsbench.speed.timing import interleave, rates, ratio
from zsbench.speed.workloads import make_labels, make_texts, mixed_lengths

COSTS = CostModel(hidden=384, intermediate=1536, layers=6, relative=False)


def letters(texts: list[str]) -> list[int]:
    """A stand-in tokenizer: one token for every started four letters of a word."""
    return [sum(-(-len(word) // 4) for word in text.split()) for text in texts]


@given(st.lists(st.integers(4, 400), min_size=1, max_size=40), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
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


def rounds(seconds: float) -> list[dict[str, float]]:
    return [{"wall": seconds, "cpu": seconds}] * 2


def part(names: dict[str, float], labels: int) -> dict[str, Any]:
    return {
        name: {
            "title": name,
            "texts": 10,
            "labels": labels,
            "padding_efficiency": 0.9,
            "peak_mb": 100.0,
            "rounds": rounds(seconds),
            "texts_per_second": rates(rounds(seconds), 10),
            "pairs_per_second": rates(rounds(seconds), 10 * labels),
        }
        for name, seconds in names.items()
    }


def record() -> dict[str, Any]:
    """A measured record with made-up numbers."""
    sweep = [
        {
            "system": name,
            "labels": labels,
            "tokens": 32,
            "operations": 1e9 * labels,
            "batch": batch,
            "texts": 4,
            "texts_per_second": rates(rounds(1.0 if name == "gliznet" else 2.0), 4),
        }
        for name in ("gliznet", "nli-sorted")
        for labels in (2, 4)
        for batch in ("1", "best")
    ]
    times = {"wall": {"median": 4.0, "low": 3.9, "high": 4.1}, "cpu": {"median": 4.0, "low": 3.9, "high": 4.1}}
    shape = {
        "model": "bert",
        "tokens": {"mean": 90.0},
        "gate": {"gliznet = reference": {"largest_difference": 0.0, "argmax_equal": 1.0, "texts": 6}},
        "mixed": part({"gliznet": 1.0, "bare": 0.95, "reference": 8.0}, 10),
        "slow": part({"gliznet": 1.0, "pipeline-8": 13.0}, 10),
        "many": part({"gliznet": 1.0, "pipeline-8": 26.0}, 64),
        "latency": {"gliznet": {"p50": 0.01, "p95": 0.02, "texts": 3}},
        "sweep": sweep,
        "ratios": [{"comparison": "a vs b", "against": "b", "labels": 10, "at_least": 3.0, "times": times}],
    }
    mixed = {
        "texts": 10,
        "labels": 10,
        "max_tokens": 512,
        "repeats": 2,
        "slow_texts": 10,
        "many_texts": 10,
        "many_labels": 64,
    }
    spec = {"precision": "fp32", "token_budget": 4096, "mixed": mixed, "sweep": {"repeats": 2}}
    return {
        "spec": spec,
        "device": "CPU, 1 threads",
        "load_before": 1.0,
        "load_after": 2.0,
        "shapes": {"own": shape},
        "memory": {"texts": 1000, "growth_mb": 3.0},
    }


def test_the_page_shows_what_was_measured(tmp_path: Path) -> None:
    write_json(tmp_path / "speed.json", record())
    written = write_speed_page(tmp_path / "speed.json", tmp_path / "out")
    assert {path.name for path in written} >= {"speed.md", "targets.csv", "sweep.csv", "throughput_labels.svg"}
    page = (tmp_path / "out" / "speed.md").read_text()
    assert "| own | a vs b | b | 10 | 4 | 3.9 | 4.1 | 4 | 3 | yes |" in page
    assert "Load average" in page
    assert "O(1)" not in page
    sweep = pd.read_csv(tmp_path / "out" / "sweep.csv")
    assert (sweep.loc[sweep["system"] == "nli-sorted", "GliZNet faster, measured"] == 2).all()
    first = {path: path.read_bytes() for path in written}
    write_speed_page(tmp_path / "speed.json", tmp_path / "out")
    assert all(path.read_bytes() == content for path, content in first.items())
