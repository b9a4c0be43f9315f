"""Training settings: one frozen recipe, shared by GliZNet and the competitors trained with it."""

from dataclasses import MISSING, dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge


def _key(description: str, default: Any = MISSING, **bounds: float) -> Any:
    """A field with its documentation and bounds; the config keys are generated from it."""
    return field(default=default, metadata={"description": description, **bounds})


LabelDraw = Literal["reference", "stratified"]
Selection = Literal["mean_ap", "validation_loss"]
LENGTHS = ("epochs", "steps")  # two ways to set the length of a training; a recipe has exactly one

# Launch configs of accelerate, in workflow/accelerate.
Strategy = Literal["single", "ddp", "zero2", "fsdp"]
Precision = Literal["fp32", "bf16", "auto"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyper-parameters of one training. There are no hidden defaults: the config gives every field.

    Raises:
        ValueError: both or neither of `epochs` and `steps` are given.
    """

    backbone: str = _key("source id of the pretrained encoder")
    training_set: str = _key("id of the training set")
    epochs: int | None = _key("passes over the training rows; an alternative to `steps`", None, ge=1, le=10_000)
    steps: int | None = _key("optimiser steps; an alternative to `epochs`", None, ge=1, le=10_000_000)
    effective_batch: int = _key("texts per optimiser step, summed over processes and micro-batches", ge=1, le=65536)
    per_device_batch: int = _key(
        "texts per forward pass; halved when out of memory, without changing the effective batch (losses are means "
        "over a pass, so results change slightly)",
        ge=1,
        le=65536,
    )
    learning_rate: float = _key("peak learning rate of the encoder", gt=0, le=1)
    head_learning_rate: float = _key("peak learning rate of everything except the encoder", gt=0, le=1)
    weight_decay: float = _key("applied to matrices only, not to biases, norms and scalars", ge=0, le=1000)
    warmup_ratio: float = _key("share of steps with linear warm-up; cosine decay to zero afterwards", ge=0, le=1)
    max_grad_norm: float = _key("gradient norm limit, for the mean loss of the effective batch", gt=0)
    max_labels: int = _key("maximum number of labels per text in training", ge=2, le=1000)
    label_draw: LabelDraw = _key(
        "labels of a text at a step; reference: any number of any of them, labels of up to three characters left out; "
        "stratified: all true ones and at least one false; where true ones alone would fill max_labels, half of the "
        "places are kept for false ones"
    )
    max_length: int = _key("tokens per sequence", ge=32, le=8192)
    evaluate_every: Annotated[int, Ge(1)] | Literal["epoch"] = _key(
        "steps between validations, or `epoch`; a resumable checkpoint is written at the same time"
    )
    selection: Selection = _key(
        "validation metric that selects the weights; mean_ap: mean AP over texts; validation_loss: the loss"
    )
    patience: int = _key("validations without improvement before training stops", ge=1)
    precision: Precision = _key("bf16 uses autocast; auto: bf16 if the hardware supports it well, else fp32")
    strategy: Strategy = _key("how accelerate distributes training over GPUs")
    gpus: int = _key("number of processes, one per GPU; 1 without a GPU", ge=1, le=64)

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("epochs, steps: exactly one of the two is required")

    def steps_per_epoch(self, rows: int) -> int:
        """Optimiser steps in one pass over `rows` training rows; a last incomplete step is dropped.

        Raises:
            ValueError: fewer rows than one effective batch.
        """
        if rows < self.effective_batch:
            raise ValueError(
                f"the training set has {rows} rows, fewer than one effective batch of {self.effective_batch}"
            )
        return rows // self.effective_batch

    def total_steps(self, rows: int) -> int:
        """Optimiser steps in the whole training."""
        return self.steps if self.epochs is None else self.epochs * self.steps_per_epoch(rows)  # type: ignore[return-value]

    def validation_interval(self, rows: int) -> int:
        """Optimiser steps between validations."""
        return self.steps_per_epoch(rows) if self.evaluate_every == "epoch" else self.evaluate_every

    def accumulation(self, world_size: int, per_device_batch: int) -> int:
        """Micro-batches per optimiser step that add up to `effective_batch`.

        Raises:
            ValueError: `effective_batch` is not a multiple of `world_size` x `per_device_batch`.
        """
        micro = world_size * per_device_batch
        if self.effective_batch % micro:
            raise ValueError(
                f"effective_batch {self.effective_batch} is not a multiple of {world_size} processes x "
                f"per_device_batch {per_device_batch}; change per_device_batch"
            )
        return self.effective_batch // micro

    def smaller(self, world_size: int, per_device_batch: int) -> int:
        """The next per-device batch to try when `per_device_batch` does not fit into memory: at most half of it, and
        small enough to divide each process's share of the effective batch."""
        share = self.effective_batch // world_size
        return next(size for size in range(per_device_batch // 2, 0, -1) if share % size == 0)


def with_overrides(recipe: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """The config's recipe with a model's overrides. `epochs` in the overrides replaces `steps`, and vice versa."""
    base = recipe if not overrides.keys() & set(LENGTHS) else {k: v for k, v in recipe.items() if k not in LENGTHS}
    return base | overrides
