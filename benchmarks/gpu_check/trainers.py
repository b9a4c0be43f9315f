"""Training steps of GliZNet in the shared loop against those of GLiClass in its package's trainer."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks.peers import recipe
from benchmarks.setting import Setting
from benchmarks.timing import Rounds
from benchmarks.training import NO_VALIDATION, training_rows
from zsbench.training.gliznet import GliZNetTask
from zsbench.training.loop import Trainer
from zsbench.training.rows import TrainingRows, draw_labels

Clocks = tuple[float, float]


def measure_trainers(setting: Setting, steps: int, batch: int, repeats: int) -> dict[str, Rounds]:
    """Rounds of `steps` optimiser steps of `batch` texts: "gliznet" and "gliclass", with the same rows and labels."""
    rows = training_rows()
    with TemporaryDirectory() as folder:
        runs: dict[str, Callable[[], dict[str, float]]] = {
            "gliznet": _ours(setting, rows, steps, batch, Path(folder)),
            "gliclass": _gliclass(setting, rows, steps, batch, Path(folder)),
        }
        found: dict[str, Rounds] = {name: [] for name in runs}
        for repeat in range(repeats + 1):
            for name, run in runs.items():
                seconds = run()
                if repeat:  # the first round is the warm-up
                    found[name].append(seconds)
    return found


def _now() -> Clocks:
    return time.perf_counter(), time.process_time()


def _since(start: Clocks, end: Clocks | None = None) -> dict[str, float]:
    end = end or _now()
    return {"wall": end[0] - start[0], "cpu": end[1] - start[1]}


def _ours(setting: Setting, rows: TrainingRows, steps: int, batch: int, folder: Path) -> Callable[[], dict[str, float]]:
    plan = recipe(setting, steps, batch)
    task = GliZNetTask(setting.backbone, {}, rows, NO_VALIDATION, setting.seed, plan)
    done = 0

    def run() -> dict[str, float]:
        nonlocal done
        # A new trainer per round, because transformers' trainer, which runs in between, resets accelerate's state.
        trainer = Trainer(task, plan, setting.seed, folder / "gliznet", batch, lambda line: None)
        started = _now()
        for _ in range(steps):
            trainer._step(done)
            done += 1
        torch.stack([terms for *_, terms in trainer.pending]).sum().item()  # wait for the device
        seconds = _since(started)
        trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        return seconds

    return run


class _Stamps(TrainerCallback):
    """Records when training started and when its last step ended."""

    def __init__(self) -> None:
        self.started = self.ended = (0.0, 0.0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.started = _now()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ended = _now()


def _gliclass(
    setting: Setting, rows: TrainingRows, steps: int, batch: int, folder: Path
) -> Callable[[], dict[str, float]]:
    """The package's trainer, dataset and collator, without augmentation (like ours)."""
    from gliclass.data_processing import AugmentationConfig, DataCollatorWithPadding, GLiClassDataset
    from gliclass.training import Trainer as PackageTrainer
    from gliclass.training import TrainingArguments

    from zsbench.training.gliclass import GLiClassTask

    task = GLiClassTask(setting.backbone, {}, rows, NO_VALIDATION, setting.seed, recipe(setting, steps, batch))
    drawn = [draw_labels(rows, row, 20, (setting.seed, 0), "stratified") for row in range(len(rows.texts))]
    true = [[name for name, one in zip(labels, values, strict=True) if one] for labels, values in drawn]
    examples = [
        {"text": text, "all_labels": labels, "true_labels": names}
        for text, (labels, _), names in zip(rows.texts, drawn, true, strict=True)
    ]
    data = GLiClassDataset(
        examples,
        task.tokenizer,
        AugmentationConfig(enabled=False),
        max_length=setting.max_tokens,
        prompt_first=True,
    )
    arguments = TrainingArguments(
        output_dir=str(folder / "gliclass"),
        max_steps=steps,
        per_device_train_batch_size=batch,
        learning_rate=1e-5,
        bf16=setting.precision == "bf16",
        use_cpu=setting.device == "cpu",
        save_strategy="no",
        report_to="none",
        logging_steps=steps,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=setting.device != "cpu",
    )

    def run() -> dict[str, float]:
        stamps = _Stamps()
        trainer = PackageTrainer(
            model=task.model,
            args=arguments,
            train_dataset=data,
            data_collator=DataCollatorWithPadding(device=setting.device, config=task.model.config),
            callbacks=[stamps],
        )
        result = trainer.train()
        if not result.training_loss > 0:  # the package's trainer prints errors and continues
            raise RuntimeError("the gliclass trainer skipped its steps; see the message it printed")
        return _since(stamps.started, stamps.ended)

    return run
