"""Bi-encoder: cosine of the sentence embeddings of text and label.

Shapes: n texts, L labels, D embedding size.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from gliznet.batching import token_budget_batches
from gliznet.device import to_device
from zsbench.families import BiEncoderOptions
from zsbench.store.layout import Layout
from zsbench.systems.base import Adapter
from zsbench.systems.sentences import load_sentences
from zsbench.systems.texts import EscapeSpecialTokens, check_request


class BiEncoderSystem(Adapter):
    """A sentence-transformers model.

    A cosine is not a probability. In multi-label suites the score is (1 + cosine) / 2, which is in [0, 1] but not
    calibrated at 1/2.
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        super().__init__(spec, layout)
        self.model, self.limit = load_sentences(SentenceTransformer, self.folder, self.device)
        options, prompts = BiEncoderOptions.model_construct(**spec["settings"]), dict[str, Any](self.model.prompts)
        self.template = options.template
        self.text_prompt: str = prompts.get("query", "") if options.text_prompt is None else options.text_prompt
        self.label_prompt: str = prompts.get("document", "") if options.label_prompt is None else options.label_prompt
        self.escape = EscapeSpecialTokens(self.model.tokenizer)
        self._labels: dict[str, torch.Tensor] = {}

    def embed(self, texts: Sequence[str], prompt: str) -> tuple[torch.Tensor, int]:
        """L2-normalised embeddings (n, D) float32 in input order, and the number of truncated texts."""
        plain = self.escape(texts)
        encoded = self.model.tokenizer([prompt + text for text in plain], truncation=False, verbose=False)["input_ids"]
        lengths = [len(ids) for ids in encoded]
        out = torch.empty(len(plain), self.model.get_embedding_dimension() or 0, device=self.device)
        with self.autocast():
            for batch in token_budget_batches([min(length, self.limit) for length in lengths], self.token_budget):
                rows = self.model.encode(
                    [plain[i] for i in batch],
                    prompt=prompt,  # "" is not None, which would select the model's default prompt
                    batch_size=len(batch),
                    show_progress_bar=False,
                    convert_to_tensor=True,
                )
                out[to_device(torch.tensor(batch), self.device)] = torch.nn.functional.normalize(rows.float(), dim=-1)
        return out, sum(length > self.limit for length in lengths)

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores (n, L); see `System`."""
        check_request(texts, labels)
        new = [label for label in dict.fromkeys(labels) if label not in self._labels]
        if new:
            rows, cut = self.embed([self.template.format(label) for label in new], self.label_prompt)
            self._labels |= dict(zip(new, rows, strict=True))
            self.count(truncated_labels=cut)
        if not texts:
            return np.zeros((0, len(labels)), dtype=np.float32)
        E, cut = self.embed(texts, self.text_prompt)
        self.count(truncated_texts=cut)
        cosine = (E @ torch.stack([self._labels[label] for label in labels]).T).cpu().numpy()  # (n, L)
        return np.clip((1 + cosine) / 2, 0, 1) if self.probabilities else cosine
