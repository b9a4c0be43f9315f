"""What the training loop needs of a model family."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from zsbench.training.rows import EvaluationRows, Rows, mean_average_precision


class Task(ABC):
    """One family's model, the rows it is trained on and the rows it is chosen by.

    Attributes:
        model: what is trained.
        train: training rows; `collate` draws labels from them.
        validation: rows with their labels in the stored order (`zsbench.data.label_order`).
        lengths: (n,) approximate number of tokens per training row, used to batch rows of similar length.
    """

    model: torch.nn.Module
    train: Rows
    validation: EvaluationRows
    lengths: np.ndarray

    @abstractmethod
    def collate(self, rows: Sequence[int], seed: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """Tensors of a micro-batch; everything random in it is a function of `seed` and the row."""

    @abstractmethod
    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Scalar loss terms by name; `total` is minimised."""

    @abstractmethod
    def score(
        self,
        model: torch.nn.Module,
        texts: Sequence[str],
        label_lists: Sequence[Sequence[str]],
        device: torch.device,
    ) -> list[np.ndarray]:
        """Scores of each text with each of its own labels, larger is likelier: n arrays (K_i,)."""

    @torch.no_grad()
    def validate(self, model: torch.nn.Module, device: torch.device) -> float:
        """Mean average precision on the validation rows: the one selection metric of all families, larger is better.

        A family implements `score` and never sees the targets, so that none can measure itself differently.
        """
        rows = self.validation
        return mean_average_precision(self.score(model, rows.texts, rows.labels, device), rows.targets)

    @abstractmethod
    def is_encoder(self, name: str) -> bool:
        """Whether the named parameter belongs to the pretrained encoder (trained at `learning_rate`)."""

    @abstractmethod
    def save(self, state: dict[str, torch.Tensor], folder: Path) -> None:
        """Write a loadable checkpoint with these weights."""
