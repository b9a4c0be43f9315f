"""BERT-like encoders without padding on a CPU: one matrix holds all tokens of a batch. Exact.

Compared with transformers, it
- skips the matrix products, norms and activations of padding;
- fuses the query, key and value projections into one product;
- in eval mode, reorders weights for the processor's matrix product once instead of in every call;
- computes the first layer's projections once per distinct (token, position), since a text repeats with each of its
  hypotheses;
- with `first_token_only`, computes the last layer for the first token only.
Only attention needs sequences; it runs on blocks of sequences of similar length.

Shapes: B batch, T tokens with padding, N tokens without, D hidden size, H attention heads, d head size; b sequences of
a block, t tokens of its longest sequence.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

from gliznet.fast.caching import CachesInEval, compute_dtype, versions
from gliznet.fast.dropout import fits_16_bits, keep_mask
from gliznet.fast.relative_positions import Positions
from gliznet.masks import encoder_mask

__all__ = ["first_token_only", "is_packed", "use_packed", "use_padded"]

KINDS = ("bert", "electra", "roberta", "xlm-roberta", "camembert")  # encoders with BERT's layer layout
FIRST_TOKEN_HEADS = tuple(  # transformers' classes whose head reads only the first token
    f"{name}ForSequenceClassification" for name in ("Bert", "Electra", "Roberta", "XLMRoberta", "Camembert")
)
ALIKE = 0.75  # minimum ratio of shortest to longest sequence within an attention block
REPEATED = 0.8  # ratio of distinct to all tokens below which the first projections are deduplicated
MOST_PREPACKED = 1 << 30  # encoders with more bytes of weights are not prepacked (prepacking stores them twice)

log = logging.getLogger(__name__)


def use_packed(model: nn.Module) -> bool:
    """Make every supported encoder (`KINDS`) in `model` skip padding. Idempotent; weights and state dict are unchanged.

    The encoder still uses transformers' code on a GPU, when compiled, and to return attention weights or the states of
    all layers.

    Args:
        model: any module; other encoders in it are left unchanged.

    Returns:
        Whether there is a supported encoder.
    """
    found = False
    for module in model.modules():
        if isinstance(module, PackedEncoder):
            found = True
        elif _fits(module):
            module.__class__ = _packed_class(type(module))  # type: ignore[arg-type]  # classes are hashable
            found = True
    return found


def use_padded(model: nn.Module) -> None:
    """Undo `use_packed`: back to transformers' code, for comparisons."""
    for module in model.modules():
        if isinstance(module, PackedEncoder):
            module.__dict__.pop("_cache", None)
            module.__class__ = type(module).__bases__[1]


def is_packed(model: nn.Module) -> bool:
    """Whether `model` skips padding, so that padded tokens in a batch cost nothing."""
    return any(isinstance(module, PackedEncoder) and module.on_cpu for module in model.modules())


@contextmanager
def first_token_only(model: nn.Module) -> Iterator[None]:
    """Context in which `model` computes its last layer only for the first token of each sequence, which its head reads.

    Args:
        model: a packed encoder, which then returns (B, 1, D), or a module with classifiers of `FIRST_TOKEN_HEADS`.
            Other models are not affected.
    """
    heads: list[Any] = [head for head in model.modules() if type(head).__name__ in FIRST_TOKEN_HEADS]
    below = [model, *(head.base_model for head in heads)]
    encoders = [module for module in below if isinstance(module, PackedEncoder)]
    for encoder in encoders:
        encoder.first_only = True
    try:
        yield
    finally:
        for encoder in encoders:
            encoder.first_only = False


def _fits(module: nn.Module) -> bool:
    if not isinstance(module, PreTrainedModel) or module.config.model_type not in KINDS:
        return False
    if not hasattr(module, "embeddings") or not hasattr(module, "encoder"):
        return False  # a model with a head; its encoder is visited separately
    config: Any = module.config
    return not (config.is_decoder or config.add_cross_attention)


@cache
def _packed_class(original: type) -> type:
    """Subclass of `original` with `PackedEncoder.forward`. It keeps the name, which saved configs record."""
    return type(original.__name__, (PackedEncoder, original), {"__module__": original.__module__})


