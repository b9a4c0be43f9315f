"""What one speed run holds equal for all contenders, and what a contender is."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

Run = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Setting:
    """Equal conditions.

    Args:
        backbone: folder of the encoder and its tokenizer.
        device: "cpu" or "cuda".
        precision: "fp32" or "bf16" (autocast, heads in float32 where the contender has them so).
        max_tokens: tokens of one sequence; every contender cuts there.
        token_budget: padded tokens of a batch, for contenders that take a budget.
        batch_sizes: batch sizes tried for the `gliclass` pipeline.
        pipeline_batch_sizes: batch sizes tried for the transformers pipeline.
        most_labels: the largest label set of the run.
        seed: of random heads.
    """

    backbone: Path
    device: str
    precision: Literal["fp32", "bf16"]
    max_tokens: int
    token_budget: int
    batch_sizes: tuple[int, ...]
    pipeline_batch_sizes: tuple[int, ...]
    most_labels: int
    seed: int


@dataclass(frozen=True)
class Contender:
    """One way of scoring.

    Attributes:
        name: id in results.
        title: what the page calls it.
        encoder: the module whose tokens are counted.
        prepare: (texts, labels) -> the call that is timed; what it does before is not part of the way of scoring.
        tokens: (texts, labels) -> real and padded tokens, for a way that calls the encoder layer by layer.
    """

    name: str
    title: str
    encoder: torch.nn.Module
    prepare: Callable[[Sequence[str], Sequence[str]], Run]
    tokens: Callable[[Sequence[str], Sequence[str]], dict[str, int]] | None = None


def autocast(setting: Setting) -> AbstractContextManager[object]:
    """bf16 autocast where the run asks for it."""
    return torch.autocast(setting.device, dtype=torch.bfloat16) if setting.precision == "bf16" else nullcontext()


@contextmanager
def counting(encoder: torch.nn.Module) -> Iterator[dict[str, int]]:
    """Count what goes through an encoder: {"real": tokens, "padded": with padding, "pairs": of tokens}."""
    count = {"real": 0, "padded": 0, "pairs": 0}

    def look(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs["attention_mask"] if "attention_mask" in kwargs else args[1]
        count["real"] += int(mask.sum())
        count["padded"] += mask.numel()
        count["pairs"] += mask.numel() * mask.shape[-1]

    handle = encoder.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield count
    finally:
        handle.remove()
