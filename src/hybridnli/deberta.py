"""DeBERTa-v2/v3 on short texts: only the relative positions that a batch can hold.

transformers' disentangled attention multiplies every query and key with all relative positions (512 of them in
DeBERTa-v3) and then picks the entries it needs; a batch of T tokens can need no more than those of distance below T.
For 45 tokens that is a sixth of the rows, and these products cost more than the content attention itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from transformers import PreTrainedModel
from transformers.models.deberta_v2.modeling_deberta_v2 import DebertaV2Encoder, make_log_bucket_position

__all__ = ["short_span"]


@contextmanager
def short_span(model: PreTrainedModel, longest: int) -> Iterator[None]:
    """Inside, a DeBERTa-v2/v3 model computes relative positions up to distance `longest` - 1; outputs are the same.

    The middle rows of the relative embeddings are kept, so each stored distance keeps its vector. Any other
    architecture is left alone. The model is changed while the block runs: do not call it from another thread.

    Args:
        model: any transformers model with an `encoder`.
        longest: tokens of the longest row that will be run inside.
    """
    encoder = getattr(model.base_model, "encoder", None)
    if not isinstance(encoder, DebertaV2Encoder) or not encoder.relative_attention:
        yield
        return
    attentions: list[Any] = [layer.attention.self for layer in cast(Any, encoder.layer)]
    full: int = attentions[0].pos_ebd_size
    span = min(_furthest(encoder, longest) + 1, full)
    with torch.no_grad():
        positions = encoder.get_rel_embedding()[full - span : full + span]  # (2 span, D)
    try:
        encoder.get_rel_embedding = lambda: positions  # type: ignore[method-assign]  # on this instance only
        for attention in attentions:
            attention.pos_ebd_size = span
        yield
    finally:
        del encoder.get_rel_embedding
        for attention in attentions:
            attention.pos_ebd_size = full


def _furthest(encoder: DebertaV2Encoder, longest: int) -> int:
    """Largest relative position (after log bucketing, where the model has it) among `longest` tokens."""
    distance = torch.tensor([longest - 1])
    if encoder.position_buckets > 0:
        distance = make_log_bucket_position(distance, encoder.position_buckets, encoder.max_relative_positions)
    return int(distance.item())
