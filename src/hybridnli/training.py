"""Trains heads and blend weights on stored features; the encoder is not needed.

Shapes: n rows, B batch, L labels, S specialist labels.

One difference from the published script: it puts the whole model into training mode, so its frozen encoder re-encodes
every epoch with dropout. Stored features are computed without dropout.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gliznet.batching import token_budget_batches
from gliznet.device import to_device, to_host
from hybridnli.data import LabelSet
from hybridnli.features import FeatureStore
from hybridnli.losses import blend_loss, kl_loss, poly_loss
from hybridnli.model import HybridNLIPolyEncoder, blend_scores
from hybridnli.thresholds import apply_thresholds, f1_per_label

__all__ = ["SELECTIONS", "HybridOptions", "TrainedHeads", "head_probabilities", "train_heads"]

EVAL_TOKENS = 32768  # padded tokens per batch without gradients


@dataclass(frozen=True)
class HybridOptions:
    """Everything the training of the heads depends on besides data and seed.

    Defaults are those of the published v2, except for `selection`. "mean_ap", average precision averaged over labels,
    responds to any change in the ranking. The published "macro_f1_at_0.5" does not change unless a score crosses 0.5,
    so the first epoch can win by default.
    """

    specialists: tuple[str, ...] | None = None  # labels with a head, in head order; None: every label of the store
    num_codes: int = 8  # code vectors per head
    proj_dim: int = 256  # projection size of contexts and labels
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4  # on all parameters, alpha included, as published
    epochs: int = 25  # maximum; also the length of the cosine schedule
    batch_size: int = 16
    grad_clip: float = 1.0  # maximum gradient norm, over all heads together
    patience: int = 7  # stop after this many epochs without a better `selection` value
    blend_weight: float = 1.0  # 0: alpha gets no gradient and stays at 0.5, as in the published v1
    kl_weight: float = 0.3  # distillation from NLI where NLI is confident
    confidence: float = 0.75  # NLI is confident above this value and below 1 minus it
    lr_floor: float = 0.02  # final learning rate as a fraction of learning_rate
    selection: str = "mean_ap"  # validation metric that selects the epoch; a key of SELECTIONS

    def __post_init__(self) -> None:
        for name in ("num_codes", "proj_dim", "learning_rate", "epochs", "batch_size", "grad_clip", "patience"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed; allowed: > 0")
        for name in ("weight_decay", "blend_weight", "kl_weight", "lr_floor"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed; allowed: >= 0")
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence: {self.confidence} is not allowed; allowed: >= 0.5, < 1")
        if self.selection not in SELECTIONS:
            raise ValueError(f"selection: {self.selection!r} is not allowed; allowed: {', '.join(SELECTIONS)}")


@dataclass(frozen=True)
class TrainedHeads:
    """The result of `train_heads`.

    Attributes:
        model: heads and alphas with the best weights, in evaluation mode; without an encoder.
        history: one record per epoch: `epoch` (from 1), `lr`, `loss` ({term: mean over batches, unweighted}, and
            `total`, weighted), `alpha` ({label: value}), `validation` (value of `options.selection`).
        best_epoch: epoch of the weights in `model`; the first one in a tie.
    """

    model: HybridNLIPolyEncoder
    history: list[dict[str, Any]]
    best_epoch: int

    def scores(self, store: FeatureStore, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Hybrid scores of rows of a store, (n, L) float64."""
        return _hybrid_scores(self.model, store, np.asarray(indices, dtype=np.int64))


