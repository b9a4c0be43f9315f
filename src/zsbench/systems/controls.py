"""Controls: predictors without a model, shown in all tables as bounds. Only they may see gold labels.

Functions map (task, gold (n, L), generator) to scores (n, L) in [0, 1]. Shapes: n rows, L labels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from zsbench.families import ControlOptions
from zsbench.store.layout import Layout
from zsbench.store.provenance import digest
from zsbench.systems import DatasetRows


def majority(task: str, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The most frequent gold label for every row; in multi-label tasks, the more frequent value of each label."""
    prior = gold.mean(axis=0)  # (L,)
    row = (prior >= 0.5).astype(float) if task == "multi" else np.eye(len(prior))[prior.argmax()]
    return np.tile(row, (len(gold), 1))


def always_positive(task: str, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """1 for every label."""
    return np.ones_like(gold)


def prior_random(task: str, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Random predictions with gold frequencies: one label drawn from the prior, or (multi-label) each independently."""
    prior = gold.mean(axis=0)
    if task == "multi":
        return (generator.random(gold.shape) < prior).astype(float)
    return np.eye(len(prior))[generator.choice(len(prior), size=len(gold), p=prior / prior.sum())]


def uniform_random(task: str, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Uniform random scores: every label is equally likely, and above 1/2 half of the time."""
    return generator.random(gold.shape)


def oracle(task: str, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The gold labels: every metric must be 1."""
    return gold


def shuffled_oracle(task: str, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Gold labels of other rows: correct label frequencies and combinations, on the wrong texts."""
    return gold[generator.permutation(len(gold))]


def position_last(task: str, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The label's relative position: the score of always preferring the last label."""
    row = np.arange(gold.shape[1]) / max(gold.shape[1] - 1, 1)
    return np.tile(row, (len(gold), 1))


def position_first(task: str, gold: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """1 minus the label's relative position: the score of always preferring the first label."""
    return 1.0 - position_last(task, gold, generator)


CONTROLS: dict[str, Callable[[str, np.ndarray, np.random.Generator], np.ndarray]] = {
    "majority": majority,
    "always-positive": always_positive,
    "prior-random": prior_random,
    "uniform-random": uniform_random,
    "oracle": oracle,
    "shuffled-oracle": shuffled_oracle,
    "position-first": position_first,
    "position-last": position_last,
}


def draw(name: str, seed: int, dataset: str, task: str, splits: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Scores (n, L) in [0, 1] of a control, computed per split, so that no split's gold affects another split's scores.

    Args:
        name: id of the control.
        seed: seed of the system.
        dataset: id of the data set; each has its own random numbers.
        task: "single" or "multi".
        splits: (n,) split of each row.
        gold: (n, L) of 0.0 and 1.0.
    """
    scores = np.zeros(gold.shape)
    for split in dict.fromkeys(splits):
        here = splits == split
        entropy = int(digest([name, seed, dataset, split]), 16)
        scores[here] = CONTROLS[name](task, gold[here], np.random.default_rng(entropy))
    return scores


class ControlSystem:
    """A control; its random numbers are a function of (control, seed, dataset)."""

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        self.name, self.seed = ControlOptions.model_construct(**spec["settings"]).control, spec["seed"]

    def score_rows(self, rows: DatasetRows) -> np.ndarray:
        """Scores (n, L) in [0, 1]; see `draw`."""
        return draw(self.name, self.seed, rows.dataset, rows.task, np.array(rows.splits), rows.matrix)
