"""What `cached` needs of each family of encoders: first states, projections, position scores, the rest of a layer.

B batch, K labels, M tokens of a label, S tokens of a text, T tokens, D hidden, H attention heads, d head size.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

from gliznet.attention.invariant import ABSOLUTE, first_position
from gliznet.encoders.deberta_fast import is_accelerated

Scores = tuple[
    Tensor | None, Tensor | None
]  # what positions add: to the text (B, H, K, M, S), to itself (B, H, K, M, M)


@dataclass(frozen=True)
class Place:
    """Where the tokens of labels stand; all labels of a text stand at the same place.

    Attributes:
        positions: (B, K * M), counted from 0.
        distance: (B, M, S) position of a label's token minus that of a text's token; None where labels see no text.
        labels, tokens: K and M.
    """

    positions: Tensor
    distance: Tensor | None
    labels: int
    tokens: int


class Absolute:
    """BERT and its like: learned absolute positions, a norm after each half of a layer."""

    names = ("query", "key", "value")  # of the projections

    def __init__(self, backbone: Any) -> None:
        self.backbone, self.config = backbone, backbone.config
        self.layers = backbone.encoder.layer
        self.head_size = self.config.hidden_size // self.config.num_attention_heads

    def embed(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """First hidden states (B, T, D)."""
        h = self.backbone.embeddings(input_ids=ids, position_ids=(positions + first_position(self.config)) * mask)
        return self.backbone.embeddings_project(h) if hasattr(self.backbone, "embeddings_project") else h

    def project(self, layer: Any, h: Tensor, positions: Tensor, which: tuple[int, ...]) -> list[Tensor]:
        """Of (queries, keys, values) the asked ones, (B, H, T, d) each; queries scaled."""
        made = [getattr(layer.attention.self, self.names[i])(h) for i in which]
        made = [one.unflatten(-1, (-1, self.head_size)).transpose(1, 2) for one in made]
        return [one * self.scale(layer) if i == 0 else one for i, one in zip(which, made, strict=True)]

    def scale(self, layer: Any) -> float:
        """Factor of the scores."""
        return self.head_size**-0.5

    def scores(self, layer: Any, q: Tensor, k: Tensor, text_keys: Tensor | None, place: Place) -> Scores:
        """What positions add to the scores of q (B, H, K, M, d) with k (alike) and text_keys (B, H, S, d)."""
        return None, None

    def finish(self, layer: Any, h: Tensor, context: Tensor) -> Tensor:
        """The layer's output from its input and what its attention mixed, (B, T, D) each."""
        attended = layer.attention.output(context, h)
        return layer.output(layer.intermediate(attended), attended)

    def last(self, h: Tensor) -> Tensor:
        """What comes after the last layer."""
        return h


