"""The conditions that all contenders of a speed run share, and the definition of a contender."""

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
    """The conditions shared by all contenders.

    Args:
        backbone: folder of the encoder and its tokenizer.
        device: "cpu" or "cuda".
        precision: "fp32" or "bf16" (heads in float32 if the contender does so).
        max_tokens: maximum tokens per sequence; every contender truncates there.
        token_budget: padded tokens per batch, for contenders that have a budget.
        batch_sizes: batch sizes tried for the `gliclass` pipeline.
        pipeline_batch_sizes: batch sizes tried for the transformers pipeline.
        most_labels: size of the largest label set of the run.
        seed: seed of random heads.
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
    """A way of scoring.

    Attributes:
        name: id in results.
        title: name on the page.
        encoder: the module whose tokens are counted.
        prepare: (texts, labels) -> the function that is timed; the preparation itself is not.
        tokens: (texts, labels) -> real and padded tokens, for contenders that call the encoder layer by layer.
    """

    name: str
    title: str
    encoder: torch.nn.Module
    prepare: Callable[[Sequence[str], Sequence[str]], Run]
    tokens: Callable[[Sequence[str], Sequence[str]], dict[str, int]] | None = None


def autocast(setting: Setting) -> AbstractContextManager[object]:
    """bf16 autocast, if the setting requests it."""
    return torch.autocast(setting.device, dtype=torch.bfloat16) if setting.precision == "bf16" else nullcontext()


@contextmanager
def counting(encoder: torch.nn.Module) -> Iterator[dict[str, int]]:
    """Count the encoder's input: "real" tokens, "padded" tokens, and pairs of them: "real_pairs", "pairs"."""
    count = {"real": 0, "padded": 0, "real_pairs": 0, "pairs": 0}

    def look(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs["attention_mask"] if "attention_mask" in kwargs else args[1]
        count["real"] += int(mask.sum())
        count["padded"] += mask.numel()
        count["real_pairs"] += int(mask.sum(-1).square().sum())
        count["pairs"] += mask.numel() * mask.shape[-1]

    handle = encoder.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield count
    finally:
        handle.remove()
