"""CPU dropout at a quarter of the cost: each 64 random bits decide four elements.

A training step of a MiniLM-sized encoder spends a quarter of its time in `bernoulli_`, most of it on the attention
weights. Here a 64-bit random number is split into four 16-bit numbers, and an element is kept if its number is below
`round((1 - p) 2^16)`. Kept elements are divided by exactly that fraction, so the expected value is unchanged. The
fraction differs from 1 - p by at most 2^-17. PyTorch's dropout is used where that error would matter (p close to 0 or
1) and on other devices.
"""

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["FastDropout", "fast_dropout", "keep_mask", "use_fast_dropout"]

LEVELS = 1 << 16
EDGE = 2**-8  # for p closer to 0 or 1, the rounding error could exceed 0.2 % of the rate


def fits_16_bits(p: float) -> bool:
    """Whether 16 bits represent the rate p well enough; if not, use PyTorch's dropout."""
    return EDGE <= p <= 1 - EDGE


def keep_mask(shape: torch.Size, p: float) -> tuple[Tensor, float]:
    """Draw a dropout mask; its seed comes from PyTorch's CPU generator.

    Args:
        shape: shape of the mask.
        p: probability of dropping an element; `fits_16_bits(p)` must be true.

    Returns:
        A bool tensor of that shape, true at elements to keep, and the factor for them, 1 / (probability of keeping).
    """
    surviving = round((1 - p) * LEVELS)
    size = shape.numel()
    seed = int(torch.randint(1 << 62, ()))  # numpy's generator draws 64 bits four times as fast as PyTorch's
    bits = np.random.Generator(np.random.SFC64(seed)).integers(1 << 64, size=(size + 3) // 4, dtype=np.uint64)
    numbers = torch.from_numpy(bits.view(np.int16))[:size].view(shape)  # uniform on -2^15 .. 2^15 - 1
    return numbers < surviving - LEVELS // 2, LEVELS / surviving


def fast_dropout(x: Tensor, p: float) -> Tensor:
    """Zero each element of `x` with probability p and scale the others so that the expected value is unchanged.

    Args:
        x: any shape, on the CPU.
        p: probability in [0, 1].

    Returns:
        A tensor like `x`; gradients flow through the kept elements.

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
    """`nn.Dropout` that uses `fast_dropout` when training on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply dropout in training mode; the identity in eval mode."""
        if not self.training or self.inplace or input.device.type != "cpu":
            return super().forward(input)
        return fast_dropout(input, self.p)


def use_fast_dropout(model: nn.Module) -> None:
    """Make every `nn.Dropout` in `model` use `fast_dropout`, in place. Idempotent.

    Weights, the state dict and eval-mode outputs are unchanged.

    Args:
        model: any module. Dropout on attention weights is not an `nn.Dropout` in every encoder; the packed encoders
            draw theirs the same way by themselves.
    """
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = FastDropout
