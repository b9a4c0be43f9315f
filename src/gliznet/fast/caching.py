"""Cache of values computed from weights, valid until a weight changes."""

from typing import Any

import torch
from torch import Tensor, nn


class CachesInEval(nn.Module):
    """A module with a `_cache` that lives between passes in eval mode.

    `train()` drops the cache; copies and pickles do not include it.
    """

    def train(self, mode: bool = True) -> Any:
        if mode:
            self.__dict__.pop("_cache", None)
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_cache"}


def compute_dtype(weight: Tensor) -> torch.dtype:
    """Dtype in which a linear layer with this weight computes, taking autocast into account."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def versions(*modules: nn.Module | None) -> tuple[Any, ...] | None:
    """Address and version counter of each weight, to detect changes; None for inference tensors, which have no counter.

    Modules that are None are skipped.
    """
    weights = [weight for module in modules if module is not None for weight in module.parameters()]
    if any(weight.is_inference() for weight in weights):
        return None
    return tuple((weight.data_ptr(), weight._version) for weight in weights)
