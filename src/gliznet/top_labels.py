"""Where scores go, block by block of labels: into one array per text, or only the k best per text.

A block passes twice: `reduce` keeps what is needed of it, on the device of the model, and `add` takes that on the host.

B texts of a batch, C labels of a block, k labels kept.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gliznet.device import to_device

LOW = 0xFFFFFFFF  # the lower half of a key


class Collector(Protocol):
    """Takes the logits (B, C) of the texts `rows` (B) and the labels `columns` (C, on the host).

    `of` gives the kept columns of a text, their logits, and log sum exp over all its labels (for a softmax).
    """

    def reduce(self, columns: Tensor, logits: Tensor) -> Tensor: ...

    def add(self, rows: Sequence[int], columns: Tensor, reduced: Tensor) -> None: ...

    def of(self, row: int) -> tuple[list[int], np.ndarray, float]: ...


class AllScores:
    """Writes every logit to `scores[row][column]`.

    Args:
        scores: a float32 array (labels,) per text, or one array (texts, labels).
    """

    def __init__(self, scores: np.ndarray | Sequence[np.ndarray]) -> None:
        self.scores = scores

    def reduce(self, columns: Tensor, logits: Tensor) -> Tensor:
        """All logits (B, C)."""
        return logits

    def add(self, rows: Sequence[int], columns: Tensor, reduced: Tensor) -> None:
        index = columns.numpy()
        for row, values in zip(rows, reduced.numpy(), strict=True):
            self.scores[row][index] = values

    def of(self, row: int) -> tuple[list[int], np.ndarray, float]:
        """All columns of a text, their logits, and log sum exp of these."""
        logits = self.scores[row]
        return list(range(len(logits))), logits, float(np.logaddexp.reduce(logits.astype(np.float64)))


class TopScores:
    """Keeps the k best labels per text, O(texts k); equal scores are in the order of their columns.

    A key is one int64 per label: the bits of its score, as an integer that sorts in the same way, above the
    complement of its column. All keys differ, so `topk` leaves nothing open and the order of blocks does not matter.

    Args:
        texts: number of texts.
        k: labels to keep per text (a text with fewer keeps all).
        normalise: also sum exp(logit) over all labels, for a softmax.
    """

    def __init__(self, texts: int, k: int, normalise: bool = False) -> None:
        self.keys = torch.full((texts, k), torch.iinfo(torch.int64).min)
        self.log_total = torch.full((texts,), -torch.inf, dtype=torch.float64) if normalise else None

    def reduce(self, columns: Tensor, logits: Tensor) -> Tensor:
        """Keys of the k best labels (B, k or C), int64; for a softmax, after the bits of log sum exp (B, 1)."""
        best = _keys(logits, to_device(columns, logits.device))  # (B, C)
        best = best.topk(min(best.shape[1], self.keys.shape[1])).values
        if self.log_total is None:
            return best
        return torch.cat([logits.double().logsumexp(1, keepdim=True).view(torch.int64), best], dim=1)

    def add(self, rows: Sequence[int], columns: Tensor, reduced: Tensor) -> None:
        index = torch.tensor(rows)
        if self.log_total is not None:
            total, reduced = reduced[:, 0].contiguous().view(torch.float64), reduced[:, 1:]
            self.log_total[index] = self.log_total[index].logaddexp(total)
        self.keys[index] = torch.cat([self.keys[index], reduced], dim=1).topk(self.keys.shape[1]).values

    def of(self, row: int) -> tuple[list[int], np.ndarray, float]:
        """Columns of the best labels of a text, best first, their logits, and log sum exp over all its labels."""
        keys = self.keys[row]
        keys = keys[keys > torch.iinfo(torch.int64).min]
        bits = (keys >> 32).int()
        total = torch.nan if self.log_total is None else float(self.log_total[row])
        return (LOW - (keys & LOW)).tolist(), _flip(bits).view(torch.float32).numpy(), total


def _keys(logits: Tensor, columns: Tensor) -> Tensor:
    """(B, C) int64 from float32 logits (B, C) and columns (C)."""
    bits = (logits + 0.0).view(torch.int32)  # -0.0 becomes 0.0, which it equals
    return (_flip(bits).long() << 32) | (LOW - columns)


def _flip(bits: Tensor) -> Tensor:
    """Bits of float32 <-> int32 of the same order: the bits of a negative number grow with its size."""
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
