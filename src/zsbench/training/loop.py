"""The training loop shared by GliZNet and all trained competitors, built on accelerate.

Deterministic by construction: the rows of a step, their sampled labels and the dropout of a step are functions of
(seed, step), so a resumed job ends with the same weights as an uninterrupted one.
"""

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import get_cosine_schedule_with_warmup

from gliznet.device import to_device
from gliznet.fast.dropout import use_fast_dropout
from gliznet.fast.encoders import use_fast_encoders
from zsbench.recipe import Recipe
from zsbench.store.integrity import check_listed, listing
from zsbench.store.provenance import IntegrityError, read_json, write_json
from zsbench.training import tracking
from zsbench.training.rows import step_rows
from zsbench.training.selection import BETTER, NEVER_MOVED, never_moved
from zsbench.training.task import Task

PROGRESS = "progress.json"  # file of a saved state; written last
NORMS_EVERY = 2  # validations between measurements of gradient norms
CHECK_EVERY = 10  # steps between reads of the losses, because each read synchronises the device


class NonFiniteLossError(RuntimeError):
    """A loss term became NaN or infinite; the message names the term, the step and the rows."""


class Pending(NamedTuple):
    """Loss terms of a micro-batch that have not been read from the device yet."""

    step: int
    rows: list[int]
    names: list[str]
    values: torch.Tensor


def parameter_groups(task: Task, recipe: Recipe) -> list[dict[str, Any]]:
    """Up to four groups: encoder or head learning rate, with or without weight decay (none on vectors and scalars)."""
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in task.model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((task.is_encoder(name), parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": recipe.learning_rate if encoder else recipe.head_learning_rate,
            "weight_decay": recipe.weight_decay if decayed else 0.0,
        }
        for (encoder, decayed), parameters in groups.items()
    ]


