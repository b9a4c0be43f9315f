"""Attention masks in a form that transformers does not read on the host."""

from typing import Any

import torch
from torch import Tensor

# Encoders that take `position_ids` for learned absolute positions and a (B, 1, T, T) mask.
ABSOLUTE = ("bert", "electra", "ernie", "roberta", "xlm-roberta", "camembert")


def encoder_mask(config: Any, mask: Tensor) -> Any:
    """A padding mask (B, T) in the form in which an encoder does not read it on the host.

    With SDPA, transformers asks whether a mask (B, T) has padding at all, which waits for the GPU.
    It takes a mask (B, 1, T, T), or ModernBERT's two masks, as they are.

    Args:
        config: configuration of the encoder.
        mask: (B, T), 1 or true at tokens.
    """
    if mask.device.type == "cpu" or config._attn_implementation != "sdpa":
        return mask
    T = mask.shape[1]
    full = mask.bool()[:, None, None].expand(-1, 1, T, T)
    if config.model_type in ABSOLUTE:
        return full
    if config.model_type == "modernbert":
        step = torch.arange(T, device=mask.device)
        return {
            "full_attention": full,
            "sliding_attention": full & ((step[:, None] - step).abs() <= config.sliding_window),
        }
    return mask
