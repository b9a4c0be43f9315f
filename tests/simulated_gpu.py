"""A GPU simulated on the CPU that counts what a host would wait for.

Its tensors hold CPU data and claim to be on `cuda:0`, so code takes its branches for a GPU and computes real values,
also backward. Counted are reads of values, shapes that depend on values, and copies that block.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

GPU = torch.device("cuda", 0)
aten = torch.ops.aten
READS = {  # operators whose result, or the shape of it, the host has to wait for
    aten._local_scalar_dense.default,
    aten.is_nonzero.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
}


class GPUTensor(torch.Tensor):
    """A tensor of the simulated GPU; `values_` are those on the CPU."""

    values_: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, real: Tensor) -> "GPUTensor":
        layout = {"strides": real.stride(), "storage_offset": real.storage_offset(), "dtype": real.dtype}
        wrapper = torch.Tensor._make_wrapper_subclass(cls, real.size(), device="meta", **layout)
        wrapper.values_ = real
        return wrapper

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    def data_ptr(self) -> int:
        return self.values_.data_ptr()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} of a GPU tensor outside the simulation")


def _on_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type in ("cuda", "meta")


class _Operators(TorchDispatchMode):
    """Computes on the CPU, and counts."""

    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = tree_flatten((args, kwargs))[0]
        here = any(isinstance(value, GPUTensor) for value in given)
        there = _on_gpu(kwargs.get("device"))
        if not here and not there:
            return func(*args, **kwargs)
        if func in READS and here:
            self.waits[func._schema.name] += 1
        if func is aten.index.Tensor or func is aten.index_put_.default or func is aten.index_put.default:
            if any(isinstance(index, GPUTensor) and index.dtype == torch.bool for index in args[1]):
                self.waits["index by a mask"] += 1
            if any(index is not None and not isinstance(index, GPUTensor) for index in args[1]):
                self.waits["index on the host"] += 1
        moved = func is aten._to_copy.default and kwargs.get("device") is not None
        crossing = moved and here != there
        if func is aten.copy_.default and not all(isinstance(value, GPUTensor) for value in args[:2]):
            crossing = isinstance(args[1], GPUTensor) or args[1].dim() > 0  # a kernel takes a number of the host along
        if crossing and not (kwargs.get("non_blocking") or args[2:] == (True,)):
            self.waits["blocking copy"] += 1
        real_args, real_kwargs = tree_map_only(GPUTensor, lambda tensor: tensor.values_, (args, kwargs))
        result = func(*real_args, **(real_kwargs | {"device": "cpu"} if there else real_kwargs))
        if moved and not there:
            return result
        result = tree_map_only(Tensor, GPUTensor, result)
        return return_and_correct_aliasing(func, args, kwargs, result) if here else result


def _allowed(device: Any) -> Any:
    return "meta" if str(device).startswith("cuda") else device


class _Calls(TorchFunctionMode):
    """Turns the name of the device into one that a CPU build accepts; memory need not be pinned."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.pin_memory:
            return args[0]
        if func is torch.Tensor.tolist and isinstance(args[0], GPUTensor):
            args = (args[0].cpu(),)
        args, kwargs = tree_map_only((torch.device, str), _allowed, (args, kwargs or {}))
        return func(*args, **kwargs)


class _Event:
    """A finished event; `waits` of the simulation does not count it, because later work is already launched."""

    def record(self, stream: Any = None) -> None: ...

    def synchronize(self) -> None: ...


def _enter(mode: Any) -> None:
    mode.gradients = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)


def _leave(mode: Any, *error: Any) -> None:
    torch._C._set_grad_enabled(mode.gradients)


@contextmanager
def simulated_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Inside the block, `.to("cuda")` moves to a simulated GPU; yields the number of waits of each kind so far."""
    waits: Counter[str] = Counter()
    monkeypatch.setattr(torch.cuda, "Event", _Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: None)
    monkeypatch.setattr(torch.inference_mode, "__enter__", _enter)  # subclasses do not work in inference mode
    monkeypatch.setattr(torch.inference_mode, "__exit__", _leave)
    with _Calls(), _Operators(waits):
        yield waits
