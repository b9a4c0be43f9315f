"""Rows of a training set: to learn from, with labels drawn per step, and to choose models by, in a fixed order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Rows:
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


def read_training_rows(path: Path) -> Rows:
    """The train split of a prepared training set.

    Raises:
        ValueError: it has no rows.
    """
    return Rows(*_read(path, "train", ("text", "labels", "not_labels")))


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


def draw_labels(rows: Rows, row: int, limit: int, seed: tuple[int, ...]) -> tuple[list[str], list[int]]:
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


def average_precisions(scores: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> np.ndarray:
    """(n,) average precision of each text's labels, scikit-learn's definition (no interpolation).

    Labels with equal scores enter the ranking together, so their order cannot matter: a constant score gives the share
    of true labels.

    Args:
        scores, targets: n arrays (K_i,); each text has a true and a false label.
    """
    from sklearn.metrics import average_precision_score

    return np.array([average_precision_score(t, s) for s, t in zip(scores, targets, strict=True)])


def mean_average_precision(scores: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> float:
    """Mean over texts of the average precision of the text's labels.

    Texts without a true or without a false label rank nothing and are left out.

    Raises:
        ValueError: no text is left.
    """
    ranked = [(s, t) for s, t in zip(scores, targets, strict=True) if 0 < t.sum() < len(t)]
    if not ranked:
        raise ValueError("no row has both a true and a false label, so nothing can be ranked")
    return float(average_precisions(*zip(*ranked, strict=True)).mean())
