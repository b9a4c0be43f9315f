"""GliZNet: a checkpoint trained in this run, or a published one."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gliznet.model import GliZNetForSequenceClassification
from gliznet.predictor import ScoringReport, score_texts
from gliznet.tokenizer import GliZNETTokenizer
from gliznet.truncation import SERVED, LabelBudgetError
from zsbench.families import GliZNetOptions
from zsbench.store.layout import Layout
from zsbench.systems import LabelSetError
from zsbench.systems.base import Adapter
from zsbench.systems.texts import check_request

LOST = np.float32(-1e30)  # logit of a label lost to reference truncation: below all others, but finite


class GliZNetSystem(Adapter):
    """Logits, or their sigmoids in multi-label suites.

    Option `truncation` overrides that of the checkpoint; "reference" matches the published pipeline.
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        super().__init__(spec, layout)
        model = GliZNetForSequenceClassification.from_pretrained(self.folder, dtype=torch.float32)
        self.model = model.to(self.device).eval()
        options, truncation = self.model.options, GliZNetOptions.model_construct(**spec["settings"]).truncation
        if truncation is not None:
            numbers = SERVED if truncation == "reference" else {}
            options = dataclasses.replace(options, truncation=truncation, **numbers)
        self.tokenizer = GliZNETTokenizer.from_pretrained(self.folder, options)

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores (n, L); see `System`.

        Raises:
            LabelSetError: a single label does not fit into a sequence.
        """
        check_request(texts, labels)
        report = ScoringReport()
        try:
            chunks = self.tokenizer.plan_chunks(list(dict.fromkeys(labels)))
        except LabelBudgetError as error:
            raise LabelSetError(str(error)) from error
        self._chunks = 1 if self.model.options.order_invariant else len(chunks)  # chunking has no effect there
        logits = score_texts(
            self.model,
            self.tokenizer,
            texts,
            labels,
            token_budget=self.token_budget,
            autocast_dtype="bf16" if self.precision == "bf16" else None,
            report=report,
        )
        values = np.asarray(logits)
        self.count(
            truncated_texts=report.truncated_texts,
            truncated_labels=report.truncated_labels,
            lost_labels=report.lost_labels,
        )
        lost = np.isneginf(values)
        if lost.sum() == report.lost_labels:  # other infinite values are errors, reported by the scorer
            values = np.where(lost, LOST, values)
        if self.probabilities:
            return np.exp(-np.logaddexp(0.0, -values.astype(np.float64)))
        return values
