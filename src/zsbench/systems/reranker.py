"""Reranker: a sentence-transformers CrossEncoder with the label as query and the text as passage.

Shapes: n texts, L labels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from gliznet.batching import token_budget_batches
from gliznet.device import to_host
from gliznet.fast.packed import first_token_only
from zsbench.families import RerankerOptions
from zsbench.store.layout import Layout
from zsbench.systems import UnknownSystemError
from zsbench.systems.base import Adapter
from zsbench.systems.sentences import load_sentences
from zsbench.systems.texts import EscapeSpecialTokens, check_request


class RerankerSystem(Adapter):
    """One score per (label, text) pair; for causal models (Qwen3-Reranker), logit("yes") - logit("no").

    Raises:
        UnknownSystemError: the model has several outputs per pair (use family `nli` for an NLI model).
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        super().__init__(spec, layout)
        self.model, self.limit = load_sentences(CrossEncoder, self.folder, self.device)
        if self.model.num_labels != 1:
            raise UnknownSystemError(
                f"systems.{spec['system']}.model: {self.model.num_labels} outputs per pair; a reranker has 1"
            )
        options = RerankerOptions.model_construct(**spec["settings"])
        self.template, self.prompt = options.template, options.prompt
        self.escape = EscapeSpecialTokens(self.model.tokenizer)
        # Tokens around query and passage: special tokens, or the chat template of a causal model.
        self.frame: int = self.model.preprocess([("", "")], prompt=self.prompt)["input_ids"].shape[1]

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores (n, L), or their sigmoids; see `System`."""
        check_request(texts, labels)
        passages = self.escape(texts)
        queries = self.escape([self.template.format(label) for label in labels])
        both = self._lengths(passages)[:, None] + self._lengths(queries) + self.frame  # (n, L)
        self.count(truncated_texts=int((both > self.limit).any(axis=1).sum()))
        lengths = both.ravel()
        scores = np.empty(len(lengths), dtype=np.float32)

        def launch(batch: list[int]) -> torch.Tensor:
            pairs = [(queries[i % len(labels)], passages[i // len(labels)]) for i in batch]
            with self.autocast(), first_token_only(self.model):
                return self.model.predict(
                    pairs,
                    prompt=self.prompt,
                    batch_size=len(batch),
                    show_progress_bar=False,
                    activation_fn=torch.nn.Identity(),
                    convert_to_tensor=True,
                ).float()

        batches = token_budget_batches(np.minimum(lengths, self.limit).tolist(), self.token_budget)
        for batch, values in to_host((batch, launch(batch)) for batch in batches):
            scores[batch] = values.numpy()
        if self.probabilities:
            scores = 1 / (1 + np.exp(-scores.clip(-80, 80)))
        return scores.reshape(len(texts), len(labels))

    def _lengths(self, strings: Sequence[str]) -> np.ndarray:
        """(n,) number of tokens of each string, without special tokens."""
        if not strings:
            return np.zeros(0, dtype=np.int64)
        ids = self.model.tokenizer(list(strings), add_special_tokens=False, truncation=False, verbose=False)[
            "input_ids"
        ]
        return np.array([len(row) for row in ids], dtype=np.int64)