class PackedEncoder(CachesInEval):
    """Mixin for a transformers encoder; must precede it among the bases."""

    config: Any
    embeddings: Any
    encoder: Any
    embeddings_project: Any
    get_input_embeddings: Any
    gradient_checkpointing: bool
    first_only = False

    @property
    def on_cpu(self) -> bool:
        return self.get_input_embeddings().weight.device.type == "cpu"

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        **others: Any,
    ) -> Any:
        """Like transformers' forward, except that the hidden states of padding are 0.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: (B, T); the mask may also be (B, 1, T, T) bool,
                true where a query (dim 2) may attend to a key (dim 3).
            others: as in transformers.
        """
        usual = all(value is None or value is False for name, value in others.items() if name != "return_dict")
        if not (usual and others.get("return_dict", True) and self._can_pack(input_ids, attention_mask)):
            if attention_mask is not None and attention_mask.dim() == 2:
                attention_mask = encoder_mask(self.config, attention_mask)
            return super().forward(  # type: ignore[misc]
                input_ids, attention_mask, token_type_ids=token_type_ids, position_ids=position_ids, **others
            )
        assert input_ids is not None
        last = self._encode(input_ids, attention_mask, token_type_ids, position_ids)
        pooler = getattr(self, "pooler", None)
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=last, pooler_output=None if pooler is None else pooler(last)
        )

    def _can_pack(self, ids: Tensor | None, mask: Tensor | None) -> bool:
        config: Any = self.config
        if ids is None or ids.device.type != "cpu" or not self.on_cpu or torch.compiler.is_compiling():
            return False
        if hasattr(self.encoder.layer[0], "unshard"):  # FSDP gathers a layer's weights in that layer's own forward
            return False
        if config.output_attentions or config.output_hidden_states or self.gradient_checkpointing and self.training:
            return False
        return mask is None or mask.dim() == 2 or (mask.dim() == 4 and mask.dtype == torch.bool and mask.shape[1] == 1)

    def _encode(self, ids: Tensor, mask: Tensor | None, kinds: Tensor | None, positions: Tensor | None) -> Tensor:
        """Last hidden states (B, T, D), or (B, 1, D) of the first tokens inside `first_token_only`."""
        config: Any = self.config
        B, T = ids.shape
        if positions is None:
            if hasattr(self.embeddings, "create_position_ids_from_input_ids"):
                positions = self.embeddings.create_position_ids_from_input_ids(ids, self.embeddings.padding_idx)
            else:
                positions = torch.arange(T)
        kinds = torch.zeros((), dtype=torch.long) if kinds is None else kinds
        layers = layers_of(self, self.encoder)
        plan = Packing.of(ids.shape, mask, layers[0].dtype)
        tokens = [values.expand(B, T).flatten()[plan.order] for values in (ids, positions, kinds)]  # (N,) each
        once = None  # (N,) index of each token among the distinct tokens
        if not self.training and not torch.is_grad_enabled() and B > 1:
            key = (tokens[0] * config.max_position_embeddings + tokens[1]) * config.type_vocab_size + tokens[2]
            distinct, index = key.unique(return_inverse=True)
            if len(distinct) < REPEATED * len(key):
                once = index
                where = torch.empty_like(distinct).scatter_(0, index, torch.arange(len(index)))
                tokens = [values[where] for values in tokens]
        h = self._embed(*tokens)  # (N, D), or fewer rows if deduplicated
        dropout = config.attention_probs_dropout_prob if self.training else 0.0

        def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, positions: Positions) -> Tensor:
            return attention(q, k, v, mask, dropout)

        for i, layer in enumerate(layers):
            if self.first_only and i == len(layers) - 1:
                return layer.first(h if once is None or i else h[once], plan, dropout).unsqueeze(1)
            qkv = layer.qkv(h)
            if once is not None and i == 0:
                h, qkv = h[once], qkv[once]
            h = layer.rest(h, plan.attend(qkv, layer.heads, attend))
        return plan.padded(h)

    def _embed(self, ids: Tensor, positions: Tensor, kinds: Tensor) -> Tensor:
        """Embeddings (n, D) of tokens (n,)."""
        h = self.embeddings(
            input_ids=ids.unsqueeze(0), position_ids=positions.unsqueeze(0), token_type_ids=kinds.unsqueeze(0)
        )
        return (self.embeddings_project(h) if hasattr(self, "embeddings_project") else h)[0]


