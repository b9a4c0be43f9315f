"""Rows of a training set: to learn from and to choose models by; and which rows and labels each step sees.

Order and labels are pure functions of (seed, step), so a resumed training continues exactly.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq


@dataclass(frozen=True)
class TrainingRows:
    """One split of a training set: `texts[i]` with its true and its plausible false labels."""

    texts: list[str]
    positives: list[list[str]]
    negatives: list[list[str]]

    @property
    def lengths(self) -> np.ndarray:
        """(n,) words of text and labels: a cheap stand-in for tokens, for batches of similar length."""
        pairs = zip(self.texts, self.positives, self.negatives, strict=True)
        return np.array([len(text.split()) + sum(len(label.split()) + 1 for label in p + n) for text, p, n in pairs])


@dataclass(frozen=True)
class EvaluationRows:
    """Rows that choose or judge a model: `texts[i]` with its labels in the stored order and their targets (1 true)."""

    texts: list[str]
    labels: list[list[str]]
    targets: list[np.ndarray]


def read_training_rows(path: Path) -> TrainingRows:
    """The train split of a prepared training set.

    Raises:
        ValueError: it has no rows.
    """
    return TrainingRows(*_read(path, "train", ("text", "labels", "not_labels")))


def read_evaluation_rows(path: Path, split: str = "validation") -> EvaluationRows:
    """Another split of a prepared training set, with the label order that `prepare` stored.

    Raises:
        ValueError: the split has no rows.
    """
    texts, labels, targets = _read(path, split, ("text", "shown", "targets"))
    return EvaluationRows(texts, labels, [np.array(row) for row in targets])


def _read(path: Path, split: str, columns: tuple[str, ...]) -> list[list[Any]]:
    table = pq.read_table(path, columns=list(columns), filters=[("split", "=", split)])
    if not table.num_rows:
        raise ValueError(f"{path} has no rows in split {split!r}")
    return [table[name].to_pylist() for name in columns]


def draw_labels(rows: TrainingRows, row: int, limit: int, seed: tuple[int, ...]) -> tuple[list[str], list[int]]:
    """Up to `limit` labels of a row in random order, with their targets: positives are kept first.

    The number of negatives is uniform between one and all that fit, so that label sets of many sizes are seen.

    Args:
        seed: together with `row`, the only source of randomness.

    Returns:
        labels and targets (1 true, 0 false), equally long.
    """
    generator = np.random.default_rng((*seed, row))
    positives = [rows.positives[row][i] for i in generator.permutation(len(rows.positives[row]))[:limit]]
    room = min(limit - len(positives), len(rows.negatives[row]))
    count = int(generator.integers(1, room + 1)) if room else 0
    negatives = [rows.negatives[row][i] for i in generator.permutation(len(rows.negatives[row]))[:count]]
    labels = positives + negatives
    order = generator.permutation(len(labels))
    return [labels[i] for i in order], [int(i < len(positives)) for i in order]


def step_rows(lengths: np.ndarray, step: int, batch: int, seed: int, window: int = 8) -> np.ndarray:
    """Rows of optimiser step `step`.

    Every epoch is a fresh permutation; inside a window of `window` batches rows are sorted by length, so that batches
    hold rows of similar length, and the batches of a window come in random order.

    Args:
        lengths: (n,) length of each training row.
        step: 0-based optimiser step.
        batch: rows per step (the effective batch). A last, short batch of an epoch is left out.
        seed: order seed.
        window: batches sorted together.

    Returns:
        (batch,) row indices.

    Raises:
        ValueError: fewer rows than one batch.
    """
    per_epoch = len(lengths) // batch
    if per_epoch == 0:
        raise ValueError(f"the training set has {len(lengths)} rows, fewer than one effective batch of {batch}")
    epoch, position = divmod(step, per_epoch)
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(lengths))[: per_epoch * batch]
    start = position // window * window
    rows = order[start * batch : min(start + window, per_epoch) * batch]
    rows = rows[np.argsort(lengths[rows], kind="stable")].reshape(-1, batch)  # (batches of the window, batch)
    shuffled = np.random.default_rng((seed, epoch, start)).permutation(len(rows))
    return rows[shuffled[position - start]]
