"""Training steps of GliZNet in the shared loop and of GLiClass in its package's trainer; and DeBERTa's attention.

Shapes: n texts, B batch, T tokens.
"""

import copy
import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoModel, TrainerCallback

from benchmarks.peers import recipe
from benchmarks.setting import Setting, autocast
from benchmarks.timing import interleave
from gliznet.batching import token_budget_batches
from gliznet.fast.dropout import use_fast_dropout
from gliznet.fast.encoders import use_fast_encoders
from zsbench.data.authored_sets import HARDSET, read_authored
from zsbench.training.gliznet import GliZNetTask
from zsbench.training.loop import Trainer
from zsbench.training.rows import EvaluationRows, TrainingRows, draw_labels

NO_VALIDATION = EvaluationRows([], [], [])  # only training steps are timed
Clocks = tuple[float, float]
Rounds = dict[str, list[dict[str, float]]]


def training_rows() -> TrainingRows:
    """The train split of hardset-mini."""
    rows = [row for row in read_authored(HARDSET) if row["split"] == "train"]
    return TrainingRows([r["text"] for r in rows], [r["labels"] for r in rows], [r["not_labels"] for r in rows])


def measure_training(setting: Setting, steps: int, batch: int, repeats: int) -> Rounds:
    """Rounds of `steps` optimiser steps of `batch` texts: "gliznet" and "gliclass", with the same rows and labels."""
    rows = training_rows()
    with TemporaryDirectory() as folder:
        runs: dict[str, Callable[[], dict[str, float]]] = {
            "gliznet": _ours(setting, rows, steps, batch, Path(folder)),
            "gliclass": _gliclass(setting, rows, steps, batch, Path(folder)),
        }
        found: Rounds = {name: [] for name in runs}
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


def measure_attention(setting: Setting, lengths: Sequence[int], repeats: int) -> dict[str, Rounds]:
    """DeBERTa's encoder, ours ("fast") and transformers': a batch of 1 x 32 tokens, mixed batches, a training step."""
    plain: Any = AutoModel.from_pretrained(
        setting.backbone, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    ).to(setting.device)
    fast = copy.deepcopy(plain)
    use_fast_encoders(fast)
    pair = {"fast": fast, "transformers": plain}
    if setting.device == "cuda" and importlib.util.find_spec("flashdeberta"):  # its kernels need a GPU
        from flashdeberta import FlashDebertaV2Model

        pair["flashdeberta"] = FlashDebertaV2Model.from_pretrained(
            setting.backbone, dtype=torch.float32, use_safetensors=True, attn_implementation="flash_attention_2"
        ).to(setting.device)
    mixed = [batch_of(setting, part) for part in budgeted(sorted(lengths, reverse=True), setting.token_budget)]
    short = [batch_of(setting, [32])] * 10
    found = {}
    for name, batches in (("one-short", short), ("mixed", mixed)):
        found[name] = interleave({key: partial(infer, one, batches, setting) for key, one in pair.items()}, repeats)
    some = mixed[:: max(1, len(mixed) // 4)]
    use_fast_dropout(fast)  # like in the training loop
    found["training"] = interleave({key: partial(train, one, some, setting) for key, one in pair.items()}, repeats)
    return found


def budgeted(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group lengths into batches of at most `budget` padded tokens."""
    return [[lengths[i] for i in batch] for batch in token_budget_batches(lengths, budget)]


def batch_of(setting: Setting, lengths: Sequence[int]) -> dict[str, torch.Tensor]:
    """Random token ids (B, T) with their mask."""
    T = max(lengths)
    mask = (torch.arange(T) < torch.tensor(lengths).unsqueeze(1)).long()
    ids = torch.randint(1, 500, (len(lengths), T), generator=torch.Generator().manual_seed(T)) * mask
    return {"input_ids": ids.to(setting.device), "attention_mask": mask.to(setting.device)}


@torch.inference_mode()
def infer(model: Any, batches: Sequence[dict[str, torch.Tensor]], setting: Setting) -> float:
    """One pass over every batch without gradients; returns a number, so that an accelerator must finish."""
    model.eval()
    with autocast(setting):
        return float(torch.stack([model(**batch).last_hidden_state[0, 0, 0].float() for batch in batches]).sum())


def train(model: Any, batches: Sequence[dict[str, torch.Tensor]], setting: Setting) -> None:
    """Forward and backward of every batch; no optimiser."""
    model.train()
    for batch in batches:
        with autocast(setting):
            loss = model(**batch).last_hidden_state.float().square().mean()
        loss.backward()
    if setting.device != "cpu":
        torch.cuda.synchronize()
    model.zero_grad()
