"""Order-invariant encoding in two steps: each text once, then any number of labels against its keys and values.

The text attends only to itself, so its states do not depend on the labels. A label needs only the text's keys and
values of each layer, or nothing of the text with `label_context="none"`. For inference only; the states equal those of
`order_invariant.encode_order_invariant`, which encodes text and labels in one sequence and is used in training.

The two steps come first, then the code per encoder family. Shapes: B batch, K labels, M tokens per label, S tokens per
text, T tokens, D hidden size, H attention heads, d head size.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

from gliznet.fast.deberta import has_fast_attention
from gliznet.fast.packed import projections
from gliznet.masks import ABSOLUTE, encoder_mask
from gliznet.options import GliZNetOptions
from gliznet.order_invariant import first_position

# Position terms of a label's attention scores: with the text (B, H, K, M, S) and with its own tokens (B, H, K, M, M).
PositionScores = tuple[Tensor | None, Tensor | None]


@dataclass(frozen=True)
class TextStates:
    """Encoded texts.

    Attributes:
        last: (B, S, D) last hidden states.
        mask: (B, S) bool, true at tokens.
        layers: keys and values (B, H, S, d) of each layer; empty with `label_context="none"`.
    """

    last: Tensor
    mask: Tensor
    layers: list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LabelPositions:
    """Positions of label tokens, the same for all labels of a text.

    Attributes:
        positions: (B, K * M), counted from 0.
        distance: (B, M, S) position of a label token minus that of a text token; None with `label_context="none"`.
        labels: K.
        tokens: M.
    """

    positions: Tensor
    distance: Tensor | None
    labels: int
    tokens: int

    @classmethod
    def of(cls, text: TextStates | None, ids: Tensor, options: GliZNetOptions) -> "LabelPositions":
        """Labels start right after their text; without text, at 0 with a [CLS] (`label_frame`), else at 1."""
        B, K, M = ids.shape
        step = torch.arange(M, device=ids.device)
        if text is None:
            return cls((step + int(not options.label_frame)).repeat(B, K), None, K, M)
        start = text.mask.sum(1, keepdim=True)  # (B, 1)
        index = torch.arange(text.mask.shape[1], device=ids.device)
        distance = (start + step).unsqueeze(2) - index  # (B, M, S)
        return cls((start + step).repeat(1, K), distance, K, M)


@torch.inference_mode()
def encode_text(backbone: Any, ids: Tensor, mask: Tensor, options: GliZNetOptions) -> TextStates:
    """Encode texts without labels.

    Args:
        backbone: an encoder in eval mode for which `can_cache_texts` is true.
        ids, mask: (B, S), padding on the right.
        options: `label_context`.
    """
    family = _family(backbone)
    seen = options.label_context == "text"
    output = backbone(input_ids=ids, attention_mask=encoder_mask(backbone.config, mask), output_hidden_states=seen)
    layers = []
    if seen:
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        for layer, h in zip(family.layers, output.hidden_states[:-1], strict=True):
            keys, values = family.project(layer, h, positions, (1, 2))
            layers.append((keys, values))
    return TextStates(output.last_hidden_state, mask.bool(), layers)


@torch.inference_mode()
def encode_labels(backbone: Any, text: TextStates | None, ids: Tensor, mask: Tensor, options: GliZNetOptions) -> Tensor:
    """Encode labels, each with its text, or alone with `label_context="none"`.

    Args:
        backbone: the encoder that produced `text`.
        text: B encoded texts; None with `label_context="none"`.
        ids, mask: (B, K, M) tokens of each label with its [LAB], padding on the right; (1, K, M) if texts share them.
        options: `label_context`, `label_frame`.

    Returns:
        Last hidden states (B, K, M, D).
    """
    family = _family(backbone)
    if text is not None:
        ids, mask = ids.expand(len(text.mask), -1, -1), mask.expand(len(text.mask), -1, -1)
    positions = LabelPositions.of(text, ids, options)
    no_text = None if text is None else ~text.mask[:, None, None, None]  # (B, 1, 1, 1, S): padding
    no_label = ~mask.bool()[:, None, :, None]  # (B, 1, K, 1, M)
    h = family.embed(ids.flatten(1), positions.positions, mask.flatten(1).long())  # (B, K M, D)
    for i, layer in enumerate(family.layers):
        text_layer = None if text is None else text.layers[i]
        h = family.finish(layer, h, _attend(family, layer, h, text_layer, positions, no_text, no_label))
    return family.last(h).unflatten(1, ids.shape[1:])


def _attend(
    family: "BertFamily",
    layer: Any,
    h: Tensor,
    text_layer: tuple[Tensor, Tensor] | None,
    positions: LabelPositions,
    no_text: Tensor | None,
    no_label: Tensor,
) -> Tensor:
    """Context vectors (B, K M, D) of label tokens, which attend to their text and to their own label."""
    q, k, v = (
        projected.unflatten(2, (positions.labels, positions.tokens))
        for projected in family.project(layer, h, positions.positions, (0, 1, 2))
    )  # (B, H, K, M, d)
    text_keys = None if text_layer is None else text_layer[0]
    bias_text, bias_label = family.position_scores(layer, q, k, text_keys, positions)
    q = q * family.scale(layer)
    low = torch.finfo(q.dtype).min / 2
    to_label = q @ k.transpose(-1, -2)  # (B, H, K, M, M)
    to_label = (to_label if bias_label is None else to_label + bias_label).masked_fill(no_label, low)
    if text_layer is None:
        mixed = to_label.softmax(-1).to(v.dtype) @ v
    else:
        keys, values = text_layer
        assert no_text is not None
        to_text = (q.flatten(2, 3) @ keys.transpose(-1, -2)).unflatten(2, q.shape[2:4])  # (B, H, K, M, S)
        to_text = (to_text if bias_text is None else to_text + bias_text).masked_fill(no_text, low)
        S = to_text.shape[-1]
        weights = torch.cat([to_text, to_label], dim=-1).softmax(-1).to(v.dtype)  # (B, H, K, M, S + M)
        mixed = (weights[..., :S].flatten(2, 3) @ values).unflatten(2, q.shape[2:4])  # (B, H, K, M, d)
        mixed = mixed + weights[..., S:] @ v
    return mixed.flatten(2, 3).transpose(1, 2).flatten(2)


class BertFamily:
    """BERT-like encoders: learned absolute positions, a norm after each half of a layer (post-norm)."""

    def __init__(self, backbone: Any) -> None:
        self.backbone, self.config = backbone, backbone.config
        self.layers = self._layers()
        self.head_size = self.config.hidden_size // self.config.num_attention_heads

    def _layers(self) -> Any:
        return self.backbone.encoder.layer

    def embed(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Embeddings (B, T, D) of token ids, positions and mask (B, T)."""
        h = self.backbone.embeddings(input_ids=ids, position_ids=(positions + first_position(self.config)) * mask)
        return self.backbone.embeddings_project(h) if hasattr(self.backbone, "embeddings_project") else h

    def project(self, layer: Any, h: Tensor, positions: Tensor, which: tuple[int, ...]) -> list[Tensor]:
        """The queries (0), keys (1) and values (2) listed in `which`, each (B, H, T, d)."""
        layers = projections(layer.attention.self)
        return [layers[i](h).unflatten(-1, (-1, self.head_size)).transpose(1, 2) for i in which]

    def scale(self, layer: Any) -> float:
        """Factor of the attention scores."""
        return self.head_size**-0.5

    def position_scores(
        self, layer: Any, q: Tensor, k: Tensor, text_keys: Tensor | None, positions: LabelPositions
    ) -> PositionScores:
        """Scaled position scores of q (B, H, K, M, d) with text_keys (B, H, S, d) and with k (B, H, K, M, d)."""
        return None, None

    def finish(self, layer: Any, h: Tensor, context: Tensor) -> Tensor:
        """The layer's output (B, T, D) from its input and the context vectors of its attention, (B, T, D) each."""
        attended = layer.attention.output(context, h)
        return layer.output(layer.intermediate(attended), attended)

    def last(self, h: Tensor) -> Tensor:
        """Apply whatever follows the last layer, (B, T, D) to (B, T, D)."""
        return h


