"""A two-class NLI cross-encoder as a task of the shared training loop: rows become (text, hypothesis) pairs.

Shapes: P pairs per micro-batch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from gliznet.fast.packed import first_token_only
from hybridnli.encoder import NLIEncoder, pair_scores
from zsbench.systems.texts import EscapeSpecialTokens
from zsbench.training.task import IGNORED, Task

PAIRS_PER_TEXT = 3  # labels drawn per text and step; a cross-encoder needs one pass per pair
LABELS = {"entailment": 0, "not_entailment": 1}


class NLITask(Task):
    """Classifies whether the text entails `options["template"].format(label)`."""

    model: PreTrainedModel

    def load(self, backbone: Path) -> None:
        self.template, self.labels_per_text = self.options["template"], PAIRS_PER_TEXT
        self.tokenizer = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)
        self.tokenizer.model_max_length = self.recipe.max_length
        self.escape = EscapeSpecialTokens(self.tokenizer)
        names = {i: name for name, i in LABELS.items()}
        config = AutoConfig.from_pretrained(
            backbone, num_labels=2, label2id=LABELS, id2label=names, trust_remote_code=False
        )
        self.model = AutoModelForSequenceClassification.from_pretrained(
            backbone, config=config, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
        self.lengths = np.array([len(text.split()) for text in self.train.texts])

    def collate(
        self, texts: Sequence[str], label_lists: Sequence[Sequence[str]], targets: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Tokens of the pairs, (P, T) each, and their classes (P,)."""
        pairs = [
            (text, self.template.format(label))
            for text, labels in zip(texts, label_lists, strict=True)
            for label in labels
        ]
        encoded = self.tokenizer(
            self.escape([text for text, _ in pairs]),
            self.escape([hypothesis for _, hypothesis in pairs]),
            truncation="only_first",
            max_length=self.recipe.max_length,
            padding=True,
            return_tensors="pt",
        )
        true = targets[targets != IGNORED] == 1  # (P,), in pair order
        classes = torch.where(true, LABELS["entailment"], LABELS["not_entailment"])
        return dict(encoded) | {"classes": classes}

    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Cross-entropy over the two classes, as `total`."""
        inputs: dict[str, Any] = {name: tensor for name, tensor in batch.items() if name != "classes"}
        with first_token_only(model):
            logits = model(**inputs).logits.float()  # (P, 2)
        return {"total": F.cross_entropy(logits, batch["classes"])}

    def score(self, texts: Sequence[str], label_lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """P(entailment) of each (text, hypothesis) pair."""
        dtype = "bfloat16" if self.recipe.precision == "bf16" else "float32"
        encoder = NLIEncoder(self.model, self.tokenizer, self.template, dtype=dtype)
        hypotheses = [encoder.hypotheses(self.escape(labels)) for labels in label_lists]
        return pair_scores(encoder, self.escape(texts), hypotheses)

    def is_encoder(self, name: str) -> bool:
        return name.startswith(self.model.base_model_prefix + ".") and ".pooler." not in name
