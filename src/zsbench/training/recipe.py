"""How anything is trained: one frozen recipe, shared by GliZNet and by the competitors trained beside it."""

from dataclasses import dataclass
from typing import Literal

# Launch configs of accelerate, in workflow/accelerate.
Strategy = Literal["single", "ddp", "zero2", "fsdp"]


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one training. The config has no hidden defaults: every field is written there.

    Raises:
        ValueError: the effective batch cannot be made from whole micro-batches (see `accumulation`).
    """

    backbone: str  # source id of the pretrained encoder
    training_set: str  # id of the training set
    steps: int  # optimiser steps; epochs follow from the set's size
    effective_batch: int  # texts an optimiser step sees, over all processes and micro-batches
    per_device_batch: int  # texts of one forward pass; halved on out-of-memory, never changes the effective batch
    learning_rate: float  # peak rate of the encoder
    head_learning_rate: float  # peak rate of everything that is not the encoder (era E: ten times the encoder's)
    weight_decay: float  # on matrices only; biases, norms and scalars are not decayed
    warmup_ratio: float  # share of the steps with a rising rate; cosine to zero afterwards
    max_grad_norm: float  # gradient clip
    max_labels: int  # labels a text is trained with; positives are kept, negatives sampled
    max_length: int  # tokens of one sequence
    evaluate_every: int  # steps between validations; also how often a resumable state is written
    patience: int  # validations without improvement before stopping
    precision: str  # "bf16" autocast or "fp32"
    strategy: Strategy  # how accelerate spreads a training over GPUs
    gpus: int  # processes (one a GPU); 1 on a machine without

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
