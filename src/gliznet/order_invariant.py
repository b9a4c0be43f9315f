"""Order-invariant encoding: scores do not depend on the order of labels or on how they are grouped into sequences.

Text tokens attend only to the text. The tokens of a label (its word pieces and its [LAB]) attend to each other and
(unless `label_context="none"`) to the text. All labels have the same positions: each starts right after the text, as if
it were the only label (with `label_context="none"`, it has the positions of a separate text).

This module encodes text and labels in one sequence; `fast.text_cache` computes the same states but encodes each text
only once. Shapes: B batch, T tokens, D hidden size, H attention heads.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from gliznet.fast.deberta import has_fast_attention
from gliznet.masks import ABSOLUTE
from gliznet.options import GliZNetOptions

OFFSET = ("roberta", "xlm-roberta", "camembert")  # those whose first position is `pad_token_id + 1`
MIN_REACH = 512  # distances in a table of buckets; doubled as needed for longer sequences
SUPPORTED = (*ABSOLUTE, "deberta-v2", "modernbert")


def check_supported(config: Any) -> None:
    """Reject encoders for which order invariance is not guaranteed.

    Args:
        config: the encoder's configuration.

    Raises:
        ValueError: unknown architecture, a convolution layer (it mixes neighbouring labels), or flash attention (it
            takes no masks).
    """
    if config.model_type not in SUPPORTED:
        raise ValueError(
            f"order_invariant: encoders of type {config.model_type!r} are not supported; "
            f"allowed: {', '.join(SUPPORTED)}"
        )
    if getattr(config, "conv_kernel_size", 0):
        raise ValueError(
            f"order_invariant: conv_kernel_size={config.conv_kernel_size} is not supported; "
            "a convolution mixes neighbouring labels"
        )
    implementation = config._attn_implementation
    if implementation not in (None, "eager", "sdpa"):
        raise ValueError(
            f"attn_implementation: {implementation!r} takes no masks; order_invariant allows 'sdpa', 'eager'"
        )


def first_position(config: Any) -> int:
    """Position id of the first token for an encoder in `ABSOLUTE`."""
    return config.pad_token_id + 1 if config.model_type in OFFSET else 0


def label_numbers(lmask: Tensor, is_lab: Tensor) -> Tensor:
    """(B, T): j for the pieces and the [LAB] of label j, 0 for text, CLS, SEP and padding; arguments are (B, T)."""
    return torch.where(is_lab, is_lab.long().cumsum(1), lmask)


def shared_positions(segment: Tensor, is_lab: Tensor, attention_mask: Tensor, start: int | None) -> Tensor:
    """Positions (B, T): the text starts at 0, each label at the end of the text (or at `start`, if not None).

    Args:
        segment: (B, T) from `label_numbers`.
        is_lab: (B, T) bool, true at [LAB].
        attention_mask: (B, T).
        start: first position of each label; None: right after the text.
    """
    T = segment.shape[1]
    index = torch.arange(T, device=segment.device).expand_as(segment)  # (B, T)
    text_length = ((segment == 0) & attention_mask.bool()).sum(1, keepdim=True)  # (B, 1); the text is a prefix
    # A label starts one after the last [LAB] before it; the first one right after the text.
    last_lab = torch.where(is_lab, index, text_length - 1).cummax(1).values  # (B, T), including the token itself
    before = torch.cat([text_length - 1, last_lab[:, :-1]], dim=1)  # (B, T)
    first = text_length if start is None else torch.full_like(text_length, start)
    return torch.where(segment == 0, index, first + index - before - 1)


def allowed_pairs(segment: Tensor, attention_mask: Tensor, label_context: str) -> Tensor:
    """(B, T, T) bool: which query (dim 1) may attend to which key (dim 2); no query attends to padding."""
    query, key = segment.unsqueeze(2), segment.unsqueeze(1)  # (B, T, 1), (B, 1, T)
    allowed = query == key
    if label_context == "text":
        allowed = allowed | (key == 0)
    return allowed & attention_mask.bool().unsqueeze(1)


def encode_order_invariant(
    backbone: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    lmask: Tensor,
    is_lab: Tensor,
    options: GliZNetOptions,
) -> Tensor:
    """Last hidden states (B, T, D) of an encoder with the order-invariant attention pattern and positions.

    Args:
        backbone: an encoder that passed `check_supported`.
        input_ids, attention_mask, lmask: (B, T) from the tokenizer, right-padded.
        is_lab: (B, T) bool, true at [LAB].
        options: `label_context` and `label_frame`. With `label_context="none"`, a label starts at position 0 if it
            includes a [CLS] (`label_frame`), else at 1.
    """
    config: Any = backbone.config
    segment = label_numbers(lmask, is_lab)
    start = None if options.label_context == "text" else int(not options.label_frame)
    positions = shared_positions(segment, is_lab, attention_mask, start)
    allowed = allowed_pairs(segment, attention_mask, options.label_context)
    if config.model_type == "deberta-v2":
        return _encode_deberta(backbone, input_ids, attention_mask, positions, allowed)
    dtype = backbone.get_input_embeddings().weight.dtype
    if config.model_type == "modernbert":
        near = (positions.unsqueeze(2) - positions.unsqueeze(1)).abs() <= config.sliding_window  # (B, T, T)
        mask: Any = {
            "full_attention": _mask(allowed, config, dtype),
            "sliding_attention": _mask(allowed & near, config, dtype),
        }
    else:
        mask = _mask(allowed, config, dtype)
        positions = positions + first_position(config)
        # With many labels the sequence is long, and padding could exceed the position table.
        positions = positions * attention_mask
    return backbone(input_ids=input_ids, attention_mask=mask, position_ids=positions).last_hidden_state


def _mask(allowed: Tensor, config: Any, dtype: torch.dtype) -> Tensor:
    """(B, T, T) bool -> (B, 1, T, T): bool for SDPA, additive for eager attention."""
    allowed = allowed.unsqueeze(1)
    if config._attn_implementation == "eager":
        return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)
    return allowed


@lru_cache(maxsize=16)
def _buckets(reach: int, buckets: int, furthest: int, device: torch.device) -> Tensor:
    """Bucket of each distance -reach .. reach, (2 reach + 1,) int64; transformers' function would synchronise a GPU."""
    return make_log_bucket_position(torch.arange(-reach, reach + 1), buckets, furthest).long().to(device)


def _encode_deberta(
    backbone: Any, input_ids: Tensor, attention_mask: Tensor, positions: Tensor, allowed: Tensor
) -> Tensor:
    """DeBERTa-v2/v3: call its encoder directly, because the model's forward does not take relative positions."""
    encoder = backbone.encoder
    states = backbone.embeddings(
        input_ids=input_ids, position_ids=positions * attention_mask, mask=attention_mask
    )  # (B, T, D)
    if not encoder.relative_attention:
        return encoder(states, allowed, output_hidden_states=False).last_hidden_state
    relative = positions.unsqueeze(2) - positions.unsqueeze(1)  # (B, T, T), query minus key
    if encoder.position_buckets > 0:
        reach = max(MIN_REACH, 1 << positions.shape[1].bit_length())  # above T, so above all distances
        table = _buckets(reach, encoder.position_buckets, encoder.max_relative_positions, positions.device)
        relative = table[relative + reach]
    if not has_fast_attention(encoder):
        # The layers flatten batch and heads and squeeze the first dimension: (B, T, T) -> (1, B*H, T, T).
        relative = relative.repeat_interleave(backbone.config.num_attention_heads, dim=0).unsqueeze(0)
    return encoder(states, allowed, output_hidden_states=False, relative_pos=relative).last_hidden_state
