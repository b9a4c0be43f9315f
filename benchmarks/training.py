"""Training steps of GliZNet in the shared loop beside the bare encoder's; and DeBERTa's attention.

Shapes: B batch, T tokens.
"""

import copy
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate.state import AcceleratorState
from transformers import AutoConfig, AutoModel

from benchmarks.costs import CostModel
from benchmarks.measures import Products
from benchmarks.peers import DTYPES, recipe
from benchmarks.setting import Setting, autocast
from benchmarks.timing import Rounds, interleave
from gliznet.batching import token_budget_batches
from gliznet.fast.dropout import use_fast_dropout
from gliznet.fast.encoders import use_fast_encoders
from zsbench.data.authored_sets import HARDSET, read_authored
from zsbench.training.gliznet import GliZNetTask
from zsbench.training.loop import Trainer
from zsbench.training.rows import EvaluationRows, TrainingRows, step_rows
from zsbench.training.task import Task

NO_VALIDATION = EvaluationRows([], [], [])  # only training steps are timed


def training_rows() -> TrainingRows:
    """The train split of hardset-mini."""
    rows = [row for row in read_authored(HARDSET) if row["split"] == "train"]
    return TrainingRows([r["text"] for r in rows], [r["labels"] for r in rows], [r["not_labels"] for r in rows])


def measure_training(
    setting: Setting, products: Products, steps: int, batch: int, repeats: int, with_norms: bool
) -> dict[str, Any]:
    """Rounds of `steps` optimiser steps of `batch` texts.

    Args:
        setting: the shared conditions.
        products: timed in the same rounds.
        steps: optimiser steps per round, the same in each round.
        batch: texts per step.
        repeats: number of interleaved rounds.
        with_norms: whether to time gradient norms.

    Returns:
        steps; operations of the real tokens of all steps, forward and backward; product_operations; and `rounds`:
        "gliznet" (the shared loop), "bare" (the same encoder on the same tokens with clipping and AdamW), "norms" (the
        gradient norm of each loss term, once) and "products".
    """
    plan = recipe(setting, steps, batch)
    task = GliZNetTask(setting.backbone, {}, training_rows(), NO_VALIDATION, setting.seed, plan)
    batches = [
        task.batch(step_rows(task.lengths, step, batch, setting.seed).tolist(), (setting.seed, step))
        for step in range(steps)
    ]
    masks = [one["attention_mask"] for one in batches]
    real, pairs = sum(int(mask.sum()) for mask in masks), sum(int(mask.sum(1).square().sum()) for mask in masks)
    costs = CostModel.of(AutoConfig.from_pretrained(setting.backbone, trust_remote_code=False))
    with our_steps(task, steps, batch, setting.seed) as (ours, trainer):
        inputs = [{name: one[name].to(setting.device) for name in ("input_ids", "attention_mask")} for one in batches]
        trainer.progress["history"] = [{}]  # norms are measured at every second validation, so at the next

        def norms() -> None:
            trainer.model.eval()  # as after a validation
            trainer._gradient_norms(0)

        bare = _bare_steps(copy.deepcopy(task.model.backbone), inputs, setting)
        runs: dict[str, Callable[[], object]] = {"gliznet": ours, "bare": bare, "products": products}
        runs |= {"norms": norms} if with_norms else {}
        rounds = interleave(runs, repeats)
    return {
        "steps": steps,
        "operations": 3 * costs.encoder(real, pairs),  # a backward pass costs as much as two forward passes
        "product_operations": products.operations,
        "rounds": rounds,
    }


@contextmanager
def our_steps(task: Task, steps: int, batch: int, seed: int) -> Iterator[tuple[Callable[[], None], Trainer]]:
    """A function that runs the first `steps` optimiser steps of the shared loop, and the loop's trainer."""
    AcceleratorState._reset_state(reset_partial_state=True)
    with TemporaryDirectory() as folder:
        trainer = Trainer(task, task.recipe, seed, Path(folder), batch, lambda line: None)

        def run() -> None:
            for step in range(steps):
                trainer._step(step)
            torch.stack([terms for *_, terms in trainer.pending]).sum().item()  # wait for the device
            trainer.pending.clear()

        yield run, trainer


def _bare_steps(model: Any, batches: Sequence[dict[str, torch.Tensor]], setting: Setting) -> Callable[[], None]:
    """An encoder alone: forward, backward, clipping and AdamW."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def run() -> None:
        for batch in batches:
            with autocast(setting):
                loss = model(**batch).last_hidden_state.float().square().mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        loss.item()  # wait for the device

    return run


def measure_attention(
    setting: Setting, lengths: Sequence[int], repeats: int, training: bool = True
) -> dict[str, dict[str, Rounds]]:
    """DeBERTa's encoder, ours ("fast") and transformers': 1 x 32 tokens, mixed batches, and training steps if asked."""
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
    ranked = sorted(lengths, reverse=True)
    groups = token_budget_batches(ranked, setting.token_budget)
    mixed = [batch_of(setting, [ranked[i] for i in group]) for group in groups]
    short = [batch_of(setting, [32])] * 10
    found = {}
    # As in the pipelines of other packages, transformers' weights are converted: autocast would do so in every pass.
    converted = copy.deepcopy(plain).to(DTYPES[setting.precision])
    for name, batches in (("one-short", short), ("mixed", mixed)):
        runs = {key: partial(infer, one, batches, setting) for key, one in pair.items()}
        runs["transformers"] = partial(infer, converted, batches, replace(setting, precision="fp32"))
        found[name] = interleave(runs, repeats)
    if training:
        some = mixed[:: max(1, len(mixed) // 4)]
        use_fast_dropout(fast)  # like in the training loop
        found["training"] = interleave({key: partial(train, one, some, setting) for key, one in pair.items()}, repeats)
    return found


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
