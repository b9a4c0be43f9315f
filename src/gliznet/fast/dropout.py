"""Dropout on a CPU at a quarter of its cost: four keep decisions from each 64 random bits, instead of one at a time.

A training step of a MiniLM-sized encoder spends a quarter of its time in `bernoulli_`, most of it on the attention
weights. Here a 64-bit number is read as four of 16 bits, and an element survives where its number is below
`round((1 - p) 2^16)`; survivors are divided by exactly that share, so the expectation is the input's. The share
differs from 1 - p by at most 2^-17; where that is much of p or of 1 - p, and on other devices, PyTorch draws.

B batch, T tokens, H attention heads, d head size.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

__all__ = ["FastDropout", "fast_dropout", "keep_mask", "use_fast_dropout"]

LEVELS = 1 << 16
EDGE = 2**-8  # of p: nearer to 0 or 1 the rounding would be over 0.2 % of the rate
NAME = "sdpa_fast_dropout"  # of the attention below in transformers' registry


def fits_16_bits(p: float) -> bool:
    """Whether 16 bits give the rate p; else PyTorch has to draw."""
    return EDGE <= p <= 1 - EDGE


def keep_mask(shape: torch.Size, p: float) -> tuple[Tensor, float]:
    """Which elements to keep, and by what to multiply these; drawn from PyTorch's CPU generator.

    Args:
        shape: of the mask.
        p: probability of dropping an element, one that `fits_16_bits`.

    Returns:
        A bool tensor, and 1 / (share of true elements).
    """
    surviving = round((1 - p) * LEVELS)
    size = shape.numel()
    seed = int(torch.randint(1 << 62, ()))  # numpy's generator draws 64 bits four times as fast as PyTorch's
    bits = np.random.Generator(np.random.SFC64(seed)).integers(1 << 64, size=(size + 3) // 4, dtype=np.uint64)
    numbers = torch.from_numpy(bits.view(np.int16))[:size].view(shape)  # -2^15 .. 2^15 - 1, each as likely
    return numbers < surviving - LEVELS // 2, LEVELS / surviving


def fast_dropout(x: Tensor, p: float) -> Tensor:
    """`x` with each element zeroed with probability p, and the others scaled so that the mean stays.

    Args:
        x: any shape, on the CPU.
        p: probability in [0, 1].

    Returns:
        A tensor like `x`; gradients flow through the surviving elements.

    >>> _ = torch.manual_seed(0)
    >>> x = fast_dropout(torch.ones(4, 50_000), 0.1)
    >>> sorted({round(value, 4) for value in x.unique().tolist()}), round(float(x.mean()), 2)
    ([0.0, 1.1111], 1.0)
    """
    if not fits_16_bits(p):
        return nn.functional.dropout(x, p)
    keep, scale = keep_mask(x.shape, p)
    return (x * keep).mul_(scale)


class FastDropout(nn.Dropout):
    """`nn.Dropout` that draws as `fast_dropout` does, where it trains on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """The input, with dropout in training mode."""
        if not self.training or self.inplace or input.device.type != "cpu":
            return super().forward(input)
        return fast_dropout(input, self.p)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' SDPA attention; with dropout on a CPU, where SDPA has no fused kernel, the same with ours.

    Args:
        module, kwargs: as transformers calls its attention functions.
        query, key, value: (B, H, T, d).
        attention_mask: None, bool (True: attend) or added to the scores; broadcasts to (B, H, T, T).
        dropout: probability for an attention weight.
        scaling: of the scores; None is 1 / sqrt(d).

    Returns:
        Context (B, T, H, d), and None for the weights.
    """
    unusual = kwargs.get("position_bias") is not None or query.shape[1] != key.shape[1]
    causal = kwargs.get("is_causal") or getattr(module, "is_causal", True)
    if not fits_16_bits(dropout) or query.device.type != "cpu" or unusual or causal:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(-1, -2)
    if attention_mask is not None:
        scores = scores + _additive(attention_mask, scores.dtype)
    keep, scale = keep_mask(scores.shape, dropout)  # (B, H, T, T)
    weights = scores.softmax(-1).to(value.dtype) * keep
    return (weights @ (value * scale)).transpose(1, 2).contiguous(), None  # the values are fewer than the weights


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What a mask adds to the scores: 0 or the lowest number where it is bool (True: attend)."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def use_fast_dropout(model: nn.Module) -> None:
    """Let every `nn.Dropout` and every SDPA attention in `model` draw as `fast_dropout` does. Idempotent.

    Weights, the state dict and what is computed in eval mode stay as they are.

    Args:
        model: any module; attention of its transformers encoders is changed where it is "sdpa".
    """
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = FastDropout
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation == "sdpa":
            module.config._attn_implementation = NAME
