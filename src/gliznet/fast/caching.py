"""What is made of weights once and kept until they change."""

from typing import Any

import torch
from torch import Tensor, nn


class CachesInEval(nn.Module):
    """Keeps something in `_cache` between passes in eval mode; training drops it, copies and pickles do without."""

    def train(self, mode: bool = True) -> Any:
        if mode:
            self.__dict__.pop("_cache", None)
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_cache"}


def compute_dtype(weight: Tensor) -> torch.dtype:
    """The dtype in which a linear layer with this weight computes, under autocast too."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def versions(*modules: nn.Module | None) -> tuple[Any, ...] | None:
    """Identity of the modules' weights as they are now; None where PyTorch does not count changes."""
    weights = [weight for module in modules if module is not None for weight in module.parameters()]
    if any(weight.is_inference() for weight in weights):
        return None
    return tuple((weight.data_ptr(), weight._version) for weight in weights)