class Trainer:
    """Trains one task; `run` can be interrupted at any point and called again.

    Args:
        task: model, data and losses of a family.
        recipe: hyper-parameters.
        seed: seed of order, labels and dropout.
        work: folder for the resumable state and the best checkpoint (`Trainer.best`); existing state is resumed.
        per_device_batch: rows per forward pass and process; the effective batch size is always the recipe's.
        say: called with each progress line.
    """

    def __init__(
        self, task: Task, recipe: Recipe, seed: int, work: Path, per_device_batch: int, say: Callable[[str], None]
    ) -> None:
        self.task, self.recipe, self.seed, self.work, self.say = task, recipe, seed, work, say
        self.accelerator = Accelerator(
            mixed_precision="bf16" if recipe.precision == "bf16" else "no", **tracking.options()
        )
        use_fast_encoders(task.model)  # before the first step, so that resumed trainings compute the same
        use_fast_dropout(task.model)
        self.per_device_batch = per_device_batch
        self.accumulation = recipe.accumulation(self.accelerator.num_processes, per_device_batch)
        optimizer = torch.optim.AdamW(parameter_groups(task, recipe), fused=True)
        rows = len(task.lengths)
        self.steps, self.interval = recipe.total_steps(rows), recipe.validation_interval(rows)
        warmup = math.ceil(recipe.warmup_ratio * self.steps)
        # The scheduler is not prepared by accelerate, which would step it once per process.
        self.scheduler = get_cosine_schedule_with_warmup(optimizer, warmup, self.steps)
        self.accelerator.register_for_checkpointing(self.scheduler)
        self.accelerator.gradient_accumulation_steps = self.accumulation
        fit_plugins(self.accelerator.state, task.model, recipe, per_device_batch, self.accumulation)
        self.model, self.optimizer = self.accelerator.prepare(task.model, optimizer)
        self.progress: dict[str, Any] = {"step": 0, "stale": 0, "best": None, "history": [], "seconds": 0.0}
        self.pending: list[Pending] = []
        self.window: list[dict[str, float]] = []  # loss terms of each step since the last validation

    def run(self) -> dict[str, Any]:
        """Train to the last step or until patience runs out; returns the record for training.json."""
        self._load_state()
        first, started = self.progress["step"], time.perf_counter()
        for step in range(first, self.steps):
            if self.progress["stale"] >= self.recipe.patience:
                self.say(f"stopped early: no better validation in {self.recipe.patience} evaluations")
                break
            self._step(step)
            last = step + 1 == self.steps
            evaluate = last or (step + 1) % self.interval == 0
            if evaluate or (step + 1) % CHECK_EVERY == 0:
                self._check(step, (time.perf_counter() - started) / (step + 1 - first))
            if evaluate:
                self._evaluate(step)
                self.progress["seconds"] += time.perf_counter() - started
                started, first = time.perf_counter(), step + 1
                self._save_state()
        never = never_moved([entry["validation"] for entry in self.progress["history"]], BETTER[self.recipe.selection])
        if never:
            self.say(NEVER_MOVED)
        return self.progress | {
            "selection_never_moved": never,
            "world_size": self.accelerator.num_processes,
            "distributed": self.accelerator.distributed_type.value,
            "accumulation": self.accumulation,
            "per_device_batch": self.per_device_batch,
            "device": self.accelerator.device.type,
        }

    def _micro_batches(self, step: int) -> list[list[int]]:
        """This process's rows of the step, one list per micro-batch."""
        rows = step_rows(self.task.lengths, step, self.recipe.effective_batch, self.seed)
        shape = (self.accumulation, self.accelerator.num_processes, self.per_device_batch)
        return rows.reshape(shape)[:, self.accelerator.process_index].tolist()

    def _step(self, step: int) -> None:
        """One optimiser step: forward and backward of each micro-batch, clip, update."""
        torch.manual_seed((self.seed * 1_000_003 + step) * 4099 + self.accelerator.process_index)
        self.model.train()
        self.accelerator.step = 0  # counted by `accumulate`; the batch size may change on resume
        for rows in self._micro_batches(step):
            batch = self._to_device(self.task.batch(rows, (self.seed, step)))
            # Gradients are synchronised once per step, after the last micro-batch; `backward` averages over them.
            with self.accelerator.accumulate(self.model):
                with self.accelerator.autocast():
                    terms = self.task.losses(self.model, batch)
                self.accelerator.backward(terms["total"])
            # Read later, all at once: reading a value here would synchronise the device in every step.
            values = torch.stack([term.detach().float() for term in terms.values()])
            self.pending.append(Pending(step, rows, list(terms), values))
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _to_device(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: to_device(tensor, self.accelerator.device) for name, tensor in batch.items()}

    def _check(self, step: int, seconds_per_step: float) -> None:
        """Read the losses of the steps since the last check, and print progress.

        Raises:
            NonFiniteLossError: a loss term is NaN or infinite.
        """
        values = torch.stack([one.values for one in self.pending]).cpu().numpy()  # (micro-batches, terms)
        for one, row in zip(self.pending, values, strict=True):
            for name, value in zip(one.names, row, strict=True):
                if not np.isfinite(value):
                    raise NonFiniteLossError(
                        f"loss term {name!r} is {value} at step {one.step}, training rows {one.rows}"
                    )
        # Averaged over all processes, so that the curve is that of the effective batch.
        shared = self.accelerator.reduce(torch.from_numpy(values).to(self.accelerator.device), "mean").tolist()
        for one, row in zip(self.pending, shared, strict=True):
            self.window.append(dict(zip(one.names, row, strict=True)))
        self.pending = []
        shown = " ".join(f"{name} {value:.3f}" for name, value in self._means().items())
        rate = self.recipe.effective_batch / seconds_per_step
        left = (self.steps - step - 1) * seconds_per_step
        self.say(f"step {step + 1}/{self.steps}  {shown}  {rate:.1f} texts/s  {left:.0f} s left")

    def _means(self) -> dict[str, float]:
        names = self.window[-1]
        return {name: float(np.mean([terms[name] for terms in self.window])) for name in names}

    def _gradient_norms(self, step: int) -> dict[str, float]:
        """Gradient norm of each loss term on the first micro-batch of a step, at every second validation.

        Each term costs a backward pass, so the total is skipped if there are several terms. Empty at the other
        validations, and if parameters are sharded.
        """
        if self.recipe.strategy not in ("single", "ddp") or len(self.progress["history"]) % NORMS_EVERY != 1:
            return {}
        batch = self._to_device(self.task.batch(self._micro_batches(step)[0], (self.seed, step)))
        model = self.accelerator.unwrap_model(self.model)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        with self.accelerator.autocast():
            terms = dict(self.task.losses(model, batch))
        if len(terms) > 1:
            terms.pop("total")
        norms = {}
        for name, term in terms.items():
            if term.requires_grad:
                gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
                squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
                norms[name] = float(torch.stack(squares).sum().sqrt())
        return norms

    def _evaluate(self, step: int) -> None:
        """Validate, log, and save the weights if they are the best so far."""
        self.model.eval()
        with self.accelerator.autocast():  # the precision of the recipe
            value = self.task.validate()
        entry = {
            "step": step + 1,
            "losses": self._means(),
            "validation": value,
            "gradient_norms": self._gradient_norms(step),
        }
        entry["learning_rate"] = float(self.scheduler.get_last_lr()[0])
        self.window = []
        self.progress["history"].append(entry)
        tracking.track(self.accelerator, entry)
        self.progress["step"] = step + 1
        best = self.progress["best"]
        if best is None or BETTER[self.recipe.selection](value, best["validation"]):
            self.progress.update(best={"step": step + 1, "validation": value}, stale=0)
            state = self.accelerator.get_state_dict(self.model)
            if self.accelerator.is_main_process:
                shutil.rmtree(self.best, ignore_errors=True)
                self.task.save(state, self.best)
                self.progress["best"]["files"] = listing(self.best)
        else:
            self.progress["stale"] += 1
        best_value = self.progress["best"]["validation"]
        self.say(f"step {step + 1}/{self.steps}  validation {value:.4f}  best {best_value:.4f}")
        self.accelerator.wait_for_everyone()

    def _save_state(self) -> None:
        """Write the resumable state; the previous one is kept until the new one is complete."""
        folder = self.work / "state.new"
        if self.accelerator.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(folder), safe_serialization=True)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            write_json(folder / PROGRESS, self.progress | {"files": listing(folder)})  # last: marks it as complete
            put_in_place(folder, self.work / "state")
            for best in self.work.glob("best-*"):
                if best != self.best:
                    shutil.rmtree(best)  # of other steps
        self.accelerator.wait_for_everyone()

    @property
    def best(self) -> Path:
        """Folder with the best weights on the validation rows."""
        return self.work / f"best-{self.progress['best']['step']}"

    def _load_state(self) -> None:
        """Resume from a complete state, if there is one; a damaged state is ignored and training starts over."""
        folder = self.work / "state"
        if self.accelerator.is_main_process and (self.work / "state.new" / PROGRESS).is_file():
            put_in_place(self.work / "state.new", folder)
        self.accelerator.wait_for_everyone()
        if not (folder / PROGRESS).is_file():
            return
        try:
            progress = read_json(folder / PROGRESS)
            check_listed(folder, progress.pop("files"), folder)
            check_listed(self.work / f"best-{progress['best']['step']}", progress["best"]["files"], folder)
        except IntegrityError as error:
            self.say(f"the saved state is damaged ({error}); training starts from scratch")
            return
        self.accelerator.load_state(str(folder))
        self.progress = progress
        self.say(f"continuing after step {self.progress['step']}/{self.steps}")


