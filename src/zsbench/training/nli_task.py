"""A two-class NLI cross-encoder, trained on the same rows recast as (text, hypothesis) pairs.

B texts of a micro-batch, P pairs of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from gliznet.fast.deberta import use_fast_attention
from hybridnli.encoder import NLIEncoder, pair_scores
from zsbench.systems.base import Neutraliser
from zsbench.training.recipe import Recipe
from zsbench.training.rows import EvaluationRows, Rows, draw_labels
from zsbench.training.task import Task

PAIRS_PER_TEXT = 3  # a cross-encoder pays one pass a label: pairs drawn of each text and step
LABELS = {"entailment": 0, "not_entailment": 1}


class NLITask(Task):
    """Entailment of `template.format(label)` by the text.

    Args:
        backbone: folder of the encoder and its tokenizer.
        options: `template`, the hypothesis template with one `{}`.
        seed: seed of the classifier's initial weights.
    """

    model: PreTrainedModel

    def __init__(
        self,
        backbone: Path,
        options: dict[str, Any],
        train: Rows,
        validation: EvaluationRows,
        seed: int,
        recipe: Recipe,
    ) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)
        self.tokenizer.model_max_length = recipe.max_length
        config = AutoConfig.from_pretrained(
            backbone,
            num_labels=2,
            label2id=LABELS,
            id2label={i: name for name, i in LABELS.items()},
            trust_remote_code=False,
        )
        torch.manual_seed(seed)
        self.model = AutoModelForSequenceClassification.from_pretrained(
            backbone, config=config, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
        use_fast_attention(self.model)  # before the first step: a training that is resumed must not compute otherwise
        self.neutralise = Neutraliser(self.tokenizer)
        self.train, self.validation = train, validation
        self.template, self.max_length = options["template"], recipe.max_length
        self.precision = recipe.precision
        self.lengths = np.array([len(text.split()) for text in train.texts])

    def collate(self, rows: Sequence[int], seed: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """Tokens of up to `PAIRS_PER_TEXT` pairs a text and their classes (P,)."""
        texts, hypotheses, classes = [], [], []
        for row in rows:
            for label, target in zip(*draw_labels(self.train, row, PAIRS_PER_TEXT, seed), strict=True):
                texts.append(self.train.texts[row])
                hypotheses.append(self.template.format(label))
                classes.append(LABELS["entailment"] if target else LABELS["not_entailment"])
        encoded = self.tokenizer(
            self.neutralise(texts),
            self.neutralise(hypotheses),
            truncation="only_first",
            max_length=self.max_length,
            padding=True,
            return_tensors="pt",
        )
        return dict(encoded) | {"classes": torch.tensor(classes)}

    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Cross-entropy over the two classes."""
        inputs = {name: tensor for name, tensor in batch.items() if name != "classes"}
        return {"total": F.cross_entropy(model(**inputs).logits.float(), batch["classes"])}

    def score(
        self,
        model: torch.nn.Module,
        texts: Sequence[str],
        label_lists: Sequence[Sequence[str]],
        device: torch.device,
    ) -> list[np.ndarray]:
        """P(entailment) of each (text, hypothesis) pair, scored on its own."""
        dtype = "bfloat16" if self.precision == "bf16" else "float32"
        encoder = NLIEncoder(self.model, self.tokenizer, self.template, dtype=dtype)
        hypotheses = [encoder.hypotheses(self.neutralise(labels)) for labels in label_lists]
        return pair_scores(encoder, self.neutralise(texts), hypotheses)

    def is_encoder(self, name: str) -> bool:
        return name.startswith(self.model.base_model_prefix + ".") and ".pooler." not in name

    def save(self, state: dict[str, torch.Tensor], folder: Path) -> None:
        """A plain transformers folder: any zero-shot pipeline can load it."""
        self.model.save_pretrained(folder, state_dict=state)
        self.tokenizer.save_pretrained(folder)