def train_heads(
    store: FeatureStore,
    labels: np.ndarray,
    train_idx: Sequence[int] | np.ndarray,
    val_idx: Sequence[int] | np.ndarray,
    *,
    options: HybridOptions,
    seed: int,
    progress: Callable[[dict[str, Any]], None] | None = None,
    device: str | torch.device = "cpu",
) -> TrainedHeads:
    """Train with the dual loss; keep the weights of the epoch with the best `options.selection` on `val_idx`.

    Args:
        store: features of n texts; its labels are the columns of `labels`.
        labels: (n, L) gold in [0, 1].
        train_idx: rows to train on.
        val_idx: rows to select the epoch on, disjoint from `train_idx`.
        options: training settings.
        seed: seed of initial weights and batch order; the same seed gives the same weights on the same machine.
        progress: called with each epoch's record.
        device: device to train on.

    Raises:
        ValueError: labels that do not match the store, indices out of range or in both sets, unknown specialists, or
            ("mean_ap") no validation row with a label.
        FloatingPointError: a loss is not finite; the message lists the rows of that batch.
    """
    gold, train_rows, val_rows = _checked(store, labels, train_idx, val_idx)
    model = _new_model(store, options, seed).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
    )
    floor = options.learning_rate * options.lr_floor
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=options.epochs, eta_min=floor)
    shuffle = np.random.default_rng(seed)
    history: list[dict[str, Any]] = []
    best, best_epoch, best_state = -1.0, 0, {}
    for epoch in range(1, options.epochs + 1):
        record: dict[str, Any] = {"epoch": epoch, "lr": scheduler.get_last_lr()[0]}
        record["loss"] = _train_epoch(model, store, gold, shuffle.permutation(train_rows), options, optimizer)
        scheduler.step()
        record["alpha"] = dict(zip(model.labels.specialists, _alphas(model).tolist(), strict=True))
        record["validation"] = _selected_by(model, store, gold, val_rows, options.selection)
        history.append(record)
        if progress is not None:
            progress(record)
        if record["validation"] > best:
            best, best_epoch = record["validation"], epoch
            best_state = {name: value.clone() for name, value in model.state_dict().items()}
        elif epoch - best_epoch >= options.patience:
            break
    model.load_state_dict(best_state)
    return TrainedHeads(model.eval(), history, best_epoch)


def _train_epoch(
    model: HybridNLIPolyEncoder,
    store: FeatureStore,
    gold: np.ndarray,
    rows: np.ndarray,
    options: HybridOptions,
    optimizer: torch.optim.Optimizer,
) -> dict[str, float]:
    """One pass over `rows` in the given order; returns the mean of each loss term over the batches."""
    model.train()
    records = []
    for batch in _batches(rows, options.batch_size):
        H, mask = store.token_embeddings(batch, model.device)
        nli = to_device(torch.from_numpy(store.nli[batch]), model.device)
        target = to_device(torch.from_numpy(gold[batch]), model.device)[:, model.columns]
        terms = _loss_terms(model, model.logits(H, mask), nli, target, options)
        optimizer.zero_grad()
        terms["total"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.grad_clip)
        optimizer.step()
        records.append(torch.stack([term.detach() for term in terms.values()]))
    values = torch.stack(records).cpu()  # (batches, terms): one transfer per epoch, not per step
    bad = (~values.isfinite()).any(dim=1).nonzero().flatten().tolist()
    if bad:
        ids = list(_batches(rows, options.batch_size))[bad[0]].tolist()
        loss = dict(zip(terms, values[bad[0]].tolist(), strict=True))
        raise FloatingPointError(f"loss is not finite: {loss}; first in the batch of rows {ids}")
    return dict(zip(terms, values.mean(dim=0).tolist(), strict=True))


def _loss_terms(
    model: HybridNLIPolyEncoder, logits: Tensor, nli: Tensor, target: Tensor, options: HybridOptions
) -> dict[str, Tensor]:
    """Loss terms by name and their weighted `total`; terms with weight 0 are not computed.

    Args:
        logits: (B, S).
        nli: (B, L).
        target: (B, S) gold in [0, 1].
    """
    terms = {"poly": poly_loss(logits, target)}
    total = terms["poly"]
    if options.blend_weight:
        terms["blend"] = blend_loss(model.blend(logits, nli)[:, model.columns], target)
        total = total + options.blend_weight * terms["blend"]
    if options.kl_weight:
        terms["kl"] = kl_loss(logits, nli[:, model.columns], options.confidence)
        total = total + options.kl_weight * terms["kl"]
    return {**terms, "total": total}


