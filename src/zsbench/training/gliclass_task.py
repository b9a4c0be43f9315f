"""GLiClass as a task of the shared training loop: the uni-encoder and the loss of package `gliclass`.

B batch, K labels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer

from gliznet.batching import token_budget_batches
from zsbench.systems.base import Neutraliser
from zsbench.training.recipe import Recipe
from zsbench.training.rows import EvaluationRows, Rows, draw_labels
from zsbench.training.task import Task

LABEL, SEPARATOR = "<<LABEL>>", "<<SEP>>"
MARKERS = [LABEL, SEPARATOR]
VALIDATION_TOKENS = 4096  # padded tokens of a validation batch


class GLiClassTask(Task):
    """`<<LABEL>>a<<LABEL>>b<<SEP>>text` in one pass, each label's marker scored against the first token.

    Model and loss have the package's defaults (first-token pooling, dot-product scorer, focal loss with alpha 0.5 and
    gamma 2); only what its default cannot be (the kind of problem, and labels before the text, so that a long text
    loses words and no labels) is set, as its own training script does.

    Args:
        backbone: folder of the encoder and its tokenizer.
        options: none are known; the package's defaults are what is compared.
        seed: seed of the projections' initial weights and of the markers' embeddings.
    """

    model: Any  # the package is not typed

    def __init__(
        self,
        backbone: Path,
        options: dict[str, Any],
        train: Rows,
        validation: EvaluationRows,
        seed: int,
        recipe: Recipe,
    ) -> None:
        if options:
            raise ValueError(f"options={options!r} are not allowed: GLiClass is trained as its package makes it")
        self.tokenizer = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)
        self.tokenizer.add_tokens(MARKERS, special_tokens=True)
        self.tokenizer.model_max_length = recipe.max_length  # where the adapter cuts a model that was trained here
        self.neutralise = Neutraliser(self.tokenizer, MARKERS)
        torch.manual_seed(seed)
        self.model = _fresh_model(backbone, self.tokenizer)
        self.train, self.validation, self.max_labels = train, validation, recipe.max_labels
        self.lengths = train.lengths

    def encode(self, texts: Sequence[str], label_sets: Sequence[Sequence[str]]) -> list[list[int]]:
        """Token ids of each text behind its own labels, cut at the end."""
        plain = [self.neutralise(labels) for labels in label_sets]
        heads = ["".join(LABEL + label for label in labels) + SEPARATOR for labels in plain]
        whole = [head + text for head, text in zip(heads, self.neutralise(texts), strict=True)]
        return self.tokenizer(whole, truncation=True)["input_ids"]

    def pad(self, ids: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """What the model reads of a batch."""
        batch = self.tokenizer.pad({"input_ids": list(ids)}, return_tensors="pt")
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}

    def collate(self, rows: Sequence[int], seed: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """Tensors of a micro-batch and its targets (B, K)."""
        drawn = [draw_labels(self.train, row, self.max_labels, seed) for row in rows]
        ids = self.encode([self.train.texts[row] for row in rows], [labels for labels, _ in drawn])
        shape = (len(rows), max(len(values) for _, values in drawn))
        targets = torch.full(shape, float(self.model.config.ignore_index))  # (B, K)
        for target, (_, values) in zip(targets, drawn, strict=True):
            target[: len(values)] = torch.tensor(values, dtype=torch.float32)
        return self.pad(ids) | {"labels": targets}

    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The package's own loss."""
        return {"total": model(**batch, max_num_classes=batch["labels"].shape[1]).loss}

    @torch.inference_mode()
    def score(
        self,
        model: torch.nn.Module,
        texts: Sequence[str],
        label_lists: Sequence[Sequence[str]],
        device: torch.device,
    ) -> list[np.ndarray]:
        """Logits of the labels' markers."""
        ids = self.encode(texts, label_lists)
        scores: list[np.ndarray] = [np.empty(0)] * len(ids)
        for batch in token_budget_batches([len(row) for row in ids], VALIDATION_TOKENS):
            inputs = {name: tensor.to(device) for name, tensor in self.pad([ids[i] for i in batch]).items()}
            logits = model(**inputs, max_num_classes=max(len(label_lists[i]) for i in batch)).logits  # (B, K)
            for i, row in zip(batch, logits.float().cpu().numpy(), strict=True):
                scores[i] = row[: len(label_lists[i])]
        return scores

    def is_encoder(self, name: str) -> bool:
        return name.startswith("model.encoder_model.")

    def save(self, state: dict[str, torch.Tensor], folder: Path) -> None:
        """The package's own format, loaded by `GLiClassModel.from_pretrained`."""
        self.model.save_pretrained(folder, state_dict=state)
        self.tokenizer.save_pretrained(folder)


def _fresh_model(backbone: Path, tokenizer: Any) -> Any:
    """A fresh GLiClass head on the pretrained encoder, with rows for the marker tokens."""
    from gliclass import GLiClassModel, GLiClassModelConfig

    encoder_config = AutoConfig.from_pretrained(backbone, trust_remote_code=False)
    encoder_config.name_or_path = "backbone"  # a checkpoint must not hold a folder of this machine
    config = GLiClassModelConfig(
        encoder_config=encoder_config,
        encoder_model="backbone",
        class_token_index=tokenizer.convert_tokens_to_ids(LABEL),
        text_token_index=tokenizer.convert_tokens_to_ids(SEPARATOR),
        problem_type="multi_label_classification",
        prompt_first=True,
    )
    model = GLiClassModel(config)
    # The package would read pickles too, and in whatever precision the file has.
    encoder = type(model.model.encoder_model).from_pretrained(
        backbone, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    model.model.encoder_model = encoder
    model.resize_token_embeddings(max(len(tokenizer), encoder.get_input_embeddings().num_embeddings))
    for name, parameter in model.named_parameters():
        # No part of the scores; several processes would wait for their gradients.
        if ".pooler." in name or name == "model.logit_scale":
            parameter.requires_grad_(False)
    return model
