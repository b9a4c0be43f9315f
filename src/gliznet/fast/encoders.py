"""The one switch of the faster encoders."""

import logging
import os

from torch import nn

from gliznet.fast.deberta import use_fast_attention, use_plain_attention
from gliznet.fast.packed import use_packed, use_padded

log = logging.getLogger(__name__)
SWITCH = "GLIZNET_FAST"  # environment: 0 leaves every encoder to transformers


def use_fast_encoders(model: nn.Module) -> bool:
    """Let the encoders in `model` use the fast path of their kind: BERT-like ones packed tokens, DeBERTa its attention.

    Exact and idempotent; weights and state dict stay as they are. `GLIZNET_FAST=0` in the environment turns it off.

    Args:
        model: any module; encoders of other kinds in it are left alone, and logged.

    Returns:
        Whether there was such an encoder.
    """
    if os.environ.get(SWITCH) == "0":
        return False
    attention, packed = use_fast_attention(model), use_packed(model)
    if not (attention or packed):
        log.info("%s: transformers computes it; fast are bert-like encoders and deberta-v2", type(model).__name__)
    return attention or packed


def use_plain_encoders(model: nn.Module) -> None:
    """Undo `use_fast_encoders`: transformers' code, to compare with."""
    use_plain_attention(model)
    use_padded(model)
