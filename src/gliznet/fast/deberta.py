"""Faster DeBERTa-v2/v3 attention: exact, swapped in place, with the same state dict.

It avoids what transformers' module computes in every layer and pass: both projections of all 512 relative embeddings
(as costly as 85 tokens), products with distances that do not occur in the batch, gathers over B x H x T x T int64
indices, and a T x T matrix of logarithms. On a CPU, in eval mode without gradients, the rest of a layer runs on packed
tokens with prepacked weights (`gliznet.fast.packed`). Source: He et al., DeBERTa, 2021, equations 2 to 4;
docs/models/gliznet.md section 6.

Shapes: B batch, T tokens, D hidden size, H attention heads, d head size, R rows of the relative embeddings.
"""

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.deberta_v2.modeling_deberta_v2 import (
    DebertaV2Encoder,
    DisentangledSelfAttention,
)

from gliznet.device import to_device
from gliznet.fast.caching import CachesInEval, compute_dtype, versions
from gliznet.fast.packed import Packing, Product, layers_of, projections
from gliznet.fast.relative_positions import (
    PositionBias,
    Positions,
    batch_slices,
    distance_rows,
    gathered_bias,
    position_bias,
)

__all__ = ["has_fast_attention", "use_fast_attention", "use_plain_attention"]

MIN_REACH = 128  # initial number of distances in a table; doubled as needed for longer batches
Tables = tuple[Tensor | None, Tensor | None]  # position keys and queries; None if the model lacks that score term


def use_fast_attention(model: nn.Module) -> bool:
    """Make every DeBERTa-v2/v3 encoder in `model` use this module's attention. Idempotent; weights are unchanged.

    In eval mode without gradients, projections that depend only on weights are cached. They are recomputed after a
    weight was changed in place, replaced or moved, and dropped by `train()`. Changes that bypass PyTorch's version
    counter (`weight.data.copy_(...)` in eval mode) are not noticed.

    Args:
        model: any module; other encoders in it are left unchanged.

    Returns:
        Whether there is a DeBERTa-v2/v3 encoder with relative attention.
    """
    changed = False
    for encoder in model.modules():
        if not isinstance(encoder, DebertaV2Encoder) or not encoder.relative_attention:
            continue
        attentions: list[Any] = [layer.attention.self for layer in encoder.layer]  # type: ignore[union-attr]
        if not {"c2p", "p2c"} & set(attentions[0].pos_att_type):
            continue
        encoder.__class__ = FastEncoder
        for attention in attentions:
            attention.__class__ = FastSelfAttention
        changed = True
    return changed


def use_plain_attention(model: nn.Module) -> None:
    """Undo `use_fast_attention`: back to transformers' attention, for comparisons."""
    for module in model.modules():
        originals: dict[type, Any] = {FastEncoder: DebertaV2Encoder, FastSelfAttention: DisentangledSelfAttention}
        original = originals.get(type(module))
        if original is not None:
            module.__dict__.pop("_cache", None)
            module.__class__ = original


def has_fast_attention(encoder: nn.Module) -> bool:
    """Whether an encoder uses fast attention, and so takes relative positions as a (B, T, T) matrix for all heads."""
    return isinstance(encoder, FastEncoder)


