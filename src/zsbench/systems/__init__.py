"""Interfaces of systems: anything that scores texts against labels. Each family has a file with its adapter.

Shapes: n texts or rows, L labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from zsbench.store.errors import ConfigError


@runtime_checkable
class System(Protocol):
    """Scores texts against labels. A custom class only needs `score`."""

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores (n, L) of every text with every label.

        Any real numbers for single-label suites, where the largest wins; probabilities in [0, 1] for multi-label
        suites. Equal arguments must give equal scores.
        """
        ...


def gold_matrix(gold: Sequence[Sequence[int]], labels: int) -> np.ndarray:
    """Lists of label indices as (n, L) of 0.0 and 1.0."""
    matrix = np.zeros((len(gold), labels))
    for row, indices in zip(matrix, gold, strict=True):
        row[list(indices)] = 1.0
    return matrix


@dataclass(frozen=True)
class DatasetRows:
    """Rows of a prepared test set, for systems that need more than texts."""

    dataset: str
    task: str  # "single" | "multi"
    labels: list[str]  # names of the score columns
    sample_ids: list[str]
    splits: list[str]
    gold: list[list[int]]

    @property
    def matrix(self) -> np.ndarray:
        """Gold as (n, L) of 0.0 and 1.0."""
        return gold_matrix(self.gold, len(self.labels))


@runtime_checkable
class RowSystem(Protocol):
    """Scores whole rows: controls, which may see the gold labels, and imported scores."""

    def score_rows(self, rows: DatasetRows) -> np.ndarray:
        """Scores (n, L)."""
        ...


class TaskSystem:
    """A system whose scores depend on the suite's `task`.

    The adapter sets it from its spec. The scorer sets it again before each suite, because suites share a loaded system.
    With "multi", each label is decided independently, so scores must be probabilities.
    """

    task: str

    @property
    def probabilities(self) -> bool:
        """Whether scores must be independent probabilities of each label."""
        return self.task == "multi"


class UnknownSystemError(ConfigError):
    """A system cannot be built; the message names its key and the problem."""


class LabelSetError(ValueError):
    """A system cannot handle the label set of a data set; the message gives the reason.

    The cell becomes "not applicable" and is not retried. Custom classes may raise this error, too.
    """
