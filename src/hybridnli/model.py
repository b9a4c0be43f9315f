"""HybridNLI-PolyEncoder: zero-shot NLI scores, corrected by small trained heads, one per label.

Ordered bottom up: one head, several heads at once, the blend with NLI scores, and the model. Shapes: B batch, L labels,
S specialist labels (those with a head), T tokens, K codes, D hidden size of the encoder, P projection size.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gliznet.batching import token_budget_batches
from gliznet.device import to_device, to_host
from hybridnli.data import LabelSet
from hybridnli.encoder import NLIEncoder

__all__ = ["HybridNLIPolyEncoder", "PolyEncoderHead", "blend_scores", "logits_of_heads"]

MASKED = -1e4  # attention score of padding, as published; far below any real score and finite in half precision
TEXT_TOKENS = 128  # published length limit of texts, in tokens
NLIScores = Sequence[Mapping[str, float]] | np.ndarray


class PolyEncoderHead(nn.Module):
    """The head of one label on frozen token embeddings, after Humeau et al. 2020 (arXiv:1905.01969).

        A = softmax_T(C H^T)                       code attention over tokens, no scaling
        V = normalize(LN(GELU(W_c (A H) + b_c)))   K context vectors
        u = normalize(LN(GELU(W_l e + b_l)))       label vector, from its embedding e
        w = softmax_K(V u)                         label attention over codes
        logit = (sum_k w_k V_k) . u * exp(log_temp)

    Parameters are named as in the published checkpoint: `codes.weight`, `ctx_proj.{0,2}.*`, `label_proj.{0,2}.*`,
    `log_temp`. A head has 534,017 parameters at D, K, P = 1024, 8, 256. `logits_of_heads` computes the logits.

    Args:
        hidden_dim: D.
        num_codes: K.
        proj_dim: P.
    """

    def __init__(self, hidden_dim: int, num_codes: int = 8, proj_dim: int = 256) -> None:
        super().__init__()
        self.codes = nn.Embedding(num_codes, hidden_dim)  # nn.Embedding for the parameter name in checkpoints
        nn.init.normal_(self.codes.weight, std=0.02)
        self.ctx_proj = nn.Sequential(nn.Linear(hidden_dim, proj_dim), nn.GELU(), nn.LayerNorm(proj_dim))
        self.label_proj = nn.Sequential(nn.Linear(hidden_dim, proj_dim), nn.GELU(), nn.LayerNorm(proj_dim))
        self.log_temp = nn.Parameter(torch.tensor(0.0))

    def forward(self, H: Tensor, mask: Tensor, label_emb: Tensor) -> Tensor:
        """Logits of one label for a batch of texts.

        Args:
            H: (B, T, D) token embeddings, any floating dtype.
            mask: (B, T) bool, True at tokens.
            label_emb: (D,) embedding of the label's description.

        Returns:
            (B,) float32.
        """
        return logits_of_heads([self], H, mask, label_emb.unsqueeze(0))[:, 0]


def logits_of_heads(heads: Sequence[PolyEncoderHead], H: Tensor, mask: Tensor, label_embs: Tensor) -> Tensor:
    """Logits of several heads of the same shape in a few batched products; float32 even under autocast.

    Args:
        heads: S heads.
        H: (B, T, D) token embeddings, any floating dtype.
        mask: (B, T) bool, True at tokens.
        label_embs: (S, D) embedding of each head's label.

    Returns:
        (B, S) float32, one column per head.
    """
    with torch.autocast(H.device.type, enabled=False):
        H = H.float()
        B, D, S = H.shape[0], H.shape[2], len(heads)
        codes = torch.cat([head.codes.weight for head in heads])  # (S K, D)
        attention = (H @ codes.T).masked_fill(~mask.unsqueeze(-1), MASKED).softmax(dim=1)  # (B, T, S K)
        read = (attention.transpose(1, 2) @ H).view(B, S, -1, D).transpose(0, 1)  # (S, B, K, D)
        V = _project([head.ctx_proj for head in heads], read.flatten(1, 2)).unflatten(1, (B, -1))  # (S, B, K, P)
        u = _project([head.label_proj for head in heads], label_embs.float().unsqueeze(1))  # (S, 1, P)
        match = (V @ u.transpose(1, 2).unsqueeze(1)).squeeze(-1)  # (S, B, K)
        scale = torch.stack([head.log_temp for head in heads]).exp().unsqueeze(1)  # (S, 1)
        # (sum_k w_k V_k) . u = sum_k w_k (V_k . u)
        return ((match.softmax(dim=-1) * match).sum(dim=-1) * scale).T


def _project(layers: Sequence[nn.Sequential], x: Tensor) -> Tensor:
    """normalize(LN(GELU(W x + b))), where x[s] uses the weights of head s: (S, N, D) -> (S, N, P)."""
    linears: list[Any] = [layer[0] for layer in layers]
    norms: list[Any] = [layer[2] for layer in layers]
    weight = torch.stack([linear.weight for linear in linears]).transpose(1, 2)  # (S, D, P)
    bias = torch.stack([linear.bias for linear in linears]).unsqueeze(1)  # (S, 1, P)
    y = F.gelu(torch.baddbmm(bias, x, weight))
    y = F.layer_norm(y, y.shape[-1:], eps=norms[0].eps)
    gain, shift = (torch.stack([getattr(norm, name) for norm in norms]).unsqueeze(1) for name in ("weight", "bias"))
    return F.normalize(y * gain + shift, dim=-1)


def blend_scores(nli: np.ndarray, poly: np.ndarray, alpha: np.ndarray | float, columns: Sequence[int]) -> np.ndarray:
    """score_l = alpha_l nli_l + (1 - alpha_l) poly_l for specialist labels, nli_l for the others, in float64.

    Args:
        nli: (n, L) NLI scores in [0, 1].
        poly: (n, S) head probabilities in [0, 1].
        alpha: (S,) weights of the NLI scores in [0, 1], or one number for all labels.
        columns: S distinct columns of the specialists in `nli`, in the order of `poly`.

    Returns:
        (n, L) float64.

    Raises:
        ValueError: mismatched shapes, a column out of range, or alpha outside [0, 1].
    """
    nli, poly = np.asarray(nli, dtype=np.float64), np.asarray(poly, dtype=np.float64)
    alpha = np.asarray(alpha, dtype=np.float64)
    if poly.shape != (len(nli), len(columns)) or alpha.shape not in ((), (len(columns),)):
        raise ValueError(
            f"nli {nli.shape}, poly {poly.shape}, alpha {alpha.shape} and {len(columns)} columns do not match; "
            "expected (n, L), (n, S), (S,) or a number, and S columns"
        )
    if len(set(columns)) != len(columns) or not all(0 <= c < nli.shape[1] for c in columns):
        raise ValueError(f"columns {list(columns)} must be distinct and in 0 ... {nli.shape[1] - 1}")
    if not ((alpha >= 0) & (alpha <= 1)).all():
        raise ValueError(f"alpha {alpha.tolist()} must lie in [0, 1]")
    scores = nli.copy()
    scores[:, list(columns)] = alpha * nli[:, list(columns)] + (1 - alpha) * poly
    return scores


class HybridNLIPolyEncoder(nn.Module):
    """Heads and blend weights of the specialist labels, on top of a frozen encoder or stored features.

        a_l = sigmoid(alpha_raw_l)
        score_l = a_l nli_l + (1 - a_l) sigmoid(logit_l)   for specialist labels
        score_l = nli_l                                    for the others

    Only heads and alphas are trained: 2,136,072 parameters for four specialists at D, K, P = 1024, 8, 256.

    Args:
        labels: names, descriptions and specialists.
        hidden_dim: D of the encoder.
        num_codes: codes per head.
        proj_dim: projection size of a head.
        encoder: the frozen NLI model, needed by `predict`; None if features come from a store. It moves with
            `to(device)` and never enters training mode.
        backbone_name: name stored in checkpoints; None: the name of the encoder.
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
            raise ValueError(f"hidden_dim: is {hidden_dim}, but the encoder {encoder.name!r} has {encoder.hidden_dim}")
        self.labels, self.hidden_dim, self.num_codes, self.proj_dim = labels, hidden_dim, num_codes, proj_dim
        self.encoder = encoder
        # Registered as a submodule, so that to(device) moves it; frozen.
        self.backbone = encoder.model.requires_grad_(False) if encoder is not None else None
        self.backbone_name = backbone_name if backbone_name is not None else (encoder.name if encoder else "")
        # ModuleList, not ModuleDict: label names may contain dots, module names may not.
        self.poly_heads = nn.ModuleList(PolyEncoderHead(hidden_dim, num_codes, proj_dim) for _ in labels.specialists)
        self.alpha_raw = nn.Parameter(torch.zeros(len(labels.specialists)))  # sigmoid(0) = 0.5: equal weights
        self.columns: Tensor  # (S,) column of each specialist among the labels
        self.register_buffer("columns", torch.tensor(labels.specialist_columns, dtype=torch.long), persistent=False)
        self._label_embs: dict[str, Tensor] = {}

    @property
    def device(self) -> torch.device:
        """Device of the heads."""
        return self.alpha_raw.device

    @property
    def alphas(self) -> Tensor:
        """Blend weights of the NLI score, (S,) in (0, 1)."""
        return self.alpha_raw.sigmoid()

    def set_label_embeddings(self, embeddings: Tensor) -> None:
        """Set the embeddings (L, D) of all label descriptions, in label order; only those of specialists are used."""
        if tuple(embeddings.shape) != (len(self.labels.names), self.hidden_dim):
            raise ValueError(
                f"embeddings: has shape {tuple(embeddings.shape)}, expected {(len(self.labels.names), self.hidden_dim)}"
            )
        rows = dict(zip(self.labels.names, embeddings.float(), strict=True))
        self._label_embs = {name: rows[name].to(self.device) for name in self.labels.specialists}

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the heads; the frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.backbone is not None:
            self.backbone.eval()
        return self

    def logits(self, H: Tensor, mask: Tensor) -> Tensor:
        """Head logits (B, S) of token embeddings H (B, T, D) with mask (B, T) bool."""
        labels = torch.stack([self._label_embs[name] for name in self.labels.specialists])
        return logits_of_heads(list(self.poly_heads), H, mask, to_device(labels, H.device))  # type: ignore[arg-type]

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
            nli_scores: one {label: score} per text, as returned by `run_nli_inference`, or an array (n, L).
            thresholds: {label: threshold}; a label is predicted at score >= threshold. None means 0.5 for all.

        Returns:
            One dict per text: {"text", "scores": {label: score}, "predicted_labels": [label, ...]}.

        Raises:
            RuntimeError: the model was built without an encoder.
            ValueError: scores or thresholds are missing for a label.
        """
        names = self.labels.names
        cuts = dict.fromkeys(names, 0.5) if thresholds is None else thresholds
        absent = [name for name in names if name not in cuts]
        if absent:
            raise ValueError(f"thresholds: has no entry for {absent}; it needs one for each of {list(names)}")
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
        scores, encoder = np.empty_like(nli), self.encoder

        def launch(rows: list[int]) -> Tensor:
            H, mask = encoder.embed_ids([ids[i] for i in rows], TEXT_TOKENS)
            known = to_device(torch.from_numpy(nli[rows]), self.device)
            return self.score(H.to(self.device), mask.to(self.device), known)

        batches = token_budget_batches(encoder.text_lengths(ids, TEXT_TOKENS), encoder.token_budget)
        for rows, values in to_host((rows, launch(rows)) for rows in batches):
            scores[rows] = values.numpy()
        return scores

    def _nli_matrix(self, texts: Sequence[str], nli_scores: NLIScores) -> np.ndarray:
        if len(nli_scores) != len(texts):
            raise ValueError(f"nli_scores: has {len(nli_scores)} rows for {len(texts)} texts")
        if not isinstance(nli_scores, np.ndarray):
            absent = sorted({name for row in nli_scores for name in self.labels.names if name not in row})
            if absent:
                raise ValueError(f"nli_scores: has no score for {absent}; each row needs {list(self.labels.names)}")
            nli_scores = np.array([[row[name] for name in self.labels.names] for row in nli_scores])
        matrix = np.asarray(nli_scores, dtype=np.float32)
        if len(texts) and matrix.shape[1:] != (len(self.labels.names),):
            raise ValueError(f"nli_scores: has shape {matrix.shape}, expected {(len(texts), len(self.labels.names))}")
        return matrix.reshape(len(texts), len(self.labels.names))
