"""Cache of values computed from weights, valid until a weight changes; and evaluation mode, in which caches live."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class CachesInEval(nn.Module):
    """A module with a `_cache` that lives between passes in eval mode.

    `train()` drops the cache; copies and pickles do not include it.
    """

    def cached(self, name: str, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """The value of `make()`, kept under `name` until `key` changes; not kept if `key` contains None."""
        cache = self.__dict__.setdefault("_cache", {})
        if None in key or name not in cache or cache[name][0] != key:
            cache[name] = (key, make())
        return cache[name][1]

    def train(self, mode: bool = True) -> Any:
        if mode:
            self.__dict__.pop("_cache", None)
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_cache"}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards, the previous mode of every module is restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        if any(modes.values()):
            model.train()  # drops caches
        for module, training in modes.items():
            module.training = training


def compute_dtype(weight: Tensor) -> torch.dtype:
    """Dtype in which a linear layer with this weight computes, taking autocast into account."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def versions(*modules: nn.Module | None) -> tuple[Any, ...] | None:
    """Address and version counter of each weight, to detect changes; None for inference tensors, which have no counter.

    Modules that are None are skipped.
    """
    found, left = [], [module for module in modules if module is not None]
    while left:  # three times as fast as `parameters()`
        module = left.pop()
        for weight in module._parameters.values():
            if weight is not None:
                if weight.is_inference():
                    return None
                found.append((weight.data_ptr(), weight._version))
        left.extend(child for child in module._modules.values() if child is not None)
    return tuple(found)