@torch.no_grad()
def head_probabilities(model: HybridNLIPolyEncoder, store: FeatureStore, rows: np.ndarray) -> np.ndarray:
    """Probabilities of the heads alone for rows of a store, (rows, S) float32. Puts the model in evaluation mode."""
    model.eval()
    out = np.empty((len(rows), len(model.labels.specialists)), dtype=np.float32)
    batches = token_budget_batches(store.lengths[rows].tolist(), EVAL_TOKENS)
    launched = ((batch, model.logits(*store.token_embeddings(rows[batch], model.device))) for batch in batches)
    for batch, values in to_host((batch, logits.sigmoid()) for batch, logits in launched):
        out[batch] = values.numpy()
    return out


def _hybrid_scores(model: HybridNLIPolyEncoder, store: FeatureStore, rows: np.ndarray) -> np.ndarray:
    """Blended scores of rows of a store, (rows, L) float64."""
    poly = head_probabilities(model, store, rows)
    return blend_scores(store.nli[rows], poly, _alphas(model), model.labels.specialist_columns)


def _selected_by(
    model: HybridNLIPolyEncoder, store: FeatureStore, gold: np.ndarray, rows: np.ndarray, selection: str
) -> float:
    return SELECTIONS[selection](_hybrid_scores(model, store, rows), gold[rows] >= 0.5)


def _macro_f1(scores: np.ndarray, gold: np.ndarray) -> float:
    """Macro-F1 over all labels of scores (n, L) at threshold 0.5; gold is (n, L) bool."""
    return float(f1_per_label(apply_thresholds(scores, 0.5), gold).mean())


def _mean_ap(scores: np.ndarray, gold: np.ndarray) -> float:
    """Mean average precision of scores (n, L) over labels with a positive row; tied scores count as one step."""
    from sklearn.metrics import average_precision_score

    occurring = gold.any(axis=0)
    if not occurring.any():
        raise ValueError("val_idx: no validation row has a label, so mean_ap cannot choose an epoch")
    return float(average_precision_score(gold[:, occurring], scores[:, occurring], average="macro"))


SELECTIONS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mean_ap": _mean_ap,
    "macro_f1_at_0.5": _macro_f1,
}


def _alphas(model: HybridNLIPolyEncoder) -> np.ndarray:
    return model.alphas.detach().cpu().numpy().astype(np.float64)


def _new_model(store: FeatureStore, options: HybridOptions, seed: int) -> HybridNLIPolyEncoder:
    labels = LabelSet(store.descriptions, store.labels if options.specialists is None else options.specialists)
    with torch.random.fork_rng(devices=[]):  # leave the caller's random state unchanged
        torch.manual_seed(seed)
        model = HybridNLIPolyEncoder(
            labels, store.hidden_dim, options.num_codes, options.proj_dim, backbone_name=store.model_name
        )
    model.set_label_embeddings(torch.from_numpy(store.label_embs))
    return model


def _batches(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (rows[at : at + size] for at in range(0, len(rows), size))


def _checked(
    store: FeatureStore, labels: np.ndarray, train_idx: Sequence[int] | np.ndarray, val_idx: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    gold = np.asarray(labels, dtype=np.float32)
    if gold.shape != store.nli.shape:
        raise ValueError(f"labels: has shape {gold.shape}, the store has {store.nli.shape} (texts, labels)")
    if not ((gold >= 0) & (gold <= 1)).all():
        raise ValueError("labels: holds values outside [0, 1]")
    train, val = np.asarray(train_idx, dtype=np.int64), np.asarray(val_idx, dtype=np.int64)
    for name, rows in (("train_idx", train), ("val_idx", val)):
        if not len(rows) or rows.min() < 0 or rows.max() >= len(gold):
            raise ValueError(f"{name}: must hold rows in 0 ... {len(gold) - 1}, and at least one")
    shared = np.intersect1d(train, val)
    if len(shared):
        raise ValueError(f"train_idx, val_idx: share {len(shared)} rows, first {shared[:5].tolist()}")
    return gold, train, val
