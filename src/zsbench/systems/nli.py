"""NLI cross-encoder: entailment of the hypothesis that a template makes of each label."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from gliznet.checkpoint_files import check_files
from hybridnli.data import DEFAULT_TEMPLATE
from hybridnli.encoder import NLIEncoder, score_ids
from zsbench.store.layout import Layout
from zsbench.systems import model_folder
from zsbench.systems.base import Adapter, Neutraliser, check_request


class NLISystem(Adapter):
    """Equal to the transformers zero-shot pipeline.

    Where labels are judged one by one it is P(entailment), the pipeline with `multi_label=True`. Where one label is
    true it is the entailment logit, whose softmax over the labels is the pipeline with `multi_label=False`: the other
    classes' logits have no say there.

    Every text and hypothesis is tokenised once; pairs run in length-sorted batches.
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        super().__init__(spec)
        folder = model_folder(spec, layout)
        check_files(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.neutralise = Neutraliser(tokenizer)
        self.encoder = NLIEncoder(
            folder,
            tokenizer,
            spec["settings"].get("template") or DEFAULT_TEMPLATE,
            device=self.device,
            dtype="bfloat16" if self.precision == "bf16" else "float32",
        )

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Entailment logits (n, L), or P(entailment); see `base.System`."""
        check_request(texts, labels)
        encoder = self.encoder
        text_ids = encoder.tokenize(self.neutralise(texts))
        hypothesis_ids = encoder.tokenize(encoder.hypotheses(self.neutralise(labels)))
        room = encoder.max_length - encoder.pair.count - np.array([len(ids) for ids in hypothesis_ids])  # (L,)
        self.count(truncated_texts=sum(len(ids) > room.min() for ids in text_ids))
        score = encoder.entailment if self.probabilities else encoder.entailment_logits
        return score_ids(encoder, text_ids, hypothesis_ids, encoder.max_length, self.token_budget, score=score)


def build(spec: dict[str, Any], layout: Layout) -> NLISystem:
    """Load the model that the spec names."""
    return NLISystem(spec, layout)
