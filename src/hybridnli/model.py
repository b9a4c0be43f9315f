"""HybridNLI-PolyEncoder: zero-shot NLI scores, corrected label by label by small trained heads.

Axis legend: B batch, L labels, S specialist labels (those with a head), T tokens, D hidden size.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from gliznet.batching import token_budget_batches
from hybridnli.data import LabelSet
from hybridnli.encoder import NLIEncoder
from hybridnli.heads import PolyEncoderHead, logits_of_heads

__all__ = ["HybridNLIPolyEncoder"]

NLIScores = Sequence[Mapping[str, float]] | np.ndarray
TEXT_TOKENS = 128  # published length limit of a text's token embeddings


class HybridNLIPolyEncoder(nn.Module):
    """Heads and blend weights of the specialist labels, over a frozen encoder or over stored features.

        a_l = sigmoid(alpha_raw_l)
        score_l = a_l nli_l + (1 - a_l) sigmoid(logit_l)   for specialist labels
        score_l = nli_l                                    for the others

    Only heads and alphas are trained: 2,136,072 parameters for four labels at 1024 / 8 / 256.

    Args:
        labels: names, descriptions and specialists.
        hidden_dim: D of the encoder.
        num_codes: codes a head.
        proj_dim: projection size of a head.
        encoder: the frozen NLI model that `predict` needs; None where features come from a store. It moves with
            `to(device)` and never enters training mode.
        backbone_name: written into checkpoints; None takes the encoder's name.
    """

    def __init__(
        self,
        labels: LabelSet,
        hidden_dim: int,
        num_codes: int = 8,
        proj_dim: int = 256,
        *,
        encoder: NLIEncoder | None = None,
        backbone_name: str | None = None,
    ) -> None:
        super().__init__()
        if encoder is not None and encoder.hidden_dim != hidden_dim:
            raise ValueError(f"hidden_dim={hidden_dim}, but the encoder {encoder.name!r} has {encoder.hidden_dim}")
        self.labels, self.hidden_dim, self.num_codes, self.proj_dim = labels, hidden_dim, num_codes, proj_dim
        self.encoder = encoder
        # Registered, so that to(device) moves it; part of this model now, and frozen.
        self.backbone = encoder.model.requires_grad_(False) if encoder is not None else None
        self.backbone_name = backbone_name if backbone_name is not None else (encoder.name if encoder else "")
        # A list, not a dict of modules: label names may hold dots, which module names cannot.
        self.poly_heads = nn.ModuleList(PolyEncoderHead(hidden_dim, num_codes, proj_dim) for _ in labels.specialists)
        self.alpha_raw = nn.Parameter(torch.zeros(len(labels.specialists)))  # sigmoid(0) = 0.5: the equal blend
        self.columns: Tensor  # (S,) column of each specialist among the labels
        self.register_buffer("columns", torch.tensor(labels.specialist_columns, dtype=torch.long), persistent=False)
        self._label_embs: dict[str, Tensor] = {}

    @property
    def device(self) -> torch.device:
        """Where the heads are."""
        return self.alpha_raw.device

    @property
    def alphas(self) -> Tensor:
        """Blend weights of the NLI score, (S,) in (0, 1)."""
        return self.alpha_raw.sigmoid()

    def set_label_embeddings(self, embeddings: Tensor) -> None:
        """Take the embeddings of all labels' descriptions, (L, D) in label order; the specialists' are kept."""
        if tuple(embeddings.shape) != (len(self.labels.names), self.hidden_dim):
            raise ValueError(
                f"embeddings has shape {tuple(embeddings.shape)}, expected {(len(self.labels.names), self.hidden_dim)}"
            )
        rows = dict(zip(self.labels.names, embeddings.float(), strict=True))
        self._label_embs = {name: rows[name].to(self.device) for name in self.labels.specialists}

    def train(self, mode: bool = True) -> Self:
        """Training mode for the heads; the frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.backbone is not None:
            self.backbone.eval()
        return self

    def logits(self, H: Tensor, mask: Tensor) -> Tensor:
        """Head logits (B, S) of token embeddings H (B, T, D) with mask (B, T) bool."""
        labels = torch.stack([self._label_embs[name] for name in self.labels.specialists])
        return logits_of_heads(list(self.poly_heads), H, mask, labels.to(H.device))  # type: ignore[arg-type]

    def blend(self, logits: Tensor, nli: Tensor) -> Tensor:
        """Scores (B, L) of head logits (B, S) and NLI scores (B, L)."""
        a = self.alphas  # (S,)
        specialist = a * nli[:, self.columns] + (1 - a) * logits.sigmoid()  # (B, S)
        return nli.index_copy(1, self.columns, specialist)

    def score(self, H: Tensor, mask: Tensor, nli: Tensor) -> Tensor:
        """Scores (B, L) of token embeddings H (B, T, D), mask (B, T) bool and NLI scores (B, L)."""
        return self.blend(self.logits(H, mask), nli)

    forward = score

    @torch.no_grad()
    def predict(
        self,
        texts: Sequence[str],
        nli_scores: NLIScores,
        thresholds: Mapping[str, float] | None = None,
    ) -> list[dict[str, Any]]:
        """Scores and predicted labels of raw texts.

        Args:
            texts: n texts.
            nli_scores: for each text {label: score} as `run_nli_inference` returns it, or an array (n, L).
            thresholds: {label: threshold}; a label is predicted at score >= threshold. None means 0.5 for all.

        Returns:
            For each text {"text", "scores": {label: score}, "predicted_labels": [label, ...]}.

        Raises:
            RuntimeError: the model was built without an encoder.
            ValueError: scores or thresholds are missing for a label.
        """
        names = self.labels.names
        cuts = dict.fromkeys(names, 0.5) if thresholds is None else thresholds
        absent = [name for name in names if name not in cuts]
        if absent:
            raise ValueError(f"thresholds has no entry for {absent}; it needs one for each of {list(names)}")
        scores = self._score_texts(texts, self._nli_matrix(texts, nli_scores)).tolist()
        return [
            {
                "text": text,
                "scores": dict(zip(names, row, strict=True)),
                "predicted_labels": [name for name, score in zip(names, row, strict=True) if score >= cuts[name]],
            }
            for text, row in zip(texts, scores, strict=True)
        ]

    def _score_texts(self, texts: Sequence[str], nli: np.ndarray) -> np.ndarray:
        if self.encoder is None:
            raise RuntimeError("this model has no encoder; build it with encoder=NLIEncoder(...) to predict from texts")
        ids = self.encoder.tokenize(texts)
        scores = np.empty_like(nli)
        for rows in token_budget_batches(self.encoder.text_lengths(ids, TEXT_TOKENS), self.encoder.token_budget):
            H, mask = self.encoder.embed_ids([ids[i] for i in rows], TEXT_TOKENS)
            batch = self.score(H.to(self.device), mask.to(self.device), torch.from_numpy(nli[rows]).to(self.device))
            scores[rows] = batch.cpu().numpy()
        return scores

    def _nli_matrix(self, texts: Sequence[str], nli_scores: NLIScores) -> np.ndarray:
        if len(nli_scores) != len(texts):
            raise ValueError(f"nli_scores has {len(nli_scores)} rows for {len(texts)} texts")
        if not isinstance(nli_scores, np.ndarray):
            absent = sorted({name for row in nli_scores for name in self.labels.names if name not in row})
            if absent:
                raise ValueError(f"nli_scores has no score for {absent}; each row needs {list(self.labels.names)}")
            nli_scores = np.array([[row[name] for name in self.labels.names] for row in nli_scores])
        matrix = np.asarray(nli_scores, dtype=np.float32)
        if len(texts) and matrix.shape[1:] != (len(self.labels.names),):
            raise ValueError(f"nli_scores has shape {matrix.shape}, expected {(len(texts), len(self.labels.names))}")
        return matrix.reshape(len(texts), len(self.labels.names))