class FastEncoder(CachesInEval, DebertaV2Encoder):
    """transformers' encoder, which packs tokens where it can and otherwise passes `Positions` to its layers."""

    def get_attention_mask(self, attention_mask: Tensor) -> Tensor:
        """(B, 1, T, T) bool from (B, T) or (B, T, T)."""
        mask = attention_mask.bool()
        return (mask if mask.dim() == 3 else mask[:, :, None] & mask[:, None, :]).unsqueeze(1)

    def get_rel_pos(self, hidden_states: Any, query_states: Any = None, relative_pos: Any = None) -> Positions:
        """The relative positions in a form that the layers of this module read."""
        return Positions(hidden_states.shape[1], relative_pos)

    def get_rel_embedding(self) -> Tensor:
        """(R, D) normalised relative embeddings; in eval mode without gradients, cached until a weight changes."""
        if torch.is_grad_enabled() or self.training:
            return super().get_rel_embedding()
        key = (versions(self.rel_embeddings, getattr(self, "LayerNorm", None)),)
        return self.cached("positions", key, lambda: super(FastEncoder, self).get_rel_embedding().detach())

    def forward(  # type: ignore[override]  # the rest by name only
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        output_hidden_states: bool = True,
        *,
        relative_pos: Any = None,
        **others: Any,
    ) -> Any:
        """Like transformers' forward. In eval mode without gradients on a CPU, it skips padding, whose states are 0.

        Args:
            hidden_states: (B, T, D).
            attention_mask: (B, T) or (B, T, T).
            relative_pos: (B, T, T), query minus key, bucketed if the model uses buckets; None for consecutive
                positions.
            others: as in transformers.
        """
        mask = attention_mask.bool()
        usual = all(value is None or value is False for name, value in others.items() if name != "return_dict")
        if not (usual and others.get("return_dict", True) and self._can_pack(hidden_states)):
            return super().forward(
                hidden_states, attention_mask, output_hidden_states, relative_pos=relative_pos, **others
            )
        B, T, D = hidden_states.shape
        if mask.dim() == 2 and not torch.equal(mask, torch.arange(T) < mask.sum(1, keepdim=True)):
            mask = mask.unsqueeze(1).expand(B, T, T)  # padding before a token counts in distances: keep it, masked
        layers, embeddings = layers_of(self, self), self.get_rel_embedding()
        pairs = mask.unsqueeze(1) if mask.dim() == 3 else mask
        plan = Packing.of(hidden_states.shape[:2], pairs, layers[0].dtype, relative_pos)
        h = hidden_states.reshape(B * T, D)[plan.order]  # (N, D)
        states = [hidden_states]
        for i, layer in enumerate(layers):
            attend = partial(layer.module.attention.self.attend, rel_embeddings=embeddings)
            h = layer.rest(h, plan.attend(layer.qkv(h), layer.heads, attend))
            if output_hidden_states or i == len(layers) - 1:
                states.append(plan.padded(h))
        return BaseModelOutput(
            last_hidden_state=states[-1], hidden_states=tuple(states) if output_hidden_states else None
        )

    def _can_pack(self, states: Tensor) -> bool:
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling() or states.device.type != "cpu":
            return False
        # A convolution reads neighbours; FSDP gathers a layer's weights in that layer's own forward.
        return self.conv is None and not hasattr(self.layer[0], "unshard")


