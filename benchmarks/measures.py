"""Measurements of contenders: first whether they give equal numbers, then rates, padding, memory and latency."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.setting import Contender, counting
from benchmarks.timing import interleave, rates
from zsbench.jobs.runtime import Meter

GATE = {"fp32": 1e-4, "bf16": 0.25}  # maximum difference of logits or probabilities between two ways of running a model
CEILING_SIZE, CEILING_ROUNDS = {"cpu": 2048, "cuda": 8192}, 8
TRIALS = 2  # rounds to find the best batch size


class GateError(RuntimeError):
    """Two ways of running a model disagree, so their speeds must not be compared."""


def gate(
    contenders: dict[str, Contender], texts: Sequence[str], labels: Sequence[str], precision: str
) -> dict[str, Any]:
    """Largest difference and argmax agreement of contenders that must give equal numbers.

    Raises:
        GateError: they differ by more than rounding (`GATE`).
    """
    piped = next(name for name in contenders if name.startswith("pipeline"))
    joint = [(name.removesuffix("-joint"), name) for name in contenders if name.endswith("-joint")]
    found = {}
    for name, against in (("gliznet", "reference"), *joint, ("nli-sorted", piped)):
        a, b = (contenders[one].prepare(texts, labels)() for one in (name, against))
        difference = float(np.abs(a - b).max())
        same = float((a.argmax(1) == b.argmax(1)).mean())
        found[f"{name} = {against}"] = {"largest_difference": difference, "argmax_equal": same, "texts": len(texts)}
        if not difference <= GATE[precision]:
            raise GateError(f"{name} and {against} differ by {difference} (allowed: {GATE[precision]})")
    return found


def best_size(
    contenders: dict[str, Contender], family: str, texts: Sequence[str], labels: Sequence[str]
) -> dict[str, float]:
    """Texts per second of each contender of a family (they differ in batch size); empty if there is none."""
    names = [name for name in contenders if name.startswith(f"{family}-")]
    found = interleave({name: contenders[name].prepare(texts, labels) for name in names}, TRIALS)
    return {name: len(texts) / min(one["wall"] for one in rounds) for name, rounds in found.items()}


def measure_mixed(
    contenders: dict[str, Contender], texts: Sequence[str], labels: Sequence[str], repeats: int
) -> dict[str, Any]:
    """Texts per second, padding efficiency and peak memory of every contender on the same texts."""
    runs = {name: one.prepare(texts, labels) for name, one in contenders.items()}
    found: dict[str, Any] = {}
    for name, one in contenders.items():
        meter = Meter("cuda" if torch.cuda.is_available() else "cpu")
        with counting(one.encoder) as tokens:
            runs[name]()
        if one.tokens is not None:
            tokens = one.tokens(texts, labels)
        found[name] = {
            "title": one.title,
            "texts": len(texts),
            "labels": len(labels),
            "encoder_tokens": tokens["padded"],
            "encoder_pairs": tokens.get("pairs"),
            "padding_efficiency": tokens["real"] / max(tokens["padded"], 1),
            "peak_mb": meter.peak_mb(),
        }
    for name, rounds in interleave(runs, repeats, warm_up=False).items():  # counting tokens has warmed them up
        found[name]["rounds"] = rounds
        found[name]["texts_per_second"] = rates(rounds, len(texts))
        found[name]["pairs_per_second"] = rates(rounds, len(texts) * len(labels))
    return found


def measure_ceiling(device: str, precision: str, size: int | None = None) -> float:
    """Operations per second of a large matrix product: the maximum that an encoder could reach on this device."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    size = size or CEILING_SIZE[device]
    a, b = torch.randn(2, size, size, device=device).to(dtype)

    def product() -> None:
        (a @ b).sum().item()  # wait for the device

    rounds = interleave({"product": product}, CEILING_ROUNDS)["product"]
    return 2.0 * size**3 / min(one["wall"] for one in rounds)


def measure_latency(contenders: dict[str, Contender], texts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Seconds to score a single text: median and 95th percentile over texts, with labels already cached.

    Of contenders that differ only in batch size, only the first is measured, since a single text is one batch.
    """
    found: dict[str, Any] = {}
    for name, one in contenders.items():
        stem, _, size = name.rpartition("-")
        family = stem if size.isdigit() else name
        if family in found:
            continue
        runs = [one.prepare([text], labels) for text in texts]
        runs[0]()
        seconds = []
        for run in runs:
            started = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - started)
        middle, high = (float(np.percentile(seconds, part)) for part in (50, 95))
        found[family] = {"p50": middle, "p95": high, "texts": len(texts)}
    return found
