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
SPACED = 0.9  # probability that the underscores of a drawn label are read as spaces
SHORT = 3  # characters; labels up to this length are never trained on under `label_draw: reference`


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


def read_training_rows(path: Path, draw: LabelDraw) -> TrainingRows:
    """The train split of a prepared training set.

    Args:
        draw: how labels will be drawn; "reference" strips them and leaves out short ones, and rows that have no other.

    Raises:
        ValueError: it has no rows.
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
    """Another split of a prepared training set, with the label order that `prepare` stored.

    Underscores are spaces here, always: what chooses or judges a model must not be random.

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
    """Up to `limit` labels of a row in random order, with their targets; "snake_case" mostly reads "snake case".

    Args:
        seed: together with `row`, the only source of randomness.
        draw: "reference" as the published training script: a number of labels uniform between one and all that fit, of
            a random permutation of true and false ones alike, so that a row may have no true or no false label.
            "stratified": all true labels, and a number of false ones uniform between one and all that fit. Where true
            labels alone would fill `limit`, half of the places are kept for false ones, as far as there are any.

    Returns:
        labels and targets (1 true, 0 false), equally long.
    """
    generator = np.random.default_rng((*seed, row))
    labels, true = rows.positives[row] + rows.negatives[row], len(rows.positives[row])
    drawn = _DRAWS[draw](generator, true, len(labels), limit)
    spaced = generator.random(len(drawn)) < SPACED
    names = [labels[i].replace("_", " ") if space else labels[i] for i, space in zip(drawn, spaced, strict=True)]
    return names, [int(i < true) for i in drawn]


def _draw_reference(generator: np.random.Generator, true: int, total: int, limit: int) -> list[int]:
    """Indices of the drawn labels; those below `true` are true."""
    count = generator.integers(1, min(limit, total) + 1)
    return generator.permutation(total)[:count].tolist()


def _draw_stratified(generator: np.random.Generator, true: int, total: int, limit: int) -> list[int]:
    """As `_draw_reference`."""
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
