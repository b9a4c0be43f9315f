"""How much a system's answers depend on the order and on the wording of the labels.

A joint encoder reads all labels at once, so their order is part of its input; every system reads their wording.
n rows, L labels, K orders.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zsbench.evaluation.metrics import point
from zsbench.evaluation.ties import winners
from zsbench.families import JOINT

if TYPE_CHECKING:  # importing it would import torch, which the plan of a run can do without
    from zsbench.systems.base import System

BOOTSTRAP = 2000  # draws of rows


@dataclass(frozen=True)
class SensitivityOptions:
    """The `sensitivity` part of a score spec; defaults cost about as much as four hundred more texts a dataset."""

    orders: int = 4  # random orders besides the preset's own; 0 skips the measurement
    rows: int = 96  # rows of the subsample
    seed: int = 0  # of the subsample and of the orders
    wordings: bool = True  # also score the dataset's other label wordings

    def __post_init__(self) -> None:
        for name in ("orders", "rows", "seed"):
            if getattr(self, name) < (1 if name == "rows" else 0):
                raise ValueError(f"sensitivity.{name}={getattr(self, name)} is too small")


def label_orders(n_labels: int, count: int, seed: int) -> list[np.ndarray]:
    """The given order, then up to `count` others, all different (fewer where there are fewer)."""
    orders = [np.arange(n_labels)]
    generator = np.random.default_rng(seed)
    for _ in range(20 * count):
        if len(orders) > count:
            break
        drawn = generator.permutation(n_labels)
        if not any(np.array_equal(drawn, order) for order in orders):
            orders.append(drawn)
    return orders


def subsample(gold: list[list[int]], rows: int, seed: int) -> np.ndarray:
    """Indices (sorted) of a seeded sample."""
    return np.sort(np.random.default_rng(seed).permutation(len(gold))[:rows])


def predictions(scores: np.ndarray, task: str, texts: list[str], names: list[str]) -> np.ndarray:
    """Predicted labels (n, L) bool: the largest score (equals: `ties.winners`), or P >= 1/2."""
    if task == "multi":
        return scores >= 0.5
    return np.eye(scores.shape[1], dtype=bool)[winners(scores, texts, names)]


def order_sensitivity(
    system: "System", texts: list[str], gold: np.ndarray, labels: list[str], task: str, options: SensitivityOptions
) -> dict[str, Any]:
    """Score the same rows under several orders of the labels.

    Args:
        gold: (n, L) bool, columns in the order of `labels`.

    Returns:
        Record with `kind` "order": `k` orders, macro-F1 `mean`, `low`, `high` over them, `flip_rate` (share of rows
        whose prediction differs from that under the given order, averaged over the other orders), and `values`.
    """
    results = []
    for order in label_orders(len(labels), options.orders, options.seed):
        scores = np.asarray(system.score(texts, [labels[i] for i in order]))
        back = np.empty_like(scores)
        back[:, order] = scores  # to the columns of the given order
        results.append(predictions(back, task, texts, labels))
    return _record("order", results, gold, task)


def wording_sensitivity(
    system: "System", texts: list[str], gold: np.ndarray, wordings: dict[str, list[str]], task: str
) -> dict[str, Any]:
    """Score the same rows under every wording of the labels; `flip_rate` is against the first one."""
    names = next(iter(wordings.values()))
    results = [predictions(np.asarray(system.score(texts, labels)), task, texts, names) for labels in wordings.values()]
    record = _record("verbalisation", results, gold, task)
    return record | {"values": dict(zip(wordings, record["values"], strict=True))}


def _record(kind: str, results: list[np.ndarray], gold: np.ndarray, task: str) -> dict[str, Any]:
    """Macro-F1 and flips of predictions (n, L), the first of which are those of the cell.

    `flip_low` and `flip_high`: 95 % interval of the flip rate, by a bootstrap over rows.
    """
    # scikit-learn says the same (tested), but importing it takes longer than most of these scorings.
    values = point("macro_f1", gold, np.stack(results), single=task == "single").tolist()
    flipped = np.array([(predicted != results[0]).any(axis=1) for predicted in results[1:]]).reshape(-1, len(gold))
    of_row = flipped.mean(axis=0) if len(flipped) else np.zeros(len(gold))  # (n,)
    picked = np.random.default_rng(0).integers(len(gold), size=(BOOTSTRAP, len(gold)))
    low, high = np.quantile(of_row[picked].mean(axis=1), [0.025, 0.975])
    return {
        "kind": kind,
        "k": len(values),
        "mean": float(np.mean(values)),
        "low": min(values),
        "high": max(values),
        "flip_rate": float(of_row.mean()),
        "flip_low": float(low),
        "flip_high": float(high),
        "rows": len(gold),
        "values": values,
    }


def measure(
    system: "System",
    family: str,
    texts: list[str],
    gold: list[list[int]],
    wordings: dict[str, list[str]],
    task: str,
    options: SensitivityOptions,
) -> list[dict[str, Any]]:
    """All records that apply to a system and dataset.

    Args:
        texts: of the rows of the test split.
        gold: label indices of each.
        wordings: name -> labels, the one in use first.
    """
    picked = subsample(gold, options.rows, options.seed)
    some = [texts[i] for i in picked]
    in_use = next(iter(wordings.values()))
    one_hot = np.zeros((len(picked), len(in_use)), dtype=bool)
    for row, i in zip(one_hot, picked, strict=True):
        row[list(gold[i])] = True
    records = []
    if family in JOINT and options.orders:
        records.append(order_sensitivity(system, some, one_hot, in_use, task, options))
    if options.wordings and len(wordings) > 1:
        records.append(wording_sensitivity(system, some, one_hot, wordings, task))
    if records:
        found = floor(system, some, in_use, task, options.seed)
        records = [record | {"floor": found} for record in records]
    return records


def floor(system: "System", texts: list[str], labels: list[str], task: str, seed: int) -> float:
    """Share of rows whose prediction differs when the same labels in the same order are scored again.

    The rows come shuffled the second time, so that other texts share a batch: in bf16 that alone moves scores.
    """
    order = np.random.default_rng(seed).permutation(len(texts))
    again = np.empty((len(texts), len(labels)))
    again[order] = np.asarray(system.score([texts[i] for i in order], labels))
    once = predictions(np.asarray(system.score(texts, labels)), task, texts, labels)
    return float((predictions(again, task, texts, labels) != once).any(axis=1).mean())
