"""The compared ways of scoring (text, label) pairs, all with the same backbone, precision and maximum length.

Shapes: n texts, K labels, B batch, T tokens, D hidden size.
"""

import copy
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from benchmarks.peers import gliclass, nli
from benchmarks.setting import Contender, Run, Setting, autocast
from gliznet.batching import token_budget_batches
from gliznet.fast.encoders import use_plain_encoders
from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.predictor import ScoringReport, score_texts
from gliznet.tokenizer import GliZNETTokenizer


def _model(setting: Setting, switches: dict[str, Any]) -> tuple[GliZNetForSequenceClassification, GliZNETTokenizer]:
    """GliZNet with a random head on the setting's backbone."""
    options = GliZNetOptions(max_length=setting.max_tokens, head_init="scaled", **switches)
    tokenizer = GliZNETTokenizer.from_pretrained(setting.backbone, options)
    torch.manual_seed(setting.seed)
    model = GliZNetForSequenceClassification.from_backbone(setting.backbone, tokenizer).eval()
    return model.to(torch.device(setting.device)), tokenizer  # type: ignore[arg-type]


def gliznet(setting: Setting) -> list[Contender]:
    """Our scoring; the reference (one padded batch in input order); the bare encoder with our batches."""
    model, tokenizer = _model(setting, {})
    plain = copy.deepcopy(model)
    use_plain_encoders(plain)

    def reference(texts: Sequence[str], labels: Sequence[str]) -> Run:
        return lambda: _one_batch(plain, tokenizer, texts, labels, setting)

    def bare(texts: Sequence[str], labels: Sequence[str]) -> Run:
        batches = our_batches(tokenizer, texts, labels, setting)
        return lambda: _bare(model.backbone, batches, setting)

    return [
        Contender("gliznet", "GliZNet, this project", model.backbone, _ours(model, tokenizer, setting)),
        Contender("reference", "GliZNet, one padded batch in input order", plain.backbone, reference),
        Contender("bare", "bare encoder at our batches (limit)", model.backbone, bare),
    ]


def order_invariant(setting: Setting, name: str, context: str) -> list[Contender]:
    """Order-invariant GliZNet with each text encoded once; and in one padded pass, for the correctness gate.

    Args:
        setting: the shared conditions.
        name: id of the first; the second is `<name>-joint`.
        context: "text" (labels see the text) or "none" (they do not).
    """
    # Room for the longest label of a run, which may have many pieces with a small vocabulary.
    room = {"label_reserve": min(64, setting.max_tokens // 4)}
    model, tokenizer = _model(setting, {"order_invariant": True, "label_context": context, **room})
    title = f"GliZNet order-invariant, labels see {'the text' if context == 'text' else 'no text'}"

    def tokens(texts: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
        report = ScoringReport()
        score_texts(model, tokenizer, texts, labels, token_budget=setting.token_budget, report=report)
        return {"real": report.real_tokens, "padded": report.padded_tokens}

    def joint(texts: Sequence[str], labels: Sequence[str]) -> Run:
        return lambda: _one_batch(model, tokenizer, texts, labels, setting)

    return [
        Contender(name, title, model.backbone, _ours(model, tokenizer, setting), tokens),
        Contender(f"{name}-joint", f"{title}, one padded batch", model.backbone, joint),
    ]


def _ours(model: Any, tokenizer: Any, setting: Setting) -> Callable[[Sequence[str], Sequence[str]], Run]:
    amp = "bf16" if setting.precision == "bf16" else None
    budget = setting.token_budget
    return lambda texts, labels: (
        lambda: np.asarray(score_texts(model, tokenizer, texts, labels, token_budget=budget, autocast_dtype=amp))
    )


@torch.inference_mode()
def _one_batch(model: Any, tokenizer: Any, texts: Sequence[str], labels: Sequence[str], setting: Setting) -> np.ndarray:
    """Score like the published pipeline: a batch of all texts in input order, padded to the longest."""
    columns = []
    for chunk in tokenizer.plan_chunks(labels):
        part = [labels[i] for i in chunk]
        inputs = tokenizer(texts, [part] * len(texts)).to(setting.device)
        with autocast(setting):
            columns.append(model(**inputs, num_labels=len(part)).logits.cpu().numpy())
    return np.concatenate(columns, axis=1)


def our_batches(
    tokenizer: Any, texts: Sequence[str], labels: Sequence[str], setting: Setting
) -> list[dict[str, torch.Tensor]]:
    """The encoder inputs of `score_texts`."""
    chunks = tokenizer.plan_chunks(labels)
    rows = [
        tokenizer.build_row(ids, [labels[i] for i in chunk])
        for ids in tokenizer.tokenize_texts(texts)
        for chunk in chunks
    ]
    batches = []
    for batch in token_budget_batches([len(row.input_ids) for row in rows], setting.token_budget):
        encoding = tokenizer.pad([rows[i] for i in batch])
        inputs = {"input_ids": encoding.input_ids, "attention_mask": encoding.attention_mask}
        batches.append({name: tensor.to(setting.device) for name, tensor in inputs.items()})
    return batches


@torch.inference_mode()
def _bare(encoder: Any, batches: Sequence[dict[str, torch.Tensor]], setting: Setting) -> np.ndarray:
    """The encoder alone; returns one number per batch, so that an accelerator must finish."""
    with autocast(setting):
        last = [encoder(**batch).last_hidden_state[0, 0, 0] for batch in batches]
    return torch.stack(last).float().cpu().numpy()


def biencoder(setting: Setting) -> list[Contender]:
    """Mean-pooled texts against precomputed label vectors: the upper bound, since texts do not see labels."""
    tokenizer = AutoTokenizer.from_pretrained(setting.backbone, trust_remote_code=False)
    model = AutoModel.from_pretrained(
        setting.backbone, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    model = model.to(setting.device).eval()

    @torch.inference_mode()
    def embed(texts: Sequence[str]) -> torch.Tensor:
        ids = tokenizer(list(texts), truncation=True, max_length=setting.max_tokens)["input_ids"]
        out = torch.empty(len(ids), model.config.hidden_size, device=setting.device)  # (n, D)
        for batch in token_budget_batches([len(row) for row in ids], setting.token_budget):
            padded = tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt").to(setting.device)
            with autocast(setting):
                H = model(input_ids=padded["input_ids"], attention_mask=padded["attention_mask"]).last_hidden_state
            weight = padded["attention_mask"].unsqueeze(-1).float()  # (B, T, 1)
            out[batch] = torch.nn.functional.normalize((H.float() * weight).sum(1), dim=-1)
        return out

    def prepare(texts: Sequence[str], labels: Sequence[str]) -> Run:
        kept = embed(labels)  # (K, D)
        return lambda: (embed(texts) @ kept.T).cpu().numpy()

    return [Contender("biencoder", "bi-encoder, label vectors kept (upper bound)", model, prepare)]


def build_contenders(setting: Setting) -> list[Contender]:
    """All contenders; those of `gliclass` only if the package is installed."""
    invariant = [*order_invariant(setting, "invariant", "text"), *order_invariant(setting, "apart", "none")]
    packaged = gliclass(setting) if importlib.util.find_spec("gliclass") else []
    return [*gliznet(setting), *invariant, *packaged, *nli(setting), *biencoder(setting)]
