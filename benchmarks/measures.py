"""Measurements of contenders: first whether they give equal numbers, then rates, padding and memory."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.setting import Contender, counting
from benchmarks.timing import clock_of, interleave, rates
from gliznet.fast.packed import can_prepack, pack, packed_linear
from zsbench.jobs.runtime import Meter

GATE = {"fp32": 1e-4, "bf16": 0.25}  # maximum difference of logits or probabilities between two ways of running a model
PRODUCT_SIZE, PRODUCT_ROUNDS = {"cpu": 2048, "cuda": 8192}, 8
TRIALS = 2  # rounds to find the best batch size


class GateError(RuntimeError):
    """Two ways of running a model disagree, so their speeds must not be compared."""


def gate(
    contenders: Mapping[str, Contender], texts: Sequence[str], labels: Sequence[str], precision: str
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


def fastest(runs: Mapping[str, Callable[[], object]], clock: str) -> str:
    """Name of the function that took the least time in its best round."""
    found = interleave(runs, TRIALS, warm_up=False)
    return min(found, key=lambda name: min(one[clock] for one in found[name]))


def measure_mixed(
    contenders: Mapping[str, Contender],
    texts: Sequence[str],
    labels: Sequence[str],
    repeats: int,
    others: Mapping[str, Callable[[], object]] | None = None,
    few: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Texts per second, padding efficiency and peak memory of every contender.

    Args:
        contenders: contenders by name.
        texts, labels: what they score.
        repeats: number of interleaved rounds.
        others: other functions to time in the same rounds; their entries contain only `rounds`.
        few: number of texts, the first ones, for contenders that do not score all.
    """
    counts = dict.fromkeys(contenders, len(texts)) | dict(few or {})
    runs: dict[str, Callable[[], object]] = {
        name: one.prepare(texts[: counts[name]], labels) for name, one in contenders.items()
    }
    found: dict[str, Any] = {name: {} for name in others or {}}
    for name, one in contenders.items():
        meter = Meter("cuda" if torch.cuda.is_available() else "cpu")
        with counting(one.encoder) as tokens:
            runs[name]()
        if one.tokens is not None:
            tokens = one.tokens(texts[: counts[name]], labels)
        found[name] = {
            "title": one.title,
            "texts": counts[name],
            "labels": len(labels),
            "encoder_tokens": tokens["padded"],
            "encoder_pairs": tokens.get("pairs"),
            "real_tokens": tokens["real"],
            "real_pairs": tokens.get("real_pairs"),
            "padding_efficiency": tokens["real"] / max(tokens["padded"], 1),
            "peak_mb": meter.peak_mb(),
        }
    # Counting tokens has warmed the contenders up.
    for name, rounds in interleave(runs | dict(others or {}), repeats, warm_up=False).items():
        found[name]["rounds"] = rounds
        if name in contenders:
            found[name]["texts_per_second"] = rates(rounds, counts[name])
            found[name]["pairs_per_second"] = rates(rounds, counts[name] * len(labels))
    return found


class Products:
    """A large matrix product in the fastest way that PyTorch has on this device: the most an encoder could reach.

    On a CPU, PyTorch's own product and oneDNN's with a prepacked weight are tried; which one is faster depends on the
    precision and on the processor.

    Attributes:
        operations: floating-point operations per call.
        way: "matmul" or "prepacked".
    """

    def __init__(self, device: str, precision: str, size: int | None = None) -> None:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        size = size or PRODUCT_SIZE[device]
        self.operations = 2.0 * size**3
        a, b = torch.randn(2, size, size, device=device).to(dtype)
        ways: dict[str, Callable[[], torch.Tensor]] = {"matmul": lambda: a @ b.T}
        if device == "cpu" and can_prepack(dtype):
            packed, bias = pack(b), torch.zeros(size, dtype=dtype)
            ways["prepacked"] = lambda: packed_linear(a, packed, bias)
        self.way = fastest({name: partial(_finish, run) for name, run in ways.items()}, clock_of(device))
        self.product = ways[self.way]

    def __call__(self) -> float:
        """Compute the product; returns one of its numbers, so that an accelerator must finish."""
        return _finish(self.product)


def _finish(product: Callable[[], torch.Tensor]) -> float:
    return float(product()[0, 0])


def measure_ceiling(device: str, precision: str, size: int | None = None) -> float:
    """Operations per second of `Products`."""
    products = Products(device, precision, size)
    rounds = interleave({"products": products}, PRODUCT_ROUNDS)["products"]
    return products.operations / min(one["wall"] for one in rounds)
