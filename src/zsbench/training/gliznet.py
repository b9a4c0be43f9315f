"""GliZNet as a task of the shared training loop."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.predictor import score_texts
from gliznet.tokenizer import GliZNETTokenizer
from zsbench.training.task import Task


class GliZNetTask(Task):
    """A newly initialised head on a pretrained encoder, with the options of a variant."""

    model: GliZNetForSequenceClassification
    tokenizer: GliZNETTokenizer

    def load(self, backbone: Path) -> None:
        limits = {"max_length": self.recipe.max_length, "max_labels": self.recipe.max_labels}
        options = GliZNetOptions(**(self.options | limits))
        self.tokenizer = GliZNETTokenizer.from_pretrained(backbone, options)
        self.model = GliZNetForSequenceClassification.from_backbone(backbone, self.tokenizer, options)
        texts = self.train.texts + self.validation.texts
        self.text_ids = dict(zip(texts, self.tokenizer.tokenize_texts(texts), strict=True))

    def collate(
        self, texts: Sequence[str], label_lists: Sequence[Sequence[str]], targets: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        rows = [
            self.tokenizer.build_row(self.text_ids[text], labels)
            for text, labels in zip(texts, label_lists, strict=True)
        ]
        return {**self.tokenizer.pad(rows), "labels": targets}

    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The model's loss terms and their weighted sum, `total`."""
        output = model(**batch)
        return dict(output.losses) | {"total": output.loss}

    def score(self, texts: Sequence[str], label_lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Logits of the labels."""
        return list(score_texts(self.model.eval(), self.tokenizer, texts, label_lists))

    def save(self, state: dict[str, torch.Tensor], folder: Path) -> None:
        self.model.card_facts = self.card_facts
        super().save(state, folder)

    def is_encoder(self, name: str) -> bool:
        return name.startswith("backbone.")
