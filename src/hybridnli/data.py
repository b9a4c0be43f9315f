"""Label sets and the published topic benchmark: its five topics, their descriptions and its split."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["DEFAULT_TEMPLATE", "TOPICS", "LabelSet", "published_split"]

# The default template of transformers' zero-shot pipeline. The published scores use it although the label descriptions
# are complete sentences ("This example is This text is about ...."). "{}" uses descriptions unchanged.
DEFAULT_TEMPLATE = "This example is {}."


@dataclass(frozen=True)
class LabelSet:
    """The labels of a task in column order, and which of them have a trained head.

    Attributes:
        descriptions: label name -> description; its order is the column order of every score matrix.
        specialists: names of the labels with a PolyEncoder head, in the order of the heads; the others are scored by
            the NLI model only.

    Raises:
        ValueError: no labels, no specialists, an empty description, or an unknown or duplicate specialist.
    """

    descriptions: Mapping[str, str]
    specialists: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.descriptions or not self.specialists:
            raise ValueError(
                f"descriptions {list(self.descriptions)} and specialists {list(self.specialists)}: both need at least "
                "one label (without specialists there is nothing to train: use the NLI scores themselves)"
            )
        empty = [name for name, text in self.descriptions.items() if not text.strip()]
        if empty:
            raise ValueError(f"descriptions: those of {empty} are empty; each label needs one")
        unknown = [name for name in self.specialists if name not in self.descriptions]
        if unknown:
            raise ValueError(f"specialists: {unknown} are not labels; allowed: {list(self.descriptions)}")
        if len(set(self.specialists)) != len(self.specialists):
            raise ValueError(f"specialists: {list(self.specialists)} names a label twice")

    @property
    def names(self) -> tuple[str, ...]:
        """Label names in column order."""
        return tuple(self.descriptions)

    @property
    def specialist_columns(self) -> list[int]:
        """Column of each specialist in a score matrix, in head order."""
        return [self.names.index(name) for name in self.specialists]


TOPICS = LabelSet(
    descriptions={
        name: f"This text is about {subject}"
        for name, subject in {
            "Technology": "technology, software, hardware, artificial intelligence, or digital innovation",
            "Health": "medicine, healthcare, wellness, disease, medical research, or public health",
            "Finance": "banking, investment, stock markets, corporate earnings, or financial instruments",
            "Economy": "economic policy, GDP, employment, trade, inflation, or macroeconomic trends",
            "Environment": "climate change, pollution, ecology, sustainability, conservation, or nature",
        }.items()
    },
    specialists=("Economy", "Technology", "Finance", "Environment"),
)


def published_split(n: int, seed: int = 42, train_fraction: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """The split of the published run: shuffle indices with Python's generator and train on the first ones.

    The model card calls the split stratified; the published code does not stratify, and neither does this.

    Args:
        n: number of rows (>= 2).
        seed: seed of `random.Random`; its shuffle equals `random.shuffle` after `random.seed(seed)`.
        train_fraction: fraction of training rows, in (0, 1); their number is rounded down.

    Returns:
        Indices of the training rows and of the validation rows, in shuffled order (int64).

    Raises:
        ValueError: one side of the split would be empty.
    """
    order = list(range(n))
    random.Random(seed).shuffle(order)
    cut = int(n * train_fraction)
    if not 0 < cut < n:
        raise ValueError(f"train_fraction: {train_fraction} of n={n} rows leaves one side without a row")
    return np.array(order[:cut], dtype=np.int64), np.array(order[cut:], dtype=np.int64)
