"""The PolyEncoder head: a few learned codes read the tokens, the label picks among what they read.

Axis legend: B batch, S heads, T tokens, K codes, D hidden size of the encoder, P projection size.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PolyEncoderHead", "logits_of_heads"]

MASKED = -1e4  # attention score of padding, as published; far below any real score, finite in half precision


class PolyEncoderHead(nn.Module):
    """One label's head over frozen token embeddings, after Humeau et al. 2020 (arXiv:1905.01969).

        A = softmax_T(C H^T)                       code attention over tokens, no scaling
        V = normalize(LN(GELU(W_c (A H) + b_c)))   K context vectors
        u = normalize(LN(GELU(W_l e + b_l)))       the label
        w = softmax_K(V u)                         label attention over codes
        logit = (sum_k w_k V_k) . u * exp(log_temp)

    Parameters are named as in the published checkpoint: `codes.weight`, `ctx_proj.{0,2}.*`, `label_proj.{0,2}.*`,
    `log_temp`; 534,017 of them at 1024 / 8 / 256. The head computes in float32, also under autocast.

    Args:
        hidden_dim: D.
        num_codes: K.
        proj_dim: P.
    """

    def __init__(self, hidden_dim: int, num_codes: int = 8, proj_dim: int = 256) -> None:
        super().__init__()
        self.codes = nn.Embedding(num_codes, hidden_dim)  # an embedding only for the checkpoint's parameter name
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
        with torch.autocast(H.device.type, enabled=False):
            H = H.float()
            attention = torch.einsum("kd,btd->bkt", self.codes.weight, H)
            attention = attention.masked_fill(~mask[:, None, :], MASKED).softmax(dim=-1)  # (B, K, T)
            V = F.normalize(self.ctx_proj(attention @ H), dim=-1)  # (B, K, D) -> (B, K, P)
            u = F.normalize(self.label_proj(label_emb.float()), dim=-1)  # (P,)
            match = V @ u  # (B, K): how well each code's context fits the label
            # (sum_k w_k V_k) . u = sum_k w_k (V_k . u)
            return (match.softmax(dim=-1) * match).sum(dim=-1) * self.log_temp.exp()


def logits_of_heads(heads: Sequence[PolyEncoderHead], H: Tensor, mask: Tensor, label_embs: Tensor) -> Tensor:
    """Logits of several heads of one shape, all in the same few products instead of one head after the other.

    Args:
        heads: S heads.
        H: (B, T, D) token embeddings, any floating dtype.
        mask: (B, T) bool, True at tokens.
        label_embs: (S, D) embedding of each head's label.

    Returns:
        (B, S) float32: column s is `heads[s](H, mask, label_embs[s])`.
    """
    with torch.autocast(H.device.type, enabled=False):
        H = H.float()
        B, D, S = H.shape[0], H.shape[2], len(heads)
        codes = torch.cat([head.codes.weight for head in heads])  # (S K, D)
        attention = (H @ codes.T).masked_fill(~mask.unsqueeze(-1), MASKED).softmax(dim=1)  # (B, T, S K)
        read = (attention.transpose(1, 2) @ H).view(B, S, -1, D).transpose(0, 1)  # (S, B, K, D)
        V = _project([head.ctx_proj for head in heads], read.flatten(1, 2)).view(S, B, -1, _size(heads[0]))
        u = _project([head.label_proj for head in heads], label_embs.float().unsqueeze(1))  # (S, 1, P)
        match = (V @ u.transpose(1, 2).unsqueeze(1)).squeeze(-1)  # (S, B, K)
        scale = torch.stack([head.log_temp for head in heads]).exp().unsqueeze(1)  # (S, 1)
        return ((match.softmax(dim=-1) * match).sum(dim=-1) * scale).T


def _size(head: PolyEncoderHead) -> int:
    """P."""
    return head.ctx_proj[0].out_features  # type: ignore[return-value]


def _project(layers: Sequence[nn.Sequential], x: Tensor) -> Tensor:
    """normalize(LN(GELU(W x + b))) with weights of its own for each s: (S, N, D) -> (S, N, P)."""
    linears: list[Any] = [layer[0] for layer in layers]
    norms: list[Any] = [layer[2] for layer in layers]
    weight = torch.stack([one.weight for one in linears]).transpose(1, 2)  # (S, D, P)
    bias = torch.stack([one.bias for one in linears]).unsqueeze(1)  # (S, 1, P)
    y = F.gelu(torch.baddbmm(bias, x, weight))
    y = F.layer_norm(y, y.shape[-1:], eps=norms[0].eps)
    gain, shift = (torch.stack([getattr(one, name) for one in norms]).unsqueeze(1) for name in ("weight", "bias"))
    return F.normalize(y * gain + shift, dim=-1)
