"""Order-invariant encoding in two parts: a text once, then any number of labels against its keys and values.

The text attends to nothing but itself, so its states are those of the text alone. A label needs of them only each
layer's keys and values, and with `label_context="none"` not even these. For inference; the states equal those of
`invariant.encode_invariant`, which takes both parts in one sequence and is what training uses.

B batch, K labels, M tokens of a label, S tokens of a text, D hidden, H attention heads, d head size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gliznet.attention.families import Absolute, Place, family_of
from gliznet.config import GliZNetOptions

__all__ = ["TextStates", "can_cache", "encode_labels", "encode_text"]


@dataclass(frozen=True)
class TextStates:
    """Texts after the encoder.

    Attributes:
        last: (B, S, D) last hidden states.
        mask: (B, S) bool, true at tokens.
        layers: keys and values (B, H, S, d) of each layer; empty where labels see no text.
    """

    last: Tensor
    mask: Tensor
    layers: list[tuple[Tensor, Tensor]]


def can_cache(backbone: Any) -> bool:
    """Whether an encoder's layers are known well enough to encode texts and labels apart."""
    return family_of(backbone) is not None


@torch.inference_mode()
def encode_text(backbone: Any, ids: Tensor, mask: Tensor, options: GliZNetOptions) -> TextStates:
    """Encode texts by themselves.

    Args:
        backbone: an encoder in eval mode for which `can_cache` is true.
        ids, mask: (B, S), padding on the right.
        options: `label_context`.
    """
    encoder = _family(backbone)
    seen = options.label_context == "text"
    output = backbone(input_ids=ids, attention_mask=mask, output_hidden_states=seen)
    layers = []
    if seen:
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        for layer, h in zip(encoder.layers, output.hidden_states[:-1], strict=True):
            keys, values = encoder.project(layer, h, positions, (1, 2))
            layers.append((keys, values))
    return TextStates(output.last_hidden_state, mask.bool(), layers)


@torch.inference_mode()
def encode_labels(backbone: Any, text: TextStates | None, ids: Tensor, mask: Tensor, options: GliZNetOptions) -> Tensor:
    """Last hidden states (B, K, M, D) of labels, each beside its text, or alone with `label_context="none"`.

    Args:
        backbone: the encoder that made `text`.
        text: of B texts; None with `label_context="none"`.
        ids, mask: (B, K, M) tokens of each label with its [LAB], padding on the right; (1, K, M) for all texts alike.
        options: `label_context`, `label_frame`.
    """
    encoder = _family(backbone)
    if text is not None:
        ids, mask = (one.expand(len(text.mask), -1, -1) for one in (ids, mask))
    place = _place(text, ids, options)
    hidden = (None if text is None else ~text.mask[:, None, None, None]), ~mask.bool()[:, None, :, None]
    h = encoder.embed(ids.flatten(1), place.positions, mask.flatten(1).long())  # (B, K M, D)
    for i, layer in enumerate(encoder.layers):
        kept = None if text is None else text.layers[i]
        h = encoder.finish(layer, h, _attend(encoder, layer, h, kept, place, hidden))
    return encoder.last(h).unflatten(1, ids.shape[1:])


def _family(backbone: Any) -> Absolute:
    found = family_of(backbone)
    if found is None:
        raise ValueError(f"encoders of type {backbone.config.model_type!r} cannot encode texts and labels apart")
    return found


def _place(text: TextStates | None, ids: Tensor, options: GliZNetOptions) -> Place:
    """Labels start right after their text, or at 0 / 1 with and without a [CLS] of their own where they see none."""
    B, K, M = ids.shape
    step = torch.arange(M, device=ids.device)
    if text is None:
        return Place((step + int(not options.label_frame)).repeat(B, K), None, K, M)
    start = text.mask.sum(1, keepdim=True)  # (B, 1)
    index = torch.arange(text.mask.shape[1], device=ids.device)
    distance = (start + step).unsqueeze(2) - index  # (B, M, S)
    return Place((start + step).repeat(1, K), distance, K, M)


def _attend(
    encoder: Absolute,
    layer: Any,
    h: Tensor,
    kept: tuple[Tensor, Tensor] | None,
    place: Place,
    hidden: tuple[Tensor | None, Tensor],
) -> Tensor:
    """What the tokens of labels mix from their text and their own label, (B, K M, D).

    `hidden` is true where there is nothing to see: of the text (B, 1, 1, 1, S), of the labels (B, 1, K, 1, M).
    """
    q, k, v = (
        one.unflatten(2, (place.labels, place.tokens)) for one in encoder.project(layer, h, place.positions, (0, 1, 2))
    )  # (B, H, K, M, d)
    to_text, to_own = encoder.scores(layer, q, k, None if kept is None else kept[0], place)
    low = torch.finfo(q.dtype).min / 2
    own = q @ k.transpose(-1, -2)  # (B, H, K, M, M)
    own = (own if to_own is None else own + to_own).masked_fill(hidden[1], low)
    if kept is None:
        return _joined(own.softmax(-1).to(v.dtype) @ v)
    keys, values = kept
    assert hidden[0] is not None
    seen = (q.flatten(2, 3) @ keys.transpose(-1, -2)).unflatten(2, q.shape[2:4])  # (B, H, K, M, S)
    seen = (seen if to_text is None else seen + to_text).masked_fill(hidden[0], low)
    S = seen.shape[-1]
    weights = torch.cat([seen, own], dim=-1).softmax(-1).to(v.dtype)  # (B, H, K, M, S + M)
    mixed = (weights[..., :S].flatten(2, 3) @ values).unflatten(2, q.shape[2:4])  # (B, H, K, M, d)
    return _joined(mixed + weights[..., S:] @ v)


def _joined(mixed: Tensor) -> Tensor:
    """(B, H, K, M, d) -> (B, K M, H d)."""
    return mixed.flatten(2, 3).transpose(1, 2).flatten(2)
