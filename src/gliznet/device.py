"""Loops in which a GPU does not wait for the host. On a CPU, these functions add nothing.

The host launches work much faster than a GPU does it, so a loop that never waits for a result prepares the next batch
while the GPU computes. It waits if it reads a value (`.item()`, `.cpu()`), if it copies from memory that is not pinned,
and inside a shape that depends on values (`nonzero`, an index by a bool mask).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["ahead", "to_device", "to_host"]

LAG = 2  # batches that a GPU may be given before the host waits for the oldest result
Item = TypeVar("Item")
Key = TypeVar("Key")


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Copy a tensor to a device; to a GPU from pinned memory, without waiting for the copy."""
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def to_host(results: Iterable[tuple[Key, Tensor]]) -> Iterator[tuple[Key, Tensor]]:
    """Copy results to the host, in order. A result of a GPU follows once `LAG` more batches are launched.

    Args:
        results: pairs of anything and a tensor; taking the next pair launches its batch. At most `LAG` + 1 results are
            held.
    """
    waiting: deque[tuple[Key, Tensor, Any]] = deque()
    for key, tensor in results:
        if tensor.device.type != "cuda":
            yield key, tensor.cpu()
            continue
        done = torch.cuda.Event()
        copy = tensor.to("cpu", non_blocking=True)  # into pinned memory
        done.record(torch.cuda.current_stream(tensor.device))
        waiting.append((key, copy, done))
        if len(waiting) > LAG:
            yield _finished(*waiting.popleft())
    while waiting:
        yield _finished(*waiting.popleft())


def _finished(key: Key, copy: Tensor, done: Any) -> tuple[Key, Tensor]:
    done.synchronize()
    return key, copy


def ahead(items: Iterable[Item], device: torch.device) -> Iterator[Item]:
    """The items; beside a GPU, a thread prepares the next one while the caller works on the current one.

    For work that releases Python's lock, such as a call of a fast tokenizer. Errors are raised at their item.
    """
    if device.type == "cpu":
        yield from items
        return
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, source, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, source, end)
            yield item  # type: ignore[misc]
