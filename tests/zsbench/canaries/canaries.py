"""Systems that ignore the meaning of a text, one for each side channel through which a measurement could leak.

n texts, K labels. If one of them scores above chance, the number measures the side channel, not the model.
"""

from collections.abc import Callable, Sequence

import numpy as np

Canary = Callable[[Sequence[str], Sequence[str], int], np.ndarray]


def position_first(texts: Sequence[str], labels: Sequence[str], row: int) -> np.ndarray:
    return np.tile(-np.arange(len(labels), dtype=float), (len(texts), 1))


def position_last(texts: Sequence[str], labels: Sequence[str], row: int) -> np.ndarray:
    return np.tile(np.arange(len(labels), dtype=float), (len(texts), 1))


def label_length(texts: Sequence[str], labels: Sequence[str], row: int) -> np.ndarray:
    return np.tile([float(len(label)) for label in labels], (len(texts), 1))


def alphabetical(texts: Sequence[str], labels: Sequence[str], row: int) -> np.ndarray:
    rank = {label: i for i, label in enumerate(sorted(labels))}
    return np.tile([float(rank[label]) for label in labels], (len(texts), 1))


def text_length(texts: Sequence[str], labels: Sequence[str], row: int) -> np.ndarray:
    """The longer the text, the later the label that scores highest; the same scale for all texts."""
    return _one_label([len(text.split()) / 40 for text in texts], len(labels))


def row_number(texts: Sequence[str], labels: Sequence[str], row: int) -> np.ndarray:
    """The later the row, the later the label that scores highest: correct if rows are stored by class."""
    return _one_label([(row + i) / ROWS for i in range(len(texts))], len(labels))


def constant(texts: Sequence[str], labels: Sequence[str], row: int) -> np.ndarray:
    return np.zeros((len(texts), len(labels)))


def _one_label(share: Sequence[float], labels: int) -> np.ndarray:
    """(n, labels): largest at label `share * labels`, falling with the distance from it."""
    wanted = np.clip(np.array(share), 0, 1 - 1e-9)[:, None] * labels - 0.5
    return -np.abs(wanted - np.arange(labels))


ROWS = 400  # of the set that `row_number` runs over
CANARIES: dict[str, Canary] = {
    canary.__name__: canary
    for canary in (position_first, position_last, label_length, alphabetical, text_length, row_number, constant)
}


def rows_of(name: str, texts: Sequence[str], label_lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """A canary's scores for texts with individual label lists."""
    pairs = zip(texts, label_lists, strict=True)
    return [CANARIES[name]([text], labels, row)[0] for row, (text, labels) in enumerate(pairs)]


class CanarySystem:
    """A canary behind the interface of the scorer; it counts the rows it has seen."""

    def __init__(self, name: str, probabilities: bool) -> None:
        self.canary, self.probabilities, self.row = CANARIES[name], probabilities, 0

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        scores = self.canary(texts, labels, self.row)
        self.row += len(texts)
        return 1 / (1 + np.exp(-scores / 10)) if self.probabilities else scores


def chance(targets: Sequence[np.ndarray], draws: int = 300, seed: int = 2) -> np.ndarray:
    """(draws, n) average precision of each row's labels under uniform random scores; rows need both kinds of label."""
    rng, found = np.random.default_rng(seed), np.empty((draws, len(targets)))
    for i, target in enumerate(targets):
        order = rng.permuted(np.tile(target, (draws, 1)), axis=1)  # targets from the best rank to the worst
        precision = order.cumsum(axis=1) / np.arange(1, len(target) + 1)
        found[:, i] = (precision * order).sum(axis=1) / target.sum()
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Interval that contains a chance result with probability 0.9999: mean and 3.9 standard deviations."""
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    return mean - 3.9 * spread, mean + 3.9 * spread
