"""How anything is trained: one frozen recipe, shared by GliZNet and by the competitors trained beside it."""

from dataclasses import dataclass, field
from typing import Any, Literal


def _key(description: str, **bounds: float) -> Any:
    """A field with its documentation and bounds, from which the config's keys are made."""
    return field(metadata={"description": description, **bounds})


# Launch configs of accelerate, in workflow/accelerate.
Strategy = Literal["single", "ddp", "zero2", "fsdp"]


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one training. The config has no hidden defaults: every field is written there.

    Raises:
        ValueError: the effective batch cannot be made from whole micro-batches (see `accumulation`).
    """

    backbone: str = _key("source id of the pretrained encoder")
    training_set: str = _key("id of the training set")
    steps: int = _key("optimiser steps; epochs follow from the set's size", ge=1, le=10_000_000)
    effective_batch: int = _key("texts per optimiser step, over all processes and micro-batches", ge=1, le=65536)
    per_device_batch: int = _key(
        "texts per forward pass; halved on out-of-memory, never changes the effective batch", ge=1, le=65536
    )
    learning_rate: float = _key("peak rate of the encoder", gt=0, le=1)
    head_learning_rate: float = _key("peak rate of everything that is not the encoder", gt=0, le=1)
    weight_decay: float = _key("on matrices only; biases, norms and scalars are not decayed", ge=0, le=1000)
    warmup_ratio: float = _key("share of the steps with a rising rate; cosine to zero afterwards", ge=0, le=1)
    max_grad_norm: float = _key("gradient clip", gt=0)
    max_labels: int = _key("labels per text in training; positives stay, negatives are sampled", ge=2, le=1000)
    max_length: int = _key("tokens per sequence", ge=32, le=8192)
    evaluate_every: int = _key("steps between validations; also how often a resumable state is written", ge=1)
    patience: int = _key("validations without improvement before stopping", ge=1)
    precision: Literal["fp32", "bf16"] = _key("bf16 is autocast")
    strategy: Strategy = _key("how accelerate spreads a training over GPUs")
    gpus: int = _key("processes, one per GPU; 1 on a machine without", ge=1, le=64)

    def accumulation(self, world_size: int, per_device_batch: int) -> int:
        """Micro-batches an optimiser step needs, so that the effective batch is what the config says."""
        micro = world_size * per_device_batch
        if self.effective_batch % micro:
            raise ValueError(
                f"effective_batch {self.effective_batch} is not a multiple of {world_size} processes x "
                f"per_device_batch {per_device_batch}; choose per_device_batch so that it is"
            )
        return self.effective_batch // micro

    def smaller(self, world_size: int, per_device_batch: int) -> int:
        """The next per-device batch to try after `per_device_batch` did not fit: half of it, or the next size below
        that the effective batch can be made from."""
        share = self.effective_batch // world_size
        return next(size for size in range(per_device_batch // 2, 0, -1) if share % size == 0)
