"""A speed record with made-up numbers: GliZNet scores a text in 0.1 s, everything else slower."""

import copy
from typing import Any

from benchmarks.timing import rates


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
    row = {"comparison": "a vs b", "against": "b", "labels": 10}
    shape = {
        "model": "bert",
        "ceiling": 2e11,
        "tokens": {"mean": 90.0},
        "gate": {"gliznet = reference": {"largest_difference": 0.0, "argmax_equal": 1.0, "texts": 6}},
        "mixed": part({"gliznet": 1.0, "bare": 0.95}, 10),
        "padded": part({"gliznet": 1.0, "reference": 8.0}, 10),
        "pairs": part({"gliznet": 1.0, "pipeline-8": 13.0}, 10),
        "many": part({"gliznet": 1.0, "pipeline-8": 26.0}, 64),
        "latency": {"gliznet": {"p50": 0.01, "p95": 0.02, "texts": 3}},
        "sweep": sweep,
        "compiled": {"scoring": {"warm_up": 30.0, "texts": 10, "eager": rounds(2.0), "compiled": rounds(1.0)}},
        "ratios": [row | {"at_least": 3.0, "rounds": 2, "times_tokens": 5.5, "times": times}],
    }
    mixed = {
        "texts": 10,
        "labels": 10,
        "max_tokens": 512,
        "repeats": 2,
        "padded_texts": {"own": 10, "deberta": 5},
        "slow_texts": 10,
        "many_texts": 10,
        "many_labels": 64,
    }
    hybrid = {"nli_rows": 5, "rows": 8, "epochs": 2}
    spec = {"backbone": "minilm", "shapes": ["own", "deberta"], "precision": "fp32", "token_budget": 4096}
    spec |= {"mixed": mixed, "sweep": {"repeats": 2}, "hybrid": hybrid}
    return {
        "spec": spec,
        "device": "CPU, 1 threads",
        "parts": {"own-mixed": {"load": [1.0, 2.5], "seconds": 30.0}},
        "shapes": {"own": shape, "deberta": copy.deepcopy(shape)},
        "memory": {"texts": 1000, "growth_mb": 3.0},
    }
