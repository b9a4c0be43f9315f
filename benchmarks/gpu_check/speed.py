"""Speed on the device: scoring and training with an encoder shape, bf16 against fp32, DeBERTa's attention."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from benchmarks.contenders import build_contenders
from benchmarks.costs import CostModel
from benchmarks.gpu_check.sizes import SEED, Sizes
from benchmarks.gpu_check.trainers import measure_trainers
from benchmarks.measures import gate, measure_mixed
from benchmarks.peers import nli_models, recipe
from benchmarks.setting import Setting, autocast
from benchmarks.timing import interleave, rates, ratio
from benchmarks.training import NO_VALIDATION, batch_of, measure_attention, our_steps, training_rows
from benchmarks.workloads import make_labels, make_texts, mixed_lengths
from gliznet.fast.deberta import use_fast_attention
from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.predictor import score_texts
from gliznet.tokenizer import GliZNETTokenizer
from hybridnli.encoder import NLIEncoder, nli_scores
from zsbench.jobs.runtime import Meter
from zsbench.training.gliznet import GliZNetTask
from zsbench.training.rows import step_rows

JOINT = ("gliznet", "bare", "invariant", "apart", "biencoder")  # one pass per text; and gliclass if installed
PAIRS = ("gliznet", "nli-sorted")  # one pass per text and label, except gliznet; and the transformers pipeline
PAYS = 1.05  # minimum speed-up for which another attention would be worth a dependency


def workload(backbone: Path, sizes: Sizes, setting: Setting) -> tuple[list[str], list[str]]:
    """Texts of mixed lengths, and labels."""
    tokenizer = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)

    def count(texts: Any) -> list[int]:
        return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]]

    lengths = mixed_lengths(sizes.texts, sizes.mean_tokens, setting.max_tokens - 2, SEED)
    return make_texts(lengths, count, SEED), make_labels(sizes.labels, SEED)


def measure_scoring(setting: Setting, sizes: Sizes, products: Callable[[], float]) -> dict[str, Any]:
    """Every way of scoring: the gate first, then texts and tokens per second, peak memory, share of the ceiling.

    Args:
        setting: the shared conditions.
        sizes: sizes of the measurements.
        products: measures the device's matrix products, in operations per second.
    """
    texts, labels = workload(setting.backbone, sizes, setting)
    contenders = {one.name: one for one in build_contenders(setting)}
    agreement = gate(contenders, texts[:8], labels, setting.precision)
    costs = CostModel.of(AutoConfig.from_pretrained(setting.backbone, trust_remote_code=False))
    found = {}
    for names, prefix, part in ((JOINT, "gliclass-", texts), (PAIRS, "pipeline-", texts[: sizes.pair_texts])):
        chosen = {name: one for name, one in contenders.items() if name in names or name.startswith(prefix)}
        measured = measure_mixed(chosen, part, labels, sizes.repeats)
        for one in measured.values():
            seconds = one["texts"] / one["texts_per_second"]["wall"]["mean"]
            one["tokens_per_second"] = one["encoder_tokens"] * one["padding_efficiency"] / seconds
            if one["encoder_pairs"] is not None:
                needed = costs.encoder(one["encoder_tokens"], one["encoder_pairs"])
                one["share_of_ceiling"] = needed / seconds / products()
            one["times_gliznet"] = ratio(one["rounds"], measured["gliznet"]["rounds"])["wall"]
        for one in measured.values():
            del one["rounds"]
        found["joint" if names is JOINT else "pairs"] = measured
    return {"gate": agreement, **found}


def measure_training_speed(setting: Setting, sizes: Sizes, products: Callable[[], float]) -> dict[str, Any]:
    """Optimiser steps of GliZNet in the shared loop, and of the bare encoder on the same tokens, with peak memory."""
    rows, plan = training_rows(), recipe(setting, sizes.train_steps, sizes.train_batch)
    task = GliZNetTask(setting.backbone, {}, rows, NO_VALIDATION, SEED, plan)
    masks = [
        task.batch(step_rows(task.lengths, step, sizes.train_batch, SEED).tolist(), (SEED, step))["attention_mask"]
        for step in range(sizes.train_steps)
    ]
    real, padded = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
    pairs = sum(mask.numel() * mask.shape[1] for mask in masks)
    costs = CostModel.of(AutoConfig.from_pretrained(setting.backbone, trust_remote_code=False))
    needed = 3 * costs.encoder(padded, pairs)  # a backward pass costs as much as two forward passes
    found: dict[str, Any] = {}
    with our_steps(task, sizes.train_steps, sizes.train_batch, SEED) as (ours, _):
        found["gliznet"] = _steps(ours, setting, sizes.repeats)
    del task
    bare = _bare_steps(setting, [batch_of(setting, mask.sum(dim=1).tolist()) for mask in masks])
    found["bare"] = _steps(bare, setting, sizes.repeats)
    for one in found.values():
        seconds = 1 / one.pop("rate")["wall"]["mean"]
        one["tokens_per_second"] = real / seconds
        one["texts_per_second"] = sizes.train_steps * sizes.train_batch / seconds
        one["share_of_ceiling"] = needed / seconds / products()
    found["facts"] = {"real tokens per step": real / len(masks), "padding efficiency": real / padded}
    return found


def measure_against_gliclass(setting: Setting, sizes: Sizes) -> dict[str, Any]:
    """How many times faster the same steps are in the shared loop than in the trainer of the gliclass package."""
    if importlib.util.find_spec("gliclass") is None:
        return {"skipped": "package gliclass is not installed"}
    rounds = measure_trainers(setting, sizes.train_steps, sizes.train_batch, sizes.repeats)
    return {"times faster": ratio(rounds["gliznet"], rounds["gliclass"])["wall"]}


def _steps(run: Callable[[], None], setting: Setting, repeats: int) -> dict[str, Any]:
    """Rounds per second of `run`, and its peak memory."""
    meter = Meter(setting.device)
    rounds = interleave({"steps": run}, repeats)["steps"]
    return {"rate": rates(rounds, 1), "peak_mb": meter.peak_mb()}


def _bare_steps(setting: Setting, batches: list[dict[str, torch.Tensor]]) -> Callable[[], None]:
    """transformers' encoder alone: forward, backward and AdamW."""
    model: Any = AutoModel.from_pretrained(
        setting.backbone, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    model = model.to(setting.device).train()
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


def measure_flips(setting: Setting, sizes: Sizes) -> dict[str, Any]:
    """Scores in bf16 against fp32, of GliZNet and an NLI model: number of texts whose best label changes."""
    texts, labels = workload(setting.backbone, sizes, setting)
    options = GliZNetOptions(max_length=setting.max_tokens, head_init="scaled")
    tokenizer = GliZNETTokenizer.from_pretrained(setting.backbone, options)
    torch.manual_seed(SEED)
    model = GliZNetForSequenceClassification.from_backbone(setting.backbone, tokenizer).eval().to(setting.device)
    budget = setting.token_budget
    found = {"gliznet": _flips(*(
        np.asarray(score_texts(model, tokenizer, texts, labels, token_budget=budget, autocast_dtype=dtype))
        for dtype in (None, "bf16")
    ))}  # fmt: skip
    few, scores = texts[: sizes.pair_texts], []
    for precision in ("fp32", "bf16"):
        encoder: NLIEncoder = nli_models(replace(setting, precision=precision))[0]  # type: ignore[arg-type]
        scores.append(nli_scores(encoder, few, encoder.hypotheses(labels), token_budget=budget))
    return found | {"nli": _flips(*scores)}


def _flips(exact: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """How often the argmax of (n, K) scores changes, the margins of these texts, and the largest difference."""
    flipped = exact.argmax(1) != other.argmax(1)
    first, second = np.sort(exact, axis=1)[:, -1], np.sort(exact, axis=1)[:, -2]
    return {
        "texts": len(exact),
        "flips": int(flipped.sum()),
        "largest_margin_of_a_flip": float((first - second)[flipped].max()) if flipped.any() else None,
        "median_margin": float(np.median(first - second)),
        "largest_difference": float(np.abs(exact - other).max()),
    }


def measure_deberta(setting: Setting, sizes: Sizes) -> dict[str, Any]:
    """Errors and speed of DeBERTa's attention, ours and (if installed) flashdeberta's, against transformers'."""
    texts, _ = workload(setting.backbone, sizes, setting)
    tokenizer = AutoTokenizer.from_pretrained(setting.backbone, trust_remote_code=False)
    lengths = [len(ids) for ids in tokenizer(texts[: sizes.pair_texts])["input_ids"]]
    rounds = measure_attention(setting, lengths, sizes.repeats)
    found: dict[str, Any] = {"errors": _attention_errors(setting, lengths)}
    for name, of_name in rounds.items():
        found[name] = {way: ratio(one, of_name["transformers"])["wall"] for way, one in of_name.items()}
    return found | {"flashdeberta": _verdict(found)}


def _attention_errors(setting: Setting, lengths: list[int]) -> dict[str, float]:
    """Largest difference of the last hidden states from transformers' in fp32, over real tokens."""
    settings: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True}
    plain: Any = AutoModel.from_pretrained(setting.backbone, trust_remote_code=False, **settings)
    fast: Any = AutoModel.from_pretrained(setting.backbone, trust_remote_code=False, **settings)
    use_fast_attention(fast)
    ways = {"transformers bf16": (plain, "bf16"), "ours fp32": (fast, "fp32"), "ours bf16": (fast, "bf16")}
    if flash_installed(setting):
        from flashdeberta import FlashDebertaV2Model

        flash = FlashDebertaV2Model.from_pretrained(
            setting.backbone, attn_implementation="flash_attention_2", **settings
        )
        ways["flashdeberta bf16"] = (flash, "bf16")
    batch = batch_of(setting, sorted(lengths)[-8:])
    valid = batch["attention_mask"].bool()

    @torch.inference_mode()
    def states(model: Any, precision: str) -> torch.Tensor:
        with autocast(replace(setting, precision=precision)):  # type: ignore[arg-type]
            return model.to(setting.device).eval()(**batch).last_hidden_state.float()[valid]

    exact = states(plain, "fp32")
    return {name: float((states(*way) - exact).abs().max()) for name, way in ways.items()}


def flash_installed(setting: Setting) -> bool:
    """Whether flashdeberta can be used; its kernels need a GPU."""
    return setting.device == "cuda" and importlib.util.find_spec("flashdeberta") is not None


def _verdict(found: dict[str, Any]) -> str:
    """Verdict on whether flashdeberta would be the better choice on this device."""
    errors = found["errors"]
    if "flashdeberta bf16" not in errors:
        return "not measured: it is not installed, or there is no GPU"
    exact = errors["flashdeberta bf16"] <= 1.5 * errors["transformers bf16"]
    gains = {what: found[what]["flashdeberta"]["low"] / found[what]["fast"]["high"] for what in ("mixed", "training")}
    faster = [what for what, gain in gains.items() if gain > PAYS]
    if exact and faster:
        return f"better for {' and '.join(faster)}: as exact as bf16 allows, and faster than ours"
    return "not better: " + ("no faster than ours" if exact else "its states are further from fp32 than bf16 explains")
