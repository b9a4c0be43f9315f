"""HybridNLI: trained heads over stored features, and the mixtures that say which part of it makes the gain.

n texts, L labels, S labels with a head.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gliznet.batching import token_budget_batches
from hybridnli.checkpoint import load_model_from_checkpoint
from hybridnli.data import DEFAULT_TEMPLATE
from hybridnli.encoder import NLIEncoder
from hybridnli.features import CheckedShards, FeatureStore
from hybridnli.model import TEXT_TOKENS, blend
from zsbench.config.load import suggest
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.systems import LabelSetError, UnknownSystemError, model_folder
from zsbench.systems.base import Adapter, Neutraliser, check_request
from zsbench.training.hybrid import CHECKPOINT, features, open_encoder

EVAL_TOKENS = 32768  # padded tokens in a batch of the heads
BLENDS = ("learned", "heads", "half", "nli")


class HybridSystem(Adapter):
    """One mixture of NLI scores and head probabilities; settings `blend`:

    learned: the trained weights; heads: alpha 0; half: alpha 0.5; nli: the NLI scores alone.

    A published checkpoint (a source with `multihead_v2.pt`) needs `nli`, the source id of its NLI model.

    Raises:
        UnknownSystemError: no such blend, or no `nli`.
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        super().__init__(spec)
        self.blend: str = spec["settings"].get("blend", "learned")
        if self.blend not in BLENDS:
            hint = suggest(self.blend, BLENDS)
            raise UnknownSystemError(f"systems.{spec['system']}.blend: {self.blend!r} is not known{hint}")
        self.layout, self.training = layout, _training_of(spec, layout)
        self.encoder = open_encoder(self.training, layout, str(self.device))
        _check_encoder(spec, layout, self.encoder)
        checkpoint = model_folder(spec, layout) / CHECKPOINT
        self.model, _ = load_model_from_checkpoint(checkpoint, self.encoder)
        self.descriptions = dict(self.model.labels.descriptions)
        self.checked: CheckedShards = {}  # shards of the store that this system has open

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores (n, L) in [0, 1]; see `base.System`.

        Raises:
            LabelSetError: labels other than those the heads were trained for.
        """
        check_request(texts, labels)
        wordings = Neutraliser(self.encoder.tokenizer)(labels)
        if list(wordings) != list(self.descriptions.values()):
            raise LabelSetError(
                f"labels {list(labels)} are not those of the trained heads, {list(self.descriptions.values())}"
            )
        if not texts:
            return np.zeros((0, len(labels)))
        store = features(self.training, self.layout, self.encoder, list(texts), self.descriptions, self.checked)
        self.count(truncated_texts=int((store.lengths >= self.training["training"]["max_length"]).sum()))
        if self.blend == "nli":
            return store.nli.astype(np.float64)
        learned = self.model.alphas.detach().cpu().numpy().astype(np.float64)
        alpha = {"learned": learned, "heads": 0 * learned, "half": 0 * learned + 0.5}
        return blend(store.nli, self._heads(store), alpha[self.blend], self.model.labels.specialist_columns)

    @torch.inference_mode()
    def _heads(self, store: FeatureStore) -> np.ndarray:
        """Probabilities of the heads alone, (n, S)."""
        out = np.empty((len(store), len(self.model.labels.specialists)), dtype=np.float32)
        for batch in token_budget_batches(store.lengths.tolist(), EVAL_TOKENS):
            H, mask = store.token_embeddings(batch, self.model.device)
            out[batch] = self.model.logits(H, mask).sigmoid().cpu().numpy()
        return out


def _training_of(spec: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """NLI model, template and length limit: from the training's record, or from a published checkpoint's settings."""
    kind, model = spec["model"]
    if kind == "hybrid":
        return read_json(layout.model(model, spec["seed"]))["spec"]
    settings = spec["settings"]
    if "nli" not in settings:
        raise UnknownSystemError(f"systems.{spec['system']}.nli: is missing; name the NLI model's source id")
    template = settings.get("template") or DEFAULT_TEMPLATE
    return {
        "nli": settings["nli"],
        "nli_kind": "source",
        "seed": spec["seed"],
        "template": template,
        "precision": spec["precision"],
        "token_budget": spec["token_budget"],
        "training": {"max_length": TEXT_TOKENS},
    }


def _check_encoder(spec: dict[str, Any], layout: Layout, encoder: NLIEncoder) -> None:
    """Heads belong to the very NLI model they were trained over (a published checkpoint does not say which it was)."""
    kind, model = spec["model"]
    if kind == "hybrid" and read_json(layout.model(model, spec["seed"]))["nli_identity"] != encoder.identity:
        raise UnknownSystemError(
            f"systems.{spec['system']}: {model!r} was trained over another NLI model; train it again"
        )


def build(spec: dict[str, Any], layout: Layout) -> HybridSystem:
    """Load heads and NLI model of the hybrid that the spec names."""
    return HybridSystem(spec, layout)
