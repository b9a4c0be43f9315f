"""HybridNLI: trained heads on stored features, and blends that isolate the contribution of each part.

Shapes: n texts, L labels, S labels with a head.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hybridnli.checkpoint import load_model_from_checkpoint
from hybridnli.features import CheckedShards
from hybridnli.model import TEXT_TOKENS, blend_scores
from hybridnli.training import head_probabilities
from zsbench.families import HybridOptions
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.systems import LabelSetError, UnknownSystemError
from zsbench.systems.base import Adapter
from zsbench.systems.hybrid_features import CHECKPOINT, features, open_encoder
from zsbench.systems.texts import EscapeSpecialTokens, check_request


class HybridSystem(Adapter):
    """A blend (option `blend`) of NLI scores and head probabilities; the heads are trained in this run or published.

    Raises:
        UnknownSystemError: the heads were trained on a different NLI model.
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        super().__init__(spec, layout)
        options = HybridOptions.model_construct(**spec["settings"])
        self.blend, self.layout, (kind, model) = options.blend, layout, spec["model"]
        record = read_json(layout.model(model, spec["seed"])) if kind == "hybrid" else None
        self.training = record["spec"] if record else _published(spec, options)
        self.encoder = open_encoder(self.training, layout, str(self.device))
        if record and record["nli_identity"] != self.encoder.identity:  # a published checkpoint has no record
            raise UnknownSystemError(
                f"systems.{spec['system']}: {model!r} was trained on a different NLI model; train it again"
            )
        self.model, _ = load_model_from_checkpoint(self.folder / CHECKPOINT, self.encoder)
        self.descriptions = dict(self.model.labels.descriptions)
        self.checked: CheckedShards = {}  # shards of the store already read and verified

    @property
    def learned(self) -> torch.nn.Module:
        """The heads and blend weights; the NLI model is frozen."""
        return torch.nn.ModuleList([self.model.poly_heads, torch.nn.ParameterList([self.model.alpha_raw])])

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores (n, L) in [0, 1]; see `System`.

        Raises:
            LabelSetError: the labels differ from those that the heads were trained for.
        """
        check_request(texts, labels)
        escape = EscapeSpecialTokens(self.encoder.tokenizer)
        if escape(labels) != list(self.descriptions.values()):
            raise LabelSetError(
                f"labels {list(labels)} are not those of the trained heads; allowed: {list(self.descriptions.values())}"
            )
        if not len(texts):
            return np.zeros((0, len(labels)))
        store = features(self.training, self.layout, self.encoder, list(texts), self.descriptions, self.checked)
        room = min(self.training["training"]["max_length"], self.encoder.max_length) - self.encoder.single.count
        self.count(truncated_texts=sum(len(ids) > room for ids in self.encoder.tokenize(escape(texts))))
        if self.blend == "nli":
            return store.nli.astype(np.float64)
        learned = self.model.alphas.detach().cpu().numpy().astype(np.float64)
        alphas: dict[str, np.ndarray | float] = {"learned": learned, "heads": 0.0, "half": 0.5}
        heads = head_probabilities(self.model, store, np.arange(len(store)))  # (n, S)
        return blend_scores(store.nli, heads, alphas[self.blend], self.model.labels.specialist_columns)


def _published(spec: dict[str, Any], options: HybridOptions) -> dict[str, Any]:
    """The record of a published checkpoint, in the form of a training record: NLI model, template and length limit."""
    return {
        "nli": options.nli,
        "nli_kind": "source",
        "seed": spec["seed"],
        "template": options.template,
        "precision": spec["precision"],
        "token_budget": spec["token_budget"],
        "training": {"max_length": TEXT_TOKENS},
    }
