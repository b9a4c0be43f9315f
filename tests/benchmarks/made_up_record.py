"""A speed record with made-up numbers: GliZNet scores a text in 0.1 s, everything else slower."""

import copy
from typing import Any

from benchmarks.timing import Rounds, rates


def rounds(*seconds: float) -> Rounds:
    return [{"wall": 2 * one, "cpu": one} for one in seconds]


def part(names: dict[str, float], labels: int) -> dict[str, Any]:
    return {
        name: {
            "title": name,
            "texts": 10,
            "labels": labels,
            "encoder_tokens": 1000,
            "padding_efficiency": 0.9,
            "peak_mb": 100.0,
            "rounds": rounds(seconds, seconds),
            "texts_per_second": rates(rounds(seconds, seconds), 10),
            "pairs_per_second": rates(rounds(seconds, seconds), 10 * labels),
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
            "texts": 4,
            "texts_per_second": rates(rounds(seconds, seconds), 4),
        }
        for name, seconds in (("gliznet", 1.0), ("nli-sorted", 2.0))
        for labels in (2, 4)
    ]
    times = {"wall": {"mean": 8.0, "low": 7.9, "high": 8.1}, "cpu": {"mean": 4.0, "low": 3.9, "high": 4.1}}
    row = {"comparison": "a vs b", "precision": "fp32", "against": "b-8/fp32", "labels": 10, "rounds": 2}
    row |= {"goal": 3.0, "at_most": False, "times_tokens": 2.0, "times": times}
    alone = {"comparison": "step", "precision": "bf16", "against": "", "labels": None, "rounds": 2}
    alone |= {"goal": 4.05, "at_most": True, "times_tokens": None, "times": times}
    products = {"operations": 1e9, "way": "prepacked", "rounds": rounds(0.01, 0.01)}
    shape = {
        "model": "bert",
        "tokens": {"mean": 90.0},
        "gate": {"fp32": {"gliznet = reference": {"largest_difference": 0.0, "argmax_equal": 1.0, "texts": 6}}},
        "mixed": part({"gliznet/fp32": 1.0, "gliclass-8/fp32": 2.0}, 10) | {"products/fp32": products},
        "pairs": part({"gliznet/fp32": 1.0, "pipeline-8/fp32": 13.0}, 10),
        "many": part({"gliznet/fp32": 1.0, "pipeline-8/fp32": 26.0}, 64),
        "nli-5": part({"nli-sorted/fp32": 1.0, "pipeline-8/fp32": 1.6}, 5),
        "nli-10": part({"nli-sorted/fp32": 2.0, "pipeline-8/fp32": 3.2}, 10),
        "sweep": sweep,
        "ratios": [row, alone],
    }
    mixed = {"texts": 10, "labels": 10, "max_tokens": 512, "slow_texts": 10, "many_texts": 10, "many_labels": 64}
    spec = {"backbone": "minilm", "shapes": ["own", "deberta"], "precisions": ["fp32"], "token_budget": 4096}
    spec |= {"repeats": 2, "mixed": mixed, "training": {"norms_every": 80}, "hybrid": {"nli_rows": 5}}
    return {
        "spec": spec,
        "device": "CPU, 1 threads",
        "clock": "cpu",
        "parts": {"own-mixed": {"load": [1.0, 2.5], "seconds": 30.0}},
        "shapes": {"own": shape, "deberta": copy.deepcopy(shape)},
        "memory": {"texts": 1000, "growth_mb": 3.0},
    }
