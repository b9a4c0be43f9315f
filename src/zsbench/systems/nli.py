"""NLI cross-encoder: entailment of a hypothesis built from each label with a template.

Shapes: n texts, L labels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hybridnli.encoder import NLIEncoder, score_ids
from zsbench.families import NLIOptions
from zsbench.store.layout import Layout
from zsbench.systems.base import Adapter
from zsbench.systems.texts import EscapeSpecialTokens, check_request


class NLISystem(Adapter):
    """Equivalent to the transformers zero-shot pipeline.

    In multi-label suites the score is P(entailment), as in the pipeline with `multi_label=True`. In single-label suites
    it is the entailment logit; its softmax over the labels is the pipeline's output with `multi_label=False`, which
    ignores the logits of the other classes.

    Every text and hypothesis is tokenised once; pairs are scored in length-sorted batches.
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        super().__init__(spec, layout)
        template = NLIOptions.model_construct(**spec["settings"]).template
        self.encoder = NLIEncoder(self.folder, template=template, device=self.device, dtype=self.dtype)
        self.escape = EscapeSpecialTokens(self.encoder.tokenizer)

    @property
    def network(self) -> torch.nn.Module:
        return self.encoder.model

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Entailment logits (n, L), or P(entailment); see `System`."""
        check_request(texts, labels)
        encoder = self.encoder
        text_ids = encoder.tokenize(self.escape(texts))
        hypothesis_ids = encoder.tokenize(encoder.hypotheses(self.escape(labels)))
        room = encoder.max_length - encoder.pair.count - np.array([len(ids) for ids in hypothesis_ids])  # (L,)
        self.count(truncated_texts=sum(len(ids) > room.min() for ids in text_ids))
        score = encoder.entailment if self.probabilities else encoder.entailment_logits
        return score_ids(encoder, text_ids, hypothesis_ids, encoder.max_length, self.token_budget, score=score)
