"""How much the answers of a system depend on the order and wording of labels in a single-label data set.

A joint encoder reads all labels at once, so their order is part of its input; all systems read their wording. The
scoring job stores answers, and metrics are computed from them later, so changing a metric does not require rescoring.

n rows, L labels, K orders or wordings.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from zsbench.evaluation.calibration import are_probabilities, fitted_temperature
from zsbench.evaluation.ties import winners

if TYPE_CHECKING:  # importing it would import torch
    from zsbench.systems import System


def answers(
    system: "System",
    texts: list[str],
    gold: list[list[int]],
    wordings: dict[str, list[str]],
    joint: bool,
    *,
    orders: int,
    rows: int,
    seed: int,
    cosine: bool = False,
) -> dict[str, Any]:
    """Score a subsample of the rows under other orders and wordings of the labels.

    Args:
        texts: texts of the test split.
        gold: for each text, a list with its one label index.
        wordings: name -> labels, the wording in use first.
        joint: the system may read all labels at once, so that their order can matter.
        orders: random orders in addition to the given one; 0 skips that measurement.
        rows: size of the subsample.
        seed: of the subsample and the orders.
        cosine: scores are cosines, which have no natural scale; a temperature is fitted under the labels in use.

    Returns:
        `labels`: L. Label indices: `gold` (n,); `order` and `verbalisation` (K, n), the labels in use first; `again`
        (n,), answers when the same labels are scored again in the same order. `order_p` and `verbalisation_p` (K, n):
        the probability that each order or wording gives to the answer under the labels in use. Without other orders or
        wordings, the lists are empty.
    """
    sample = subsample(len(gold), rows, seed)
    texts = [texts[i] for i in sample]
    in_use = next(iter(wordings.values()))

    def scores_in_order(order: np.ndarray) -> np.ndarray:
        scores = np.asarray(system.score(texts, [in_use[i] for i in order]), dtype=float)
        in_columns = np.empty_like(scores)
        in_columns[:, order] = scores
        return in_columns

    true = [gold[i][0] for i in sample]
    ordered: list[np.ndarray] = []
    worded: list[np.ndarray] = []
    if joint and orders:
        ordered = [scores_in_order(order) for order in label_orders(len(in_use), orders, seed)]
    if len(wordings) > 1:
        worded = [np.asarray(system.score(texts, labels), dtype=float) for labels in wordings.values()]
    record: dict[str, Any] = {"labels": len(in_use), "gold": true}
    for kind, scored in (("order", ordered), ("verbalisation", worded)):
        record[kind] = [winners(scores, texts, in_use).tolist() for scores in scored]
        record[f"{kind}_p"] = probabilities_of_first(scored, record[kind], true, cosine)
    return record | {"again": _again(system, texts, in_use, seed) if ordered or worded else []}


def probabilities_of_first(
    scored: list[np.ndarray], answered: list[list[int]], gold: list[int], cosine: bool
) -> list[list[float]]:
    """Probability (K, n) that each of K scorings gives to the answers of the first.

    Scores in [0, 1] are used as probabilities; others get a softmax over labels.

    Args:
        scored: K score arrays (n, L).
        answered: (K, n) label indices.
        gold: (n,) label indices, to fit the temperature.
        cosine: fit a temperature to the first scoring.
    """
    if not scored:
        return []
    rows, first = np.arange(len(gold)), np.array(answered[0])
    if all(are_probabilities(scores) for scores in scored) and not cosine:
        stated = scored
    else:
        temperature = fitted_temperature(scored[0], np.eye(scored[0].shape[1], dtype=bool)[gold]) if cosine else 1.0
        stated = [softmax(scores / temperature, axis=1) for scores in scored]
    return [[round(p, 6) for p in one[rows, first].tolist()] for one in stated]


def label_orders(n_labels: int, count: int, seed: int) -> list[np.ndarray]:
    """The given order, then up to `count` other random orders, all distinct (fewer if there are too few labels)."""
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
    """Sorted indices of a seeded sample of at most `rows` of n rows."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:rows])


def _again(system: "System", texts: list[str], labels: list[str], seed: int) -> list[int]:
    """Answers (n,) for shuffled rows, so that batches contain other texts; in bf16 that alone changes scores."""
    order = np.random.default_rng(seed).permutation(len(texts))
    scores = np.empty((len(texts), len(labels)))
    scores[order] = np.asarray(system.score([texts[i] for i in order], labels))
    return winners(scores, texts, labels).tolist()