class Deberta(Absolute):
    """DeBERTa-v2/v3, accelerated: relative positions in every layer (see `encoders.deberta_fast`)."""

    names = ("query_proj", "key_proj", "value_proj")

    def embed(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """First hidden states (B, T, D)."""
        return self.backbone.embeddings(input_ids=ids, position_ids=positions * mask, mask=mask)

    def scale(self, layer: Any) -> float:
        """Factor of the scores, which have up to three terms."""
        return layer.attention.self.scale

    def scores(self, layer: Any, q: Tensor, k: Tensor, text_keys: Tensor | None, place: Place) -> Scores:
        """q . key[distance] + k . query[distance], from tables with one vector a distance."""
        M, S = place.tokens, 0 if text_keys is None else text_keys.shape[2]
        rel = self.backbone.encoder.get_rel_embedding()
        tables = layer.attention.self.tables(rel, S + M)  # (H, 2r - 1, d): keys largest distance first, queries last
        r = next((table.shape[1] + 1) // 2 for table in tables if table is not None)
        step = torch.arange(M, device=q.device)
        own = _position_scores(q, k, tables, slice(r - M, r + M - 1), M - 1 + step[:, None] - step)
        if text_keys is None:
            return None, own
        assert place.distance is not None
        near = place.distance.clamp(min=0)[:, None, None]  # (B, 1, 1, M, S); what is clamped is padding
        # Distances 0 .. S + M - 1: the last rows of the keys' first half, the first of the queries' second.
        keys = None if tables[0] is None else tables[0][:, r - S - M : r]
        queries = None if tables[1] is None else tables[1][:, r - 1 : r - 1 + S + M]
        return _text_scores(q, text_keys, keys, queries, near), own


def _position_scores(q: Tensor, k: Tensor, tables: Any, window: slice, index: Tensor) -> Tensor:
    """Scores (B, H, K, M, M) of labels' tokens with their own label's; `index` (M, M): distances from the smallest."""
    size = window.stop - window.start
    added = q.new_zeros(())
    if tables[0] is not None:
        product = q @ tables[0][:, window].transpose(-1, -2).unsqueeze(1)  # (B, H, K, M, 2M - 1)
        added = added + product.gather(-1, (size - 1 - index).expand(*q.shape[:-1], -1))
    if tables[1] is not None:
        product = k @ tables[1][:, window].transpose(-1, -2).unsqueeze(1)
        added = added + product.gather(-1, index.T.expand(*k.shape[:-1], -1)).transpose(-1, -2)
    return added


def _text_scores(q: Tensor, text_keys: Tensor, keys: Tensor | None, queries: Tensor | None, distance: Tensor) -> Tensor:
    """Scores (B, H, K, M, S) of labels' tokens with the text's; `distance` (B, 1, 1, M, S)."""
    added = q.new_zeros(())
    if keys is not None:
        product = q @ keys.transpose(-1, -2).unsqueeze(1)  # (B, H, K, M, S + M)
        added = added + product.gather(-1, (keys.shape[1] - 1 - distance).expand(*q.shape[:-1], -1))
    if queries is not None:  # the same for all labels
        product = text_keys @ queries.transpose(-1, -2)  # (B, H, S, S + M)
        index = distance[:, 0].transpose(-1, -2).expand(-1, q.shape[1], -1, -1)  # (B, H, S, M)
        added = added + product.gather(-1, index).transpose(-1, -2).unsqueeze(2)
    return added


class ModernBert(Absolute):
    """ModernBERT: rotary positions, a norm before each half of a layer, local attention in most layers."""

    def __init__(self, backbone: Any) -> None:
        self.backbone, self.config, self.layers = backbone, backbone.config, backbone.layers
        self.head_size = self.config.hidden_size // self.config.num_attention_heads

    def embed(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """First hidden states (B, T, D)."""
        return self.backbone.embeddings(input_ids=ids)

    def project(self, layer: Any, h: Tensor, positions: Tensor, which: tuple[int, ...]) -> list[Tensor]:
        """Of (queries, keys, values) the asked ones, (B, H, T, d) each; queries scaled, queries and keys turned."""
        h, joint = layer.attn_norm(h), layer.attn.Wqkv
        weight = joint.weight.chunk(3)
        bias = (None,) * 3 if joint.bias is None else joint.bias.chunk(3)
        made = [F.linear(h, weight[i], bias[i]).unflatten(-1, (-1, self.head_size)).transpose(1, 2) for i in which]
        cos, sin = self.backbone.rotary_emb(h, positions, layer.attention_type)
        for place, i in enumerate(which):
            if i < 2:
                made[place] = apply_rotary_pos_emb(made[place], made[place], cos, sin)[0]
            if i == 0:
                made[place] = made[place] * self.head_size**-0.5
        return made

    def scores(self, layer: Any, q: Tensor, k: Tensor, text_keys: Tensor | None, place: Place) -> Scores:
        """Nothing, or in a layer of local attention a very low number beyond its window."""
        if layer.attention_type != "sliding_attention":
            return None, None
        step = torch.arange(place.tokens, device=q.device)
        far = [(step[:, None] - step).abs() > self.config.sliding_window]  # (M, M)
        if place.distance is not None:
            far.append((place.distance.abs() > self.config.sliding_window)[:, None, None])  # (B, 1, 1, M, S)
        low = [q.new_zeros(()).masked_fill(one, torch.finfo(q.dtype).min / 4) for one in far]
        return (low[1] if len(low) == 2 else None), low[0]

    def finish(self, layer: Any, h: Tensor, context: Tensor) -> Tensor:
        """The layer's output from its input and what its attention mixed, (B, T, D) each."""
        h = h + layer.attn.out_drop(layer.attn.Wo(context))
        return h + layer.mlp(layer.mlp_norm(h))

    def last(self, h: Tensor) -> Tensor:
        """The norm after the last layer."""
        return self.backbone.final_norm(h)


def family_of(backbone: Any) -> Absolute | None:
    """What is known of an encoder, or None: it has to encode text and labels in one sequence."""
    kind = backbone.config.model_type
    if kind == "deberta-v2":
        return Deberta(backbone) if is_accelerated(backbone.encoder) else None
    if kind == "modernbert":
        return ModernBert(backbone)
    return Absolute(backbone) if kind in ABSOLUTE else None