class FastSelfAttention(CachesInEval, DisentangledSelfAttention):
    """transformers' disentangled attention, computed as described in the module docstring."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        output_attentions: bool = False,
        query_states: Tensor | None = None,
        relative_pos: Any = None,
        rel_embeddings: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Context vectors (B, T, H d), and attention weights (B, H, T, T) if `output_attentions`, else None.

        Args:
            hidden_states: (B, T, D).
            attention_mask: (B, 1, T, T) bool.
            rel_embeddings: (R, D).
            others: as in transformers.
        """
        assert isinstance(relative_pos, Positions) and rel_embeddings is not None
        if self.training or torch.is_grad_enabled() or output_attentions:
            return self._with_gradients(hidden_states, attention_mask, output_attentions, relative_pos, rel_embeddings)
        qkv = self._fused()(hidden_states).unflatten(2, (3, self.num_attention_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, d) each
        context = self.attend(q, k, v, relative_pos.additive(attention_mask, q.dtype), relative_pos, rel_embeddings)
        return context.transpose(1, 2).flatten(2), None

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, positions: Positions, rel_embeddings: Tensor
    ) -> Tensor:
        """Context vectors (B, H, T, d) in eval mode without gradients.

        Args:
            q, k, v: (B, H, T, d), not scaled.
            mask: (B, 1, 1 or T, T), added to the scores; or None.
            positions: relative positions of the B sequences.
            rel_embeddings: (R, D).
        """
        tables = self._tables(rel_embeddings, positions)
        mixed = []
        for rows in batch_slices(q.shape[0], q.shape[2], self.num_attention_heads, q.device):
            scores = self._bias(q[rows], k[rows], tables, positions, rows, position_bias)
            if mask is not None:
                scores += mask[rows]
            mixed.append(F.scaled_dot_product_attention(q[rows], k[rows], v[rows], attn_mask=scores, scale=self.scale))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def _with_gradients(
        self, x: Tensor, mask: Tensor, output_attentions: bool, positions: Positions, rel_embeddings: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """`forward` without the cache, with gradients and dropout.

        SDPA is not used: it has no fused kernel for a bias that needs a gradient, and its fused backward pass on a CPU
        takes twice as long as this one.
        """
        B, T, _ = x.shape
        H = self.num_attention_heads
        q, k, v = (
            layer(x).view(B, T, H, -1).transpose(1, 2) for layer in (self.query_proj, self.key_proj, self.value_proj)
        )
        if positions.matrix is None:
            tables = self._distance_tables(T, rel_embeddings)
        else:
            tables = self._row_tables(positions.window(self.pos_ebd_size), rel_embeddings)
        scores = self._bias(q, k, tables, positions, slice(0, B), PositionBias.apply)  # (B, H, T, T)
        scores = scores + q * self.scale @ k.transpose(-1, -2)
        low = positions.additive(mask, scores.dtype)
        weights = self.dropout((scores if low is None else scores + low).softmax(-1))
        out = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)  # (B, T, H d)
        return out, weights if output_attentions else None

    @property
    def scale(self) -> float:
        """Factor of the scores: 1 / sqrt(d * number of score terms)."""
        terms = 1 + sum(kind in self.pos_att_type for kind in ("c2p", "p2c"))
        return 1 / math.sqrt(self.attention_head_size * terms)

    def _bias(
        self, q: Tensor, k: Tensor, tables: Tables, positions: Positions, rows: slice, by_distance: Any
    ) -> Tensor:
        """Position scores (b, H, T, T) of q and k (b, H, T, d), which are the given rows of the batch."""
        if positions.matrix is None:
            return by_distance(q, k, *tables)
        indices = [index if index.shape[0] == 1 else index[rows] for index in positions.rows(self.pos_ebd_size)]
        return gathered_bias(q, k, *tables, *indices)

    def _project(self, rel: Tensor) -> Tables:
        """Scaled position keys and queries (R, H d) of relative embeddings (R, D)."""
        key_layer, query_layer = (
            (self.key_proj, self.query_proj)
            if self.share_att_key
            else (getattr(self, "pos_key_proj", None), getattr(self, "pos_query_proj", None))
        )
        keys = key_layer(rel) * self.scale if key_layer is not None and "c2p" in self.pos_att_type else None
        queries = query_layer(rel) * self.scale if query_layer is not None and "p2c" in self.pos_att_type else None
        return keys, queries

    def _distance_tables(self, reach: int, rel_embeddings: Tensor) -> Tables:
        """Tables (H, 2 reach - 1, d) for `position_bias`; only the embedding rows in use are projected."""
        rows = distance_rows(reach, self.pos_ebd_size, self.position_buckets, self.max_relative_positions)
        first, last = int(rows[0]), int(rows[-1])
        keys, queries = self._project(self.pos_dropout(rel_embeddings[first : last + 1]))
        rows = to_device(rows - first, rel_embeddings.device)
        keys = None if keys is None else keys[rows.flip(0)]  # largest distance first
        return self._heads(keys), self._heads(None if queries is None else queries[rows])

    def _row_tables(self, window: tuple[int, int], rel_embeddings: Tensor) -> Tables:
        """Tables (H, rows, d) of the embedding rows in a window (first, one past the last)."""
        keys, queries = self._project(self.pos_dropout(rel_embeddings[slice(*window)]))
        return self._heads(keys), self._heads(queries)

    def _heads(self, table: Tensor | None) -> Tensor | None:
        """(R, H d) -> (H, R, d)."""
        return None if table is None else table.unflatten(-1, (self.num_attention_heads, -1)).transpose(0, 1)

    def _fused(self) -> Product:
        """Query, key and value projections in one product, cached until a weight changes."""
        dtype = compute_dtype(self.query_proj.weight)
        key = (dtype, versions(*projections(self)))
        return self.cached("qkv", key, lambda: Product.of(projections(self), dtype, False))

    def tables(self, rel_embeddings: Tensor, length: int) -> Tables:
        """Cached tables of `position_bias` for distances below `length`. Only for eval mode without gradients."""
        return self._tables(rel_embeddings, Positions(length, None))

    def _tables(self, rel_embeddings: Tensor, positions: Positions) -> Tables:
        """Position tables for one pass, computed if the cache does not cover its distances."""
        key = (compute_dtype(self.query_proj.weight), self.pos_ebd_size, versions(self), id(rel_embeddings))
        if positions.matrix is not None:
            _, (keys, queries) = self.cached(
                "rows", key, lambda: (rel_embeddings, self._row_tables((0, 2 * self.pos_ebd_size), rel_embeddings))
            )
            window = slice(*positions.window(self.pos_ebd_size))
            return None if keys is None else keys[:, window], None if queries is None else queries[:, window]
        reach = max(MIN_REACH, 1 << (positions.length - 1).bit_length())

        def make() -> tuple[Tensor, Tables]:  # a reference to rel_embeddings, so that its id is not reused
            keys, queries = self._distance_tables(reach, rel_embeddings)
            contiguous = (None if table is None else table.contiguous() for table in (keys, queries))
            return rel_embeddings, (next(contiguous), next(contiguous))

        return self.cached(f"reach {reach}", key, make)[1]
