"""HybridNLI: trained heads over stored features, and the mixtures that say which part of it makes the gain.

n texts, L labels, S labels with a head.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gliznet.batching import token_budget_batches
from hybridnli.attribution import blend
from hybridnli.checkpoint import load_model_from_checkpoint
from hybridnli.store import FeatureStore
from zsbench.config import suggest
from zsbench.layout import Layout
from zsbench.provenance import read_json
from zsbench.systems import UnknownSystemError
from zsbench.systems.base import Adapter, Neutraliser
from zsbench.training.hybrid import CHECKPOINT, features, open_encoder

EVAL_TOKENS = 32768  # padded tokens in a batch of the heads
BLENDS = ("learned", "heads", "half", "nli")


class HybridSystem(Adapter):
    """One mixture of NLI scores and head probabilities; settings `blend`:

    learned: the trained weights; heads: alpha 0; half: alpha 0.5; nli: the NLI scores alone.

    Raises:
        UnknownSystemError: no such blend.
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        super().__init__(spec | {"precision": "fp32"})  # features are stored, shared and reused: never rounded further
        self.blend: str = spec["settings"]["blend"]
        if self.blend not in BLENDS:
            hint = suggest(self.blend, BLENDS)
            raise UnknownSystemError(f"systems.{spec['system']}.blend: {self.blend!r} is not known{hint}")
        hybrid, seed = spec["model"][1], spec["seed"]
        record = read_json(layout.model(hybrid, seed))
        self.layout, self.training = layout, record["spec"]
        self.encoder = open_encoder(self.training, layout, str(self.device))
        if self.encoder.identity != record["nli_identity"]:
            raise RuntimeError(
                f"{hybrid} was trained over another {self.training['nli']!r} than is there now; train it again"
            )
        self.model, _ = load_model_from_checkpoint(layout.checkpoint(hybrid, seed) / CHECKPOINT, self.encoder)
        self.descriptions = dict(self.model.labels.descriptions)

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores (n, L) in [0, 1]; see `base.System`.

        Raises:
            ValueError: labels other than those the heads were trained for.
        """
        wordings = Neutraliser(self.encoder.tokenizer.all_special_tokens)(labels)
        if list(wordings) != list(self.descriptions.values()):
            raise ValueError(
                f"labels {list(labels)} are not those of the trained heads, {list(self.descriptions.values())}"
            )
        if not texts:
            return np.zeros((0, len(labels)))
        store = features(self.training, self.layout, self.encoder, list(texts), self.descriptions)
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


def build(spec: dict[str, Any], layout: Layout) -> HybridSystem:
    """Load heads and NLI model of the hybrid that the spec names."""
    return HybridSystem(spec, layout)