def layers_of(holder: CachesInEval, encoder: Any) -> "list[Layer]":
    """Layers of an encoder; in eval mode without gradients, `holder` caches them until a weight changes."""
    modules = encoder.layer
    if encoder.training or torch.is_grad_enabled():
        return [Layer.of(module, None, False) for module in modules]
    dtype = compute_dtype(modules[0].output.dense.weight)

    def make() -> list[Layer]:
        size = sum(weight.numel() for weight in modules.parameters()) * dtype.itemsize
        prepack = size <= MOST_PREPACKED and can_prepack(dtype)
        return [Layer.of(module, dtype, prepack) for module in modules]

    return holder.cached("layers", (dtype, versions(modules)), make)


@dataclass(frozen=True)
class Block:
    """Sequences of similar length that share one attention call.

    Attributes:
        tokens: slice of the packed tokens.
        shape: (b, t).
        padded: (b t,) index of the block's token at each padded slot, 0 at padding; None without padding.
        real: (n,) indices of the slots that hold a token; None without padding.
        first: (b,) index of each sequence's first token among all packed tokens.
        mask: added to the scores, (b, 1, 1 or t, t); None if every token may attend to every other.
        positions: relative positions, for encoders that use them.
    """

    tokens: slice
    shape: tuple[int, int]
    padded: Tensor | None
    real: Tensor | None
    first: Tensor
    mask: Tensor | None
    positions: Positions

    @classmethod
    def of(
        cls, start: int, lengths: Tensor, pairs: Tensor | None, dtype: torch.dtype, relative: Tensor | None
    ) -> "Block":
        """Block of consecutive sequences.

        Args:
            start: index of the first packed token.
            lengths: (b,) tokens per sequence, longest first.
            pairs: (b, 1, T, T) bool, which query may attend to which key; None allows all.
            dtype: dtype of the scores.
            relative: (b, T, T) relative positions; None for consecutive positions.
        """
        b, t = len(lengths), int(lengths[0])
        positions = Positions(t, None if relative is None else relative[:, :t, :t])
        ends = lengths.cumsum(0)
        tokens, first = slice(start, start + int(ends[-1])), start + ends - lengths
        filled = torch.arange(t) < lengths.unsqueeze(1)  # (b, t)
        allowed = filled[:, None, None] if pairs is None else pairs[..., :t, :t]
        mask = None
        if not bool(allowed.all()):  # half of the minimum, so that adding scores cannot overflow
            low = torch.finfo(dtype).min / 2
            mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill_(~allowed, low)
        if bool(filled.all()):
            return cls(tokens, (b, t), None, None, first, mask, positions)
        real = filled.flatten().nonzero().squeeze(1)
        padded = torch.zeros(b * t, dtype=torch.long).index_copy_(0, real, torch.arange(len(real)))
        return cls(tokens, (b, t), padded, real, first, mask, positions)

    def heads(self, x: Tensor, parts: int, heads: int) -> Tensor:
        """(parts, b, H, t, d) from packed tokens (N, parts D)."""
        x = x[self.tokens]
        x = x if self.padded is None else x.index_select(0, self.padded)
        return x.view(*self.shape, parts, heads, -1).permute(2, 0, 3, 1, 4)


