"""Switches the encoders of a model between fast paths and transformers' code."""

import logging
import os

from torch import nn

from gliznet.fast.deberta import use_fast_attention, use_plain_attention
from gliznet.fast.packed import use_packed, use_padded

log = logging.getLogger(__name__)
SWITCH = "GLIZNET_FAST"  # environment variable; 0 disables the fast paths


def use_fast_encoders(model: nn.Module) -> bool:
    """Switch the encoders in `model` to their fast path.

    BERT-like encoders get packed tokens; DeBERTa gets fast attention and, on a CPU without gradients, packed tokens.
    Exact and idempotent; weights and state dict are unchanged. `GLIZNET_FAST=0` in the environment disables it.

    Args:
        model: any module; other encoders in it are left unchanged. Logs if there is none with a fast path.

    Returns:
        Whether any encoder has a fast path.
    """
    if os.environ.get(SWITCH) == "0":
        return False
    attention, packed = use_fast_attention(model), use_packed(model)
    if not (attention or packed):
        log.info("%s: transformers computes it; fast are bert-like encoders and deberta-v2", type(model).__name__)
    return attention or packed


def use_plain_encoders(model: nn.Module) -> None:
    """Undo `use_fast_encoders`: back to transformers' code, for comparisons."""
    use_plain_attention(model)
    use_padded(model)
