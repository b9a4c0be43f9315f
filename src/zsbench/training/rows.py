"""Rows of a training set for training and model selection, and the rows and labels of each step.

Order and labels are pure functions of (seed, step), so a resumed training continues exactly.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from zsbench.recipe import LabelDraw

# How the published training script prepares labels; docs/models/gliznet.md, section 3.
SPACED = 0.9  # probability that underscores in a drawn label become spaces
SHORT = 3  # characters; labels up to this length are not used for training with `label_draw: reference`


@dataclass(frozen=True)
class TrainingRows:
    """One split of a training set: `texts[i]` with its true labels and its plausible false labels."""

    texts: list[str]
    positives: list[list[str]]
    negatives: list[list[str]]

    @property
    def lengths(self) -> np.ndarray:
        """(n,) number of words of text and labels, a cheap proxy for tokens when grouping rows by length."""
        pairs = zip(self.texts, self.positives, self.negatives, strict=True)
        return np.array([len(text.split()) + sum(len(label.split()) + 1 for label in p + n) for text, p, n in pairs])


@dataclass(frozen=True)
class EvaluationRows:
    """Rows for model selection or evaluation: `texts[i]` with its labels in stored order and their targets (1 true)."""

    texts: list[str]
    labels: list[list[str]]
    targets: list[np.ndarray]


def read_training_rows(path: Path, draw: LabelDraw) -> TrainingRows:
    """The train split of a prepared training set.

    Args:
        path: `rows.parquet` of the set.
        draw: how labels will be drawn. "reference" strips labels, drops short ones, and drops rows with no other label.

    Raises:
        ValueError: no rows.
    """
    texts, *labels = _read(path, "train", ("text", "labels", "not_labels"))
    if draw == "reference":
        stripped = [[[label.strip() for label in row] for row in column] for column in labels]
        labels = [[[label for label in row if len(label) > SHORT] for row in column] for column in stripped]
    positives, negatives = labels
    usable = [i for i in range(len(texts)) if positives[i] or negatives[i]]
    if not usable:
        raise ValueError(f"{path}: no training row has a label that label_draw {draw!r} can sample")
    return TrainingRows(*([column[i] for i in usable] for column in (texts, positives, negatives)))


def read_evaluation_rows(path: Path, split: str = "validation") -> EvaluationRows:
    """Another split of a prepared training set, with labels in the stored order.

    Underscores always become spaces, because model selection and evaluation must not be random.

    Args:
        path: `rows.parquet` of the set.
        split: its name.

    Raises:
        ValueError: the split has no rows.
    """
    texts, labels, targets = _read(path, split, ("text", "shown", "targets"))
    spaced = [[label.replace("_", " ") for label in row] for row in labels]
    return EvaluationRows(texts, spaced, [np.array(row) for row in targets])


def _read(path: Path, split: str, columns: tuple[str, ...]) -> list[list[Any]]:
    table = pq.read_table(path, columns=list(columns), filters=[("split", "=", split)])
    if not table.num_rows:
        raise ValueError(f"{path} has no rows in split {split!r}")
    return [table[name].to_pylist() for name in columns]


def draw_labels(
    rows: TrainingRows, row: int, limit: int, seed: tuple[int, ...], draw: LabelDraw
) -> tuple[list[str], list[int]]:
    """Draw up to `limit` labels of a row in random order, with their targets.

    Underscores become spaces with probability `SPACED`.

    Args:
        rows: the training rows.
        row: index of the row.
        limit: maximum number of labels.
        seed: together with `row`, the only source of randomness.
        draw: "reference", as in the published training script: a uniform number of labels, from one to all that fit,
            from a random permutation of true and false labels, so a row may get no true or no false label.
            "stratified": all true labels and a uniform number of false ones, from one to all that fit. If true labels
            alone would fill `limit`, half of it is reserved for false ones, as far as available.

    Returns:
        Labels and targets (1 true, 0 false), of equal length.
    """
    generator = np.random.default_rng((*seed, row))
    labels, true = rows.positives[row] + rows.negatives[row], len(rows.positives[row])
    drawn = _DRAWS[draw](generator, true, len(labels), limit)
    spaced = generator.random(len(drawn)) < SPACED
    names = [labels[i].replace("_", " ") if space else labels[i] for i, space in zip(drawn, spaced, strict=True)]
    return names, [int(i < true) for i in drawn]


def _draw_reference(generator: np.random.Generator, true: int, total: int, limit: int) -> list[int]:
    """Indices of the drawn labels among `total`; those below `true` are true."""
    count = generator.integers(1, min(limit, total) + 1)
    return generator.permutation(total)[:count].tolist()


def _draw_stratified(generator: np.random.Generator, true: int, total: int, limit: int) -> list[int]:
    """See `_draw_reference`."""
    false = total - true
    most_true = true if true < limit else limit - min(false, limit - max(1, limit // 2))
    positives = generator.permutation(true)[:most_true]
    room = min(limit - len(positives), false)
    count = int(generator.integers(1, room + 1)) if room else 0
    negatives = true + generator.permutation(false)[:count]
    return generator.permutation(np.append(positives, negatives)).tolist()


_DRAWS = {"reference": _draw_reference, "stratified": _draw_stratified}


def step_rows(lengths: np.ndarray, step: int, batch: int, seed: int, window: int = 8) -> np.ndarray:
    """Rows of optimiser step `step`.

    Every epoch is a new permutation. Within each window of `window` batches, rows are sorted by length, so that batches
    contain rows of similar length, and the batches are then shuffled.

    Args:
        lengths: (n,) length of each training row.
        step: 0-based optimiser step.
        batch: rows per step (the effective batch size). An incomplete last batch of an epoch is dropped.
        seed: seed of the order.
        window: number of batches sorted together.

    Returns:
        (batch,) row indices.
    """
    per_epoch = len(lengths) // batch
    epoch, position = divmod(step, per_epoch)
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(lengths))[: per_epoch * batch]
    start = position // window * window
    rows = order[start * batch : min(start + window, per_epoch) * batch]
    rows = rows[np.argsort(lengths[rows], kind="stable")].reshape(-1, batch)  # (batches of the window, batch)
    shuffled = np.random.default_rng((seed, epoch, start)).permutation(len(rows))
    return rows[shuffled[position - start]]