@dataclass(frozen=True)
class Packing:
    """Mapping between a padded batch and its packed tokens.

    Attributes:
        shape: (B, T).
        order: (N,) index in the flattened batch of each packed token.
        rows: (B,) batch index of each sequence, in the order of the blocks.
        blocks: attention blocks, longest sequences first.
    """

    shape: tuple[int, int]
    order: Tensor
    rows: Tensor
    blocks: list[Block]

    @classmethod
    def of(
        cls, shape: torch.Size, mask: Tensor | None, dtype: torch.dtype, relative: Tensor | None = None
    ) -> "Packing":
        """Packing for a batch of `shape` (B, T).

        Args:
            shape: (B, T).
            mask: (B, T), or (B, 1, T, T) bool; None without padding.
            dtype: dtype of the scores.
            relative: (B, T, T) relative positions; None for consecutive positions.
        """
        B, T = shape
        pairs = None if mask is None or mask.dim() == 2 else mask
        valid = torch.ones(shape, dtype=torch.bool)
        if mask is not None:
            valid = mask.bool() if pairs is None else pairs[:, 0].any(1)  # keys that some query sees
            valid = valid.index_put((~valid.any(1), torch.tensor(0)), torch.tensor(True))  # no sequence is empty
        lengths = valid.sum(1)
        if pairs is not None and not torch.equal(valid, torch.arange(T) < lengths.unsqueeze(1)):
            valid, lengths = torch.ones_like(valid), torch.full_like(lengths, T)  # padding inside: keep and mask it
        lengths, rows = lengths.sort(descending=True, stable=True)
        order = (rows.unsqueeze(1) * T + torch.arange(T))[valid[rows]]
        blocks, start, token = [], 0, 0
        sizes = lengths.tolist()
        for end in range(1, B + 1):
            if end == B or sizes[end] < ALIKE * sizes[start]:
                some = rows[start:end]
                pairs_here, relative_here = (None if x is None else x[some] for x in (pairs, relative))
                blocks.append(Block.of(token, lengths[start:end], pairs_here, dtype, relative_here))
                start, token = end, blocks[-1].tokens.stop
        return cls((B, T), order, rows, blocks)

    def padded(self, h: Tensor) -> Tensor:
        """(B, T, D) from packed tokens (N, D); 0 at padding."""
        size = self.shape[0] * self.shape[1]
        if len(h) < size:
            h = h.new_zeros(size, h.shape[1]).index_copy(0, self.order, h)
        return h.view(*self.shape, -1)

    def attend(self, qkv: Tensor, heads: int, attention: Callable[..., Tensor]) -> Tensor:
        """Context vectors (N, D) from queries, keys and values (N, 3 D).

        Args:
            qkv: (N, 3 D).
            heads: H.
            attention: context vectors (b, H, t, d) from q, k, v (b, H, t, d), and a block's mask and positions.
        """
        mixed = []
        for block in self.blocks:
            context = attention(*block.heads(qkv, 3, heads), block.mask, block.positions)
            context = context.transpose(1, 2).reshape(-1, qkv.shape[1] // 3)
            mixed.append(context if block.real is None else context.index_select(0, block.real))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def attend_first(self, q: Tensor, kv: Tensor, heads: int, dropout: float) -> Tensor:
        """Context vectors (B, D) of the first tokens, from q (B, D) in the order of `rows` and kv (N, 2 D)."""
        mixed, start = [], 0
        for block in self.blocks:
            b = block.shape[0]
            k, v = block.heads(kv, 2, heads)
            query = q[start : start + b].view(b, 1, heads, -1).transpose(1, 2)
            mask = None if block.mask is None else block.mask[:, :, :1]
            mixed.append(attention(query, k, v, mask, dropout).flatten(1))
            start += b
        return torch.cat(mixed)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Context vectors (b, H, t, d) from queries, keys and values (b, H, t, d); `dropout` is the dropout rate."""
    if not dropout:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # SDPA has no fused CPU kernel with dropout
    scores = scores if mask is None else scores + mask
    weights = scores.softmax(-1).to(v.dtype)
    if not fits_16_bits(dropout):
        return F.dropout(weights, dropout) @ v
    keep, scale = keep_mask(weights.shape, dropout)
    return weights * keep @ (v * scale)  # scale v rather than the weights, which have more elements


@dataclass(frozen=True)
class Product:
    """Linear map x W^T + b in the dtype of its weight.

    Attributes:
        weight: (out, in).
        bias: (out,).
        packed: the weight in oneDNN's layout, or None.
    """

    weight: Tensor
    bias: Tensor
    packed: Tensor | None = None

    @classmethod
    def of(cls, modules: Sequence[Any], dtype: torch.dtype | None, prepack: bool) -> "Product":
        """Fuse linear layers that share an input. With dtype None, weights keep their dtype and gradients."""
        weights, biases = [module.weight for module in modules], [module.bias for module in modules]
        weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        bias = biases[0] if len(biases) == 1 else torch.cat(biases)
        if dtype is None:
            return cls(weight, bias)
        weight, bias = weight.detach().to(dtype), bias.detach().to(dtype)
        return cls(weight, bias, pack(weight) if prepack else None)

    def __call__(self, x: Tensor) -> Tensor:
        """(n, in) -> (n, out)."""
        if self.packed is not None:
            return packed_linear(x.to(self.weight.dtype), self.packed, self.bias)
        if not torch.is_grad_enabled():
            x = x.to(self.weight.dtype)
        return F.linear(x, self.weight, self.bias)


def projections(attention: Any) -> tuple[Any, ...]:
    """Query, key and value projections of transformers' attention module."""
    suffix = "" if hasattr(attention, "query") else "_proj"  # DeBERTa
    return tuple(getattr(attention, f"{name}{suffix}") for name in ("query", "key", "value"))


@dataclass(frozen=True)
class Layer:
    """The linear maps of one layer, and transformers' module for the rest."""

    qkv: Product
    mixed: Product
    up: Product
    down: Product
    module: Any
    heads: int
    dtype: torch.dtype

    @classmethod
    def of(cls, module: Any, dtype: torch.dtype | None, prepack: bool) -> "Layer":
        """Build from transformers' layer; arguments as in `Product.of`."""
        attention = module.attention.self
        return cls(
            Product.of(projections(attention), dtype, prepack),
            Product.of((module.attention.output.dense,), dtype, prepack),
            Product.of((module.intermediate.dense,), dtype, prepack),
            Product.of((module.output.dense,), dtype, prepack),
            module,
            attention.num_attention_heads,
            dtype or compute_dtype(module.output.dense.weight),
        )

    def first(self, h: Tensor, plan: Packing, dropout: float) -> Tensor:
        """The layer's output (B, D) at the first token of each sequence, from h (N, D)."""
        start = torch.cat([block.first for block in plan.blocks])
        weight, bias, D = self.qkv.weight, self.qkv.bias, h.shape[1]
        x, residual = h, h[start]
        if not torch.is_grad_enabled():
            x = x.to(weight.dtype)
        q = F.linear(x[start], weight[:D], bias[:D])
        kv = F.linear(x, weight[D:], bias[D:])  # (N, 2 D)
        output = self.rest(residual, plan.attend_first(q, kv, self.heads, dropout))
        return torch.empty_like(output).index_copy(0, plan.rows, output)

    def rest(self, h: Tensor, context: Tensor) -> Tensor:
        """The layer's output (n, D) from its input and the context vectors of its attention, (n, D) each."""
        after, output = self.module.attention.output, self.module.output
        h = after.LayerNorm(_plus(after.dropout(self.mixed(context)), h))
        wide = self.module.intermediate.intermediate_act_fn(self.up(h))
        return output.LayerNorm(_plus(output.dropout(self.down(wide)), h))


def _plus(new: Tensor, h: Tensor) -> Tensor:
    """new + h, in place in `new` if the dtypes are equal."""
    return new.add_(h) if new.dtype == h.dtype else new + h


def pack(weight: Tensor) -> Tensor:
    """Reorder a weight (out, in) to the layout that oneDNN prefers on this processor."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)


def packed_linear(x: Tensor, packed: Tensor, bias: Tensor) -> Tensor:
    """Linear map of x (n, in) to (n, out) with a weight from `pack`."""
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


@cache
def can_prepack(dtype: torch.dtype) -> bool:
    """Whether `pack` and `packed_linear`, which use private PyTorch operations, exist here and give correct results."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, 48, generator=generator).to(dtype) for n in (5, 32))
    bias = torch.randn(32, generator=generator).to(dtype)
    try:
        product = packed_linear(x, pack(weight), bias)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        log.info("weights are not prepacked in %s: %s", dtype, str(error).partition("\n")[0])
        return False
    expected, rtol = F.linear(x, weight, bias), 1e-2 if dtype.itemsize < 4 else 1e-5
    return product.dtype == dtype and torch.allclose(product, expected, rtol=rtol, atol=1e-5)
