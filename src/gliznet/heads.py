"""Everything above the encoder: label vectors, label-specific text vectors, scores. All in float32.

B batch, K labels, T tokens, D hidden.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gliznet.config import GliZNetOptions

_MAX_LOG_SCALE = math.log(100.0)


def lab_positions(is_lab: Tensor, num_labels: int) -> tuple[Tensor, Tensor]:
    """Where the j-th [LAB] of each sample is, left to right.

    Args:
        is_lab: (B, T) bool.
        num_labels: K, columns to return.

    Returns:
        positions (B, K) int64 (0 where there is no such [LAB]) and present (B, K) bool.
    """
    B, T = is_lab.shape
    rank = is_lab.long().cumsum(1) - 1  # (B, T) 0-based column of a [LAB]
    column = torch.where(is_lab & (rank < num_labels), rank, num_labels)  # the last column collects everything else
    index = torch.arange(T, device=is_lab.device).expand(B, T)
    positions = torch.zeros(B, num_labels + 1, dtype=torch.long, device=is_lab.device)
    positions = positions.scatter(1, column, index)[:, :num_labels]
    present = torch.arange(num_labels, device=is_lab.device) < is_lab.sum(1, keepdim=True)
    return positions * present, present


def masked_mean(H: Tensor, mask: Tensor) -> Tensor:
    """Mean of states (B, T, D) over each row of a mask (B, K, T): (B, K, D); 0 where a row is empty."""
    weight = mask.to(H.dtype)
    return weight @ H / weight.sum(-1, keepdim=True).clamp(min=1)


def attend(queries: Tensor, H: Tensor, text_mask: Tensor, scale: Tensor | float) -> Tensor:
    """Label-specific text vectors: softmax over the text of `scale * query . state`, no projections.

    Args:
        queries: (B, K, D); H: (B, T, D) keys and values; text_mask: (B, T), at least one true a row.
        scale: factor of the dot products.

    Returns:
        (B, K, D). Source: docs/models/gliznet.md 1.3.
    """
    scores = queries @ H.transpose(1, 2) * scale  # (B, K, T)
    return scores.masked_fill(~text_mask.unsqueeze(1), float("-inf")).softmax(-1) @ H


class LabelEnrichment(nn.Module):
    """Labels attend to each other through f = W[e, t]: e <- normalise(e + MHA(e, f, f)).

    Source: docs/models/gliznet.md 1.6.
    """

    def __init__(self, hidden: int, heads: int = 8) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"enrichment has {heads} heads: the hidden size must be a multiple, got {hidden}")
        self.fuse = nn.Linear(2 * hidden, hidden)
        self.attention = nn.MultiheadAttention(hidden, heads, batch_first=True)

    def forward(self, label: Tensor, text: Tensor, present: Tensor) -> Tensor:
        """Enriched label vectors (B, K, D) from label and text vectors (B, K, D) and `present` (B, K)."""
        fused = self.fuse(torch.cat([label, text], dim=-1))
        absent = ~present
        absent[:, 0] = False  # labels fill columns from the left, so this only guards rows without any
        change, _ = self.attention(label, fused, fused, key_padding_mask=absent, need_weights=False)
        return F.normalize(label + change, dim=-1)


class LabelScorer(nn.Module):
    """One logit a (text vector, label vector) pair.

    bilinear: t^T W e + c. bilinear with identity start: scale * t^T W e + c on normalised vectors, W = I, so that the
    first logit is `identity_scale * (cos(t, e) - identity_offset)`. cosine: scale * cos, scale 1/0.07 at first and 100
    at most. dot: scale * t.e, scale 1/sqrt(D) at first.

    Source: docs/models/gliznet.md 1.4; the identity start is this project's.
    """

    def __init__(self, hidden: int, options: GliZNetOptions) -> None:
        super().__init__()
        self.unit = options.head == "cosine" or options.head_init == "identity"
        self.bilinear = nn.Bilinear(hidden, hidden, 1) if options.head == "bilinear" else None
        first = {"bilinear": options.identity_scale, "cosine": 1 / 0.07, "dot": hidden**-0.5}[options.head]
        scaled = options.head != "bilinear" or options.head_init == "identity"
        self.log_scale = nn.Parameter(torch.tensor(math.log(first))) if scaled else None
        if self.bilinear is not None:
            self._init_bilinear(self.bilinear, options)

    @staticmethod
    @torch.no_grad()
    def _init_bilinear(layer: nn.Bilinear, options: GliZNetOptions) -> None:
        hidden = layer.in1_features
        if options.head_init == "scaled":
            bound = math.sqrt(3) / hidden  # Var(W) = 1/D^2 cancels |t|^2 |e|^2 = D^2 of unit-variance states
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)
        elif options.head_init == "identity":
            layer.weight.copy_(torch.eye(hidden).unsqueeze(0))
            nn.init.constant_(layer.bias, -options.identity_scale * options.identity_offset)

    def forward(self, text: Tensor, label: Tensor) -> Tensor:
        """Logits (B, K) of text vectors (B, K, D) and label vectors (B, K, D)."""
        if self.unit:
            text, label = F.normalize(text, dim=-1), F.normalize(label, dim=-1)
        if self.bilinear is not None:
            text = text @ self.bilinear.weight[0]  # (B, K, D)
        score = (text * label).sum(-1)  # (B, K)
        if self.log_scale is not None:
            score = score * self.log_scale.clamp(max=_MAX_LOG_SCALE).exp()
        return score if self.bilinear is None else score + self.bilinear.bias


class LabelAggregator(nn.Module):
    """From hidden states to label vectors, text vectors and logits, as `options` say."""

    def __init__(self, hidden: int, options: GliZNetOptions) -> None:
        super().__init__()
        self.options = options
        self.dropout = nn.Dropout(options.dropout)
        self.scoring = LabelScorer(hidden, options)
        self.enrichment = LabelEnrichment(hidden) if options.enrichment else None
        learned = options.text_repr == "attention-normalized"
        self.log_temperature = nn.Parameter(torch.tensor(math.log(hidden) / 2)) if learned else None  # sqrt(D) at first

    def forward(
        self, H: Tensor, members: Tensor, text_mask: Tensor, lab_position: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Score every label of every sample.

        Args:
            H: (B, T, D) float32 hidden states.
            members: (B, T), j at the tokens that make up label j; text_mask: (B, T) bool.
            lab_position, present: (B, K) from `lab_positions`.

        Returns:
            logits (B, K), text vectors (B, K, D), label vectors (B, K, D).
        """
        if self.log_temperature is not None:
            H = F.normalize(H, dim=-1)
        label = self.dropout(self._labels(H, members, lab_position))
        text = self._texts(label, H, text_mask)
        if self.enrichment is not None:
            label = self.enrichment(label, text, present)
            text = self._texts(label, H, text_mask)
        return self.scoring(text, label), text, label

    def _labels(self, H: Tensor, members: Tensor, lab_position: Tensor) -> Tensor:
        """Label vectors (B, K, D)."""
        K = lab_position.shape[1]
        if self.options.label_repr == "lab":
            return H.gather(1, lab_position.unsqueeze(-1).expand(-1, -1, H.shape[-1]))
        number = torch.arange(1, K + 1, device=H.device).view(1, K, 1)
        return masked_mean(H, members.unsqueeze(1) == number)

    def _texts(self, label: Tensor, H: Tensor, text_mask: Tensor) -> Tensor:
        """Text vectors (B, K, D), one a label; all the same for "cls" and "mean"."""
        if self.options.text_repr == "cls":
            return H[:, :1].expand_as(label)
        if self.options.text_repr == "mean":
            return masked_mean(H, text_mask.unsqueeze(1)).expand_as(label)
        scale = H.shape[-1] ** -0.5 if self.log_temperature is None else self.log_temperature.exp()
        return attend(label, H, text_mask, scale)
