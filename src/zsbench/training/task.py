"""Interface between the training loop and a model family.

Also contains the parts shared by all families: label sampling, batching, model selection. Shapes: B batch, K labels,
T tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from gliznet.device import to_device
from zsbench.recipe import Recipe
from zsbench.training.rows import EvaluationRows, TrainingRows, draw_labels
from zsbench.training.selection import mean_average_precision

IGNORED = -100.0  # target of padding, where a text has fewer labels
VALIDATION_TOKENS = 4096  # padded tokens per validation batch


class Task(ABC):
    """A family's model with the rows for its training and for model selection.

    Args:
        backbone: folder of the encoder and its tokenizer.
        options: options of the family, as in the config.
        train: training rows, from which `batch` draws labels.
        validation: rows with labels in stored order (`zsbench.data.label_order`).
        seed: seed of the initial weights that do not come from the backbone.
        recipe: training settings.

    Attributes:
        model: the model to train.
        lengths: (n,) approximate length of each training row in words, used to group rows of similar length.
        card_facts: rows for the model card, if the family has one.
    """

    model: torch.nn.Module
    tokenizer: Any

    def __init__(
        self,
        backbone: Path,
        options: dict[str, Any],
        train: TrainingRows,
        validation: EvaluationRows,
        seed: int,
        recipe: Recipe,
    ) -> None:
        self.options, self.train, self.validation, self.recipe = options, train, validation, recipe
        self.lengths = train.lengths
        self.card_facts: dict[str, str] = {}
        self.labels_per_text = recipe.max_labels
        torch.manual_seed(seed)
        self.load(backbone)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @abstractmethod
    def load(self, backbone: Path) -> None:
        """Set `tokenizer` and `model`: the pretrained encoder with the family's newly initialised weights."""

    def batch(self, rows: Sequence[int], seed: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """Tensors of a micro-batch; all randomness is a function of `seed` and the row."""
        drawn = [draw_labels(self.train, row, self.labels_per_text, seed, self.recipe.label_draw) for row in rows]
        labels, targets = zip(*drawn, strict=True)
        return self.collate([self.train.texts[row] for row in rows], labels, padded_targets(targets))

    @abstractmethod
    def collate(
        self, texts: Sequence[str], label_lists: Sequence[Sequence[str]], targets: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Model inputs for texts, each with its own labels.

        Args:
            texts: B texts.
            label_lists: labels of each text, at most K.
            targets: (B, K) 1 true, 0 false, `IGNORED` no label.
        """

    @abstractmethod
    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Scalar loss terms by name; `total` is minimised.

        Args:
            model: `self.model`, or its distributed wrapper, which synchronises the gradients.
            batch: what `collate` returned.
        """

    @abstractmethod
    def score(self, texts: Sequence[str], label_lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Scores of each text with each of its own labels (larger is likelier): n arrays (K_i,)."""

    @torch.no_grad()
    def validate(self) -> float:
        """The recipe's selection metric on the validation rows.

        Mean average precision (larger is better) is comparable across families: a family only implements `score` and
        does not see the targets. The loss (smaller is better) is the family's own.
        """
        rows = self.validation
        if self.recipe.selection == "validation_loss":
            return self._validation_loss()
        return mean_average_precision(self.score(rows.texts, rows.labels), rows.targets)

    def _validation_loss(self) -> float:
        """Mean of the training loss over the validation rows.

        Only the first `max_labels` labels of a row are used; their stored order is pseudo-random.
        """
        rows, size, most = self.validation, self.recipe.per_device_batch, self.recipe.max_labels
        counts, losses = [], []
        for start in range(0, len(rows.texts), size):
            chunk = slice(start, start + size)
            labels, targets = [row[:most] for row in rows.labels[chunk]], [row[:most] for row in rows.targets[chunk]]
            batch = self.collate(rows.texts[chunk], labels, padded_targets(targets))
            batch = {name: to_device(tensor, self.device) for name, tensor in batch.items()}
            losses.append(self.losses(self.model, batch)["total"])
            counts.append(len(rows.texts[chunk]))
        means = torch.stack(losses).tolist()  # read once, because each read synchronises the device
        return sum(mean * count for mean, count in zip(means, counts, strict=True)) / len(rows.texts)

    @abstractmethod
    def is_encoder(self, name: str) -> bool:
        """Whether the named parameter belongs to the pretrained encoder (trained at `learning_rate`)."""

    def save(self, state: dict[str, torch.Tensor], folder: Path) -> None:
        """Write a loadable checkpoint with these weights."""
        model: Any = self.model
        model.save_pretrained(folder, state_dict=state)
        self.tokenizer.save_pretrained(folder)

    def pad(self, ids: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """Padded `input_ids` and `attention_mask`, (B, T) each."""
        batch = self.tokenizer.pad({"input_ids": list(ids)}, return_tensors="pt")
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


def padded_targets(targets: Sequence[Sequence[int] | np.ndarray]) -> torch.Tensor:
    """(B, K) float32 targets (1 true, 0 false, `IGNORED` padding) from B lists of different lengths."""
    rows = [torch.as_tensor(row, dtype=torch.float32) for row in targets]
    return pad_sequence(rows, batch_first=True, padding_value=IGNORED)
