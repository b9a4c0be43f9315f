"""How much a system's answers depend on the order and on the wording of the labels of a single-label dataset.

A joint encoder reads all labels at once, so their order is part of its input; every system reads their wording. The
scoring job stores answers, from which measuring makes numbers: an edit of a metric scores nothing again.

n rows, L labels, K orders or wordings.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zsbench.evaluation.ties import winners

if TYPE_CHECKING:  # importing it would import torch
    from zsbench.systems import System


@dataclass(frozen=True)
class SensitivityOptions:
    """The `sensitivity` part of a score spec; defaults cost about as much as four hundred more texts per dataset."""

    orders: int = 4  # random orders besides the preset's own; 0 skips the measurement
    rows: int = 96  # rows of the subsample
    seed: int = 0  # of the subsample and of the orders
    wordings: bool = True  # also score the dataset's other label wordings

    def __post_init__(self) -> None:
        for name in ("orders", "rows", "seed"):
            if getattr(self, name) < (1 if name == "rows" else 0):
                raise ValueError(f"sensitivity.{name}={getattr(self, name)} is too small")


def answers(
    system: "System",
    texts: list[str],
    gold: list[list[int]],
    wordings: dict[str, list[str]],
    joint: bool,
    options: SensitivityOptions,
) -> dict[str, Any]:
    """Score a subsample of the rows under other orders and wordings of the labels.

    Args:
        texts: of the rows of the test split.
        gold: the label index of each, in a list of one.
        wordings: name -> labels, the one in use first.
        joint: the system may read all labels at once, so that their order can matter.

    Returns:
        Label indices: `gold` (n,); `order` and `verbalisation` (K, n), those for the labels in use first; `again` (n,),
        when the same labels in the same order are scored again. Empty where there is no other order or wording.
    """
    rows = subsample(len(gold), options.rows, options.seed)
    texts = [texts[i] for i in rows]
    in_use = next(iter(wordings.values()))

    def answer(labels: list[str]) -> list[int]:
        return winners(np.asarray(system.score(texts, labels)), texts, in_use).tolist()

    orders: list[list[int]] = []
    worded: list[list[int]] = []
    if joint and options.orders:
        for order in label_orders(len(in_use), options.orders, options.seed):
            scores = np.asarray(system.score(texts, [in_use[i] for i in order]))
            in_columns = np.empty_like(scores)
            in_columns[:, order] = scores
            orders.append(winners(in_columns, texts, in_use).tolist())
    if options.wordings and len(wordings) > 1:
        worded = [answer(labels) for labels in wordings.values()]
    return {
        "labels": len(in_use),
        "gold": [gold[i][0] for i in rows],
        "order": orders,
        "verbalisation": worded,
        "again": _again(system, texts, in_use, options.seed) if orders or worded else [],
    }


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


def subsample(n: int, rows: int, seed: int) -> np.ndarray:
    """Indices (sorted) of a seeded sample of at most `rows` out of n rows."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:rows])


def _again(system: "System", texts: list[str], labels: list[str], seed: int) -> list[int]:
    """Answers (n,) when the rows come shuffled, so that other texts share a batch: in bf16 that alone moves scores."""
    order = np.random.default_rng(seed).permutation(len(texts))
    scores = np.empty((len(texts), len(labels)))
    scores[order] = np.asarray(system.score([texts[i] for i in order], labels))
    return winners(scores, texts, labels).tolist()