def put_in_place(fresh: Path, folder: Path) -> None:
    """Replace `folder` with the complete folder `fresh`; if killed in between, `fresh` still exists."""
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def layer_classes(model: torch.nn.Module) -> list[str]:
    """Class names of the layers in a model's ModuleLists; FSDP wraps these one by one (it rejects the list itself)."""
    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    return sorted({type(layer).__name__ for stack in stacks for layer in stack})


def fit_plugins(state: Any, model: torch.nn.Module, recipe: Recipe, per_device_batch: int, accumulation: int) -> None:
    """Complete the FSDP or DeepSpeed plugin of the launch config, if any. Call before `Accelerator.prepare`.

    Args:
        state: `Accelerator.state`.
        model: the model to train.
        recipe: training settings.
        per_device_batch: rows per forward pass and process.
        accumulation: forward passes per step.
    """
    if state.distributed_type == DistributedType.FSDP:
        state.fsdp_plugin.transformer_cls_names_to_wrap = layer_classes(model)
        # Autocast sets the precision and keeps heads in float32; accelerate would cast every weight and output.
        state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy()
    if state.distributed_type == DistributedType.DEEPSPEED:
        state.deepspeed_plugin.deepspeed_config |= {
            "train_micro_batch_size_per_gpu": per_device_batch,  # otherwise taken from a data loader, which we lack
            "gradient_accumulation_steps": accumulation,
            "gradient_clipping": recipe.max_grad_norm,  # DeepSpeed's engine clips, not the loop
        }
