"""GliZNet as a task of the shared training loop.

B batch, K labels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.predictor import score_texts
from gliznet.tokenizer import GliZNETTokenizer
from zsbench.training.recipe import Recipe
from zsbench.training.rows import EvaluationRows, Rows, draw_labels
from zsbench.training.task import Task

PADDING = -100.0  # target of a cell without a label


class GliZNetTask(Task):
    """A fresh head on a pretrained encoder, the rows to train it on and the rows to choose it by.

    Args:
        backbone: folder of the encoder and its tokenizer.
        options: switches of the variant, as in config (`max_length` and `max_labels` come from the recipe).
        seed: seed of the head's initial weights.
    """

    model: GliZNetForSequenceClassification

    def __init__(
        self,
        backbone: Path,
        options: dict[str, Any],
        train: Rows,
        validation: EvaluationRows,
        seed: int,
        recipe: Recipe,
    ) -> None:
        limits = {"max_length": recipe.max_length, "max_labels": recipe.max_labels}
        switches = GliZNetOptions(**(options | limits))
        self.tokenizer = GliZNETTokenizer.from_pretrained(backbone, switches)
        torch.manual_seed(seed)
        self.model = GliZNetForSequenceClassification.from_backbone(backbone, self.tokenizer, switches)
        self.train, self.validation, self.max_labels = train, validation, recipe.max_labels
        self.text_ids = self.tokenizer.tokenize_texts(train.texts)
        self.lengths = train.lengths

    def collate(self, rows: Sequence[int], seed: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """Tensors of a micro-batch and its targets (B, K)."""
        drawn = [draw_labels(self.train, row, self.max_labels, seed) for row in rows]
        encoded = [
            self.tokenizer.build_row(self.text_ids[row], labels) for row, (labels, _) in zip(rows, drawn, strict=True)
        ]
        targets = torch.full((len(rows), max(len(labels) for labels, _ in drawn)), PADDING)  # (B, K)
        for i, (_, values) in enumerate(drawn):
            targets[i, : len(values)] = torch.tensor(values, dtype=torch.float32)
        return self.tokenizer.pad(encoded).inputs() | {"labels": targets}

    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The model's own terms and their weighted sum."""
        output = model(**batch)
        return dict(output.losses) | {"total": output.loss}

    def score(
        self,
        model: torch.nn.Module,
        texts: Sequence[str],
        label_lists: Sequence[Sequence[str]],
        device: torch.device,
    ) -> list[np.ndarray]:
        """Logits. The wrapped `model` shares its weights with `self.model`, which is what the predictor takes."""
        return list(score_texts(self.model.eval(), self.tokenizer, texts, label_lists))

    def is_encoder(self, name: str) -> bool:
        return name.startswith("backbone.")

    def save(self, state: dict[str, torch.Tensor], folder: Path) -> None:
        """The published checkpoint format: config.json, model.safetensors, the tokenizer with `[LAB]`."""
        self.model.save_pretrained(folder, state_dict=state)
        self.tokenizer.save_pretrained(folder)
