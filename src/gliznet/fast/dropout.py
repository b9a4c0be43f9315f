"""Dropout on a CPU at a quarter of its cost: four keep decisions from each 64 random bits, instead of one at a time.

A training step of a MiniLM-sized encoder spends a quarter of its time in `bernoulli_`, most of it on the attention
weights. Here a 64-bit number is read as four of 16 bits, and an element survives where its number is below
`round((1 - p) 2^16)`; survivors are divided by exactly that share, so the expectation is the input's. The share
differs from 1 - p by at most 2^-17; where that is much of p or of 1 - p, and on other devices, PyTorch draws.
"""

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["FastDropout", "fast_dropout", "keep_mask", "use_fast_dropout"]

LEVELS = 1 << 16
EDGE = 2**-8  # of p: nearer to 0 or 1 the rounding would be over 0.2 % of the rate


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


def use_fast_dropout(model: nn.Module) -> None:
    """Let every `nn.Dropout` in `model` draw as `fast_dropout` does. Idempotent.

    Weights, the state dict and what is computed in eval mode stay as they are.

    Args:
        model: any module; attention weights have it in packed encoders and in the fast DeBERTa attention.
    """
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = FastDropout
