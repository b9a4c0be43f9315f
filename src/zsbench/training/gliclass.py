"""GLiClass as a task of the shared training loop: the uni-encoder and the loss of the `gliclass` package.

Shapes: B batch, K labels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer

from gliznet.batching import token_budget_batches
from gliznet.device import to_device, to_host
from zsbench.systems.texts import EscapeSpecialTokens
from zsbench.training.task import VALIDATION_TOKENS, Task

LABEL, SEPARATOR = "<<LABEL>>", "<<SEP>>"
MARKERS = [LABEL, SEPARATOR]


class GLiClassTask(Task):
    """`<<LABEL>>a<<LABEL>>b<<SEP>>text` in one pass; each label's marker is scored against the first token.

    Model and loss use the package's defaults (first-token pooling, dot-product scorer, focal loss with alpha 0.5 and
    gamma 2) except for two settings, as in its training script: the problem type, and labels before the text, so that
    truncation removes words rather than labels.
    """

    model: Any  # the package has no type hints

    def load(self, backbone: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)
        self.tokenizer.add_tokens(MARKERS, special_tokens=True)
        self.tokenizer.model_max_length = self.recipe.max_length  # the adapter truncates at this length
        self.escape = EscapeSpecialTokens(self.tokenizer, MARKERS)
        self.model = _fresh_model(backbone, self.tokenizer)

    def encode(self, texts: Sequence[str], label_lists: Sequence[Sequence[str]]) -> list[list[int]]:
        """Token ids of each text after its own labels, truncated at the end."""
        heads = ["".join(LABEL + label for label in self.escape(labels)) + SEPARATOR for labels in label_lists]
        whole = [head + text for head, text in zip(heads, self.escape(texts), strict=True)]
        return self.tokenizer(whole, truncation=True)["input_ids"]

    def collate(
        self, texts: Sequence[str], label_lists: Sequence[Sequence[str]], targets: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return self.pad(self.encode(texts, label_lists)) | {"labels": targets}

    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The package's loss, as `total`."""
        return {"total": model(**batch, max_num_classes=batch["labels"].shape[1]).loss}

    @torch.inference_mode()
    def score(self, texts: Sequence[str], label_lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Logits of the label markers."""
        ids = self.encode(texts, label_lists)
        scores: list[np.ndarray] = [np.empty(0)] * len(ids)

        def launch(batch: list[int]) -> torch.Tensor:
            inputs = self.pad([ids[i] for i in batch])
            most = max(len(label_lists[i]) for i in batch)
            on_device = {name: to_device(tensor, self.device) for name, tensor in inputs.items()}
            return self.model(**on_device, max_num_classes=most).logits.float()  # (B, K)

        batches = token_budget_batches([len(row) for row in ids], VALIDATION_TOKENS)
        for batch, logits in to_host((batch, launch(batch)) for batch in batches):
            for i, row in zip(batch, logits.numpy(), strict=True):
                scores[i] = row[: len(label_lists[i])]
        return scores

    def is_encoder(self, name: str) -> bool:
        return name.startswith("model.encoder_model.")


def _fresh_model(backbone: Path, tokenizer: Any) -> Any:
    """A new GLiClass head on the pretrained encoder, with embeddings for the marker tokens."""
    from gliclass import GLiClassModel, GLiClassModelConfig

    encoder_config = AutoConfig.from_pretrained(backbone, dtype=torch.float32, trust_remote_code=False)
    encoder_config.name_or_path = "backbone"  # do not store local paths in checkpoints
    config = GLiClassModelConfig(
        encoder_config=encoder_config,
        encoder_model="backbone",
        class_token_index=tokenizer.convert_tokens_to_ids(LABEL),
        text_token_index=tokenizer.convert_tokens_to_ids(SEPARATOR),
        problem_type="multi_label_classification",
        prompt_first=True,
    )
    model = GLiClassModel(config)
    # The package would also read pickles, and keep the precision of the file.
    encoder = type(model.model.encoder_model).from_pretrained(
        backbone, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    model.model.encoder_model = encoder
    model.resize_token_embeddings(max(len(tokenizer), encoder.get_input_embeddings().num_embeddings))
    # Not used by the scores; distributed training would wait for their gradients. FSDP cannot shard a scalar parameter.
    for name, parameter in model.named_parameters():
        if ".pooler." in name:
            parameter.requires_grad_(False)
    scale = model.model.logit_scale.detach()
    del model.model.logit_scale
    model.model.register_buffer("logit_scale", scale)
    return model
