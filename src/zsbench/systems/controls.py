"""Controls: predictors without a model, that frame every table. They alone may see the gold. n rows, L labels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from zsbench.config import suggest
from zsbench.layout import Layout
from zsbench.provenance import digest
from zsbench.systems import UnknownSystemError
from zsbench.systems.base import Rows


def majority(rows: Rows, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The most frequent gold label for every row; where labels are judged one by one, each at its usual value."""
    prior = gold.mean(axis=0)  # (L,)
    row = (prior >= 0.5).astype(float) if rows.task == "multi" else np.eye(len(prior))[prior.argmax()]
    return np.tile(row, (len(gold), 1))


def always_positive(rows: Rows, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """1 everywhere."""
    return np.ones_like(gold)


def prior_random(rows: Rows, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Random predictions as frequent as the gold: one label drawn from the prior, or each label on its own."""
    prior = gold.mean(axis=0)
    if rows.task == "multi":
        return (generator.random(gold.shape) < prior).astype(float)
    return np.eye(len(prior))[generator.choice(len(prior), size=len(gold), p=prior / prior.sum())]


def uniform_random(rows: Rows, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Uniform scores: every label equally likely, P >= 1/2 half the time."""
    return generator.random(gold.shape)


def oracle(rows: Rows, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The gold itself: every metric must read 1."""
    return gold


def shuffled_oracle(rows: Rows, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The gold of other rows: the right label frequencies and combinations, on the wrong texts."""
    return gold[generator.permutation(len(gold))]


CONTROLS: dict[str, Callable[[Rows, np.ndarray, np.random.Generator], np.ndarray]] = {
    "majority": majority,
    "always-positive": always_positive,
    "prior-random": prior_random,
    "uniform-random": uniform_random,
    "oracle": oracle,
    "shuffled-oracle": shuffled_oracle,
}


class Control:
    """One control; its random numbers follow from (control, seed, dataset)."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed = name, seed

    def score_rows(self, rows: Rows) -> np.ndarray:
        """Scores (n, L) in [0, 1], each split on its own: no split's gold reaches another split's scores."""
        scores, gold, splits = np.zeros((len(rows.gold), len(rows.labels))), rows.matrix, np.array(rows.splits)
        for split in dict.fromkeys(rows.splits):
            here = splits == split
            entropy = int(digest([self.name, self.seed, rows.dataset, split]), 16)
            scores[here] = CONTROLS[self.name](rows, gold[here], np.random.default_rng(entropy))
        return scores


def build(spec: dict[str, Any], layout: Layout) -> Control:
    """The control that `settings.control` names.

    Raises:
        UnknownSystemError: no such control.
    """
    name = spec["settings"].get("control")
    if name not in CONTROLS:
        hint = suggest(str(name), CONTROLS)
        raise UnknownSystemError(f"systems.{spec['system']}.control: {name!r} is not known{hint}")
    return Control(name, spec["seed"])
