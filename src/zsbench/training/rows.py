"""Training rows and the labels drawn from them."""

from dataclasses import dataclass
from pathlib import Path

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


def read_split(path: Path, split: str) -> Rows:
    """Rows of one split of a prepared training set.

    Raises:
        ValueError: the split has no rows.
    """
    table = pq.read_table(path, columns=["text", "labels", "not_labels"], filters=[("split", "=", split)])
    if not table.num_rows:
        raise ValueError(f"{path} has no rows in split {split!r}")
    return Rows(*(table[name].to_pylist() for name in ("text", "labels", "not_labels")))


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


def mean_average_precision(scores: list[np.ndarray], targets: list[np.ndarray]) -> float:
    """Mean over texts of the average precision of the text's labels: the validation metric of every family.

    Texts without a positive or without a negative label rank nothing and are left out.
    """
    from sklearn.metrics import average_precision_score

    pairs = [(s, t) for s, t in zip(scores, targets, strict=True) if 0 < t.sum() < len(t)]
    return float(np.mean([average_precision_score(t, s) for s, t in pairs]))