class DebertaFamily(BertFamily):
    """DeBERTa-v2/v3 with fast attention: relative positions in every layer (see `fast.deberta`)."""

    def embed(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        return self.backbone.embeddings(input_ids=ids, position_ids=positions * mask, mask=mask)

    def scale(self, layer: Any) -> float:
        return layer.attention.self.scale  # scores have up to three terms

    def position_scores(
        self, layer: Any, q: Tensor, k: Tensor, text_keys: Tensor | None, positions: LabelPositions
    ) -> PositionScores:
        """q . key[distance] + k . query[distance], from tables (H, 2r - 1, d) with one vector per distance.

        Keys are sorted by decreasing distance, queries by increasing distance.
        """
        M, S = positions.tokens, 0 if text_keys is None else text_keys.shape[2]
        relative = self.backbone.encoder.get_rel_embedding()
        tables = layer.attention.self.tables(relative, S + M)  # (H, 2r - 1, d) each
        r = next((table.shape[1] + 1) // 2 for table in tables if table is not None)
        step = torch.arange(M, device=q.device)
        label_scores = _label_scores(q, k, tables, slice(r - M, r + M - 1), M - 1 + step[:, None] - step)
        if text_keys is None:
            return None, label_scores
        assert positions.distance is not None
        distance = positions.distance.clamp(min=0)[:, None, None]  # (B, 1, 1, M, S); only padding is negative
        # Distances 0 .. S + M - 1, which end at the middle row of the keys and start at that of the queries.
        keys = None if tables[0] is None else tables[0][:, r - S - M : r]
        queries = None if tables[1] is None else tables[1][:, r - 1 : r - 1 + S + M]
        return _text_scores(q, text_keys, keys, queries, distance), label_scores


def _label_scores(q: Tensor, k: Tensor, tables: Any, window: slice, index: Tensor) -> Tensor:
    """Position scores (B, H, K, M, M) within each label; `index` (M, M) is the distance minus the smallest distance."""
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
    """Position scores (B, H, K, M, S) of label tokens with text tokens; `distance` is (B, 1, 1, M, S)."""
    added = q.new_zeros(())
    if keys is not None:
        product = q @ keys.transpose(-1, -2).unsqueeze(1)  # (B, H, K, M, S + M)
        added = added + product.gather(-1, (keys.shape[1] - 1 - distance).expand(*q.shape[:-1], -1))
    if queries is not None:  # the same for all labels
        product = text_keys @ queries.transpose(-1, -2)  # (B, H, S, S + M)
        index = distance[:, 0].transpose(-1, -2).expand(-1, q.shape[1], -1, -1)  # (B, H, S, M)
        added = added + product.gather(-1, index).transpose(-1, -2).unsqueeze(2)
    return added


class ModernBertFamily(BertFamily):
    """ModernBERT: rotary positions, a norm before each half of a layer (pre-norm), local attention in most layers."""

    def _layers(self) -> Any:
        return self.backbone.layers

    def embed(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        return self.backbone.embeddings(input_ids=ids)

    def project(self, layer: Any, h: Tensor, positions: Tensor, which: tuple[int, ...]) -> list[Tensor]:
        """Like `BertFamily.project`, with rotated queries and keys."""
        h, joint = layer.attn_norm(h), layer.attn.Wqkv
        weight = joint.weight.chunk(3)
        bias = (None,) * 3 if joint.bias is None else joint.bias.chunk(3)
        cos, sin = self.backbone.rotary_emb(h, positions, layer.attention_type)
        projected = []
        for i in which:
            x = F.linear(h, weight[i], bias[i]).unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            if i < 2:
                x = apply_rotary_pos_emb(x, x, cos, sin)[0]
            projected.append(x)
        return projected

    def position_scores(
        self, layer: Any, q: Tensor, k: Tensor, text_keys: Tensor | None, positions: LabelPositions
    ) -> PositionScores:
        """None, or in a local attention layer a very low number outside the window."""
        if layer.attention_type != "sliding_attention":
            return None, None
        step = torch.arange(positions.tokens, device=q.device)
        far_label = (step[:, None] - step).abs() > self.config.sliding_window  # (M, M)
        far_text = None
        if positions.distance is not None:
            far_text = (positions.distance.abs() > self.config.sliding_window)[:, None, None]  # (B, 1, 1, M, S)
        low, zero = torch.finfo(q.dtype).min / 4, q.new_zeros(())
        return None if far_text is None else zero.masked_fill(far_text, low), zero.masked_fill(far_label, low)

    def finish(self, layer: Any, h: Tensor, context: Tensor) -> Tensor:
        h = h + layer.attn.out_drop(layer.attn.Wo(context))
        return h + layer.mlp(layer.mlp_norm(h))

    def last(self, h: Tensor) -> Tensor:
        return self.backbone.final_norm(h)


def _family_class(backbone: Any) -> type[BertFamily] | None:
    """Family of an encoder; None if it can only encode text and labels in one sequence."""
    kind = backbone.config.model_type
    if kind == "deberta-v2":
        return DebertaFamily if has_fast_attention(backbone.encoder) else None
    if kind == "modernbert":
        return ModernBertFamily
    return BertFamily if kind in ABSOLUTE else None


def can_cache_texts(backbone: Any) -> bool:
    """Whether texts and labels can be encoded separately with this encoder."""
    return _family_class(backbone) is not None


def _family(backbone: Any) -> BertFamily:
    family = _family_class(backbone)
    if family is None:
        raise ValueError(f"encoders of type {backbone.config.model_type!r} cannot encode texts and labels apart")
    return family(backbone)
