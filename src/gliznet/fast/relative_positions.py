"""Relative position scores without a gather, read from the diagonals of a matrix product.

The product of T queries with one vector per distance has a column for each distance -(T-1) .. T-1, and the score of
(i, j) is in the column of i - j. With columns sorted by distance, the entries needed in consecutive rows are shifted by
one column, so a strided view of the product *is* the score matrix. Long sequences are split into blocks of `w` rows,
which need only T + w - 1 distances instead of 2T - 1.

Shapes: B batch, T tokens, H attention heads, d head size, M reach of a table (it holds distances -(M-1) .. M-1).
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

# Measured on a CPU (12 heads of size 64, one thread): up to 128 tokens a single block is fastest; from 192 on, blocks
# of 64 rows take 0.6 to 0.75 of its time.
WHOLE, BLOCK = 128, 64
# Maximum floats in one position product on a CPU: larger ones spend more time on new memory pages than on arithmetic.
MAX_PRODUCT = 1 << 20


@lru_cache(maxsize=64)
def distance_rows(reach: int, span: int, buckets: int, furthest: int) -> Tensor:
    """Row of the relative embeddings for each distance -(reach-1) .. reach-1: (2 reach - 1,) int64 on the CPU.

    Args:
        reach: one more than the largest distance.
        span: half the number of rows of the relative embeddings.
        buckets: DeBERTa's `position_buckets`; if not positive, distances are not bucketed.
        furthest: DeBERTa's `max_relative_positions`.
    """
    distance = torch.arange(1 - reach, reach)
    if buckets > 0 and furthest > 0:
        distance = make_log_bucket_position(distance, buckets, furthest)
    return (distance.long() + span).clamp(0, 2 * span - 1)


def diagonals(product: Tensor, width: int) -> Tensor:
    """View (..., w, width) of a product (..., w, width+w-1): entry (i, j) is column j - i + w - 1 of row i."""
    rows, columns = product.shape[-2:]
    strides = (*product.stride()[:-2], columns - 1, 1)
    return product.as_strided((*product.shape[:-2], rows, width), strides, product.storage_offset() + rows - 1)


def batch_slices(B: int, T: int, H: int, device: torch.device) -> list[slice]:
    """Split a batch so that each position product has at most `MAX_PRODUCT` floats; one slice on an accelerator."""
    size = max(1, MAX_PRODUCT // (H * T * (2 * T - 1))) if device.type == "cpu" else B
    return [slice(start, min(start + size, B)) for start in range(0, B, size)]


def _blocks(T: int, device: torch.device) -> Iterator[tuple[int, int]]:
    """(first row, number of rows) of each block."""
    size = BLOCK if T > WHOLE and device.type == "cpu" else T
    return ((start, min(size, T - start)) for start in range(0, T, size))


def _rows(table: Tensor, start: int, rows: int, T: int) -> Tensor:
    """The part (H, T+rows-1, d) of a table (H, 2M-1, d) with the distances that occur in a block of rows."""
    M = (table.shape[1] + 1) // 2
    return table[:, M - start - rows : M - start + T - 1]


def position_bias(q: Tensor, k: Tensor, key_table: Tensor | None, query_table: Tensor | None) -> Tensor:
    """Content-to-position plus position-to-content scores, without gradients.

    Args:
        q, k: (B, H, T, d).
        key_table: (H, 2M-1, d), M >= T, a key per distance i - j, largest first; None omits content-to-position scores.
        query_table: (H, 2M-1, d), a query per distance, smallest first; None omits position-to-content scores.

    Returns:
        (B, H, T, T): q_i . key[i-j] + k_j . query[i-j].
    """
    B, H, T, d = q.shape
    bias = q.new_empty(H, B, T, T)
    for start, w in _blocks(T, q.device):
        block = slice(start, start + w)
        target = bias[:, :, block]  # (H, B, w, T)
        if key_table is None:
            target.zero_()
        else:
            target.copy_(diagonals(_product(q[:, :, block], _rows(key_table, start, w, T)), T))
    if query_table is not None:
        for start, w in _blocks(T, q.device):
            block = slice(start, start + w)
            product = _product(k[:, :, block], _rows(query_table, start, w, T))
            bias[..., block].add_(diagonals(product, T).transpose(-1, -2))  # (H, B, T, w)
    return bias.transpose(0, 1)


def _product(x: Tensor, table: Tensor) -> Tensor:
    """Dot products (H, B, w, R) of x (B, H, w, d) with a table (H, R, d), as one matrix product per head."""
    B, H, w, d = x.shape
    flat = x.transpose(0, 1).reshape(H, B * w, d)
    return torch.bmm(flat, table.transpose(1, 2)).view(H, B, w, -1)


class PositionBias(torch.autograd.Function):
    """`position_bias` with gradients; the position products are not stored for the backward pass."""

    @staticmethod
    def forward(ctx, q, k, key_table, query_table):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(q, k, key_table, query_table)
        bias = q.new_empty(q.shape[0], q.shape[1], q.shape[2], q.shape[2])
        for rows in batch_slices(q.shape[0], q.shape[2], q.shape[1], q.device):
            bias[rows] = position_bias(q[rows], k[rows], key_table, query_table)
        return bias

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        q, k, key_table, query_table = ctx.saved_tensors
        d_q, d_keys = _spread(grad, q, key_table)
        d_k, d_queries = _spread(grad.transpose(-1, -2), k, query_table)
        return d_q, d_k, d_keys, d_queries


def _spread(grad: Tensor, x: Tensor, table: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of x (B, H, T, d) and its table (H, 2M-1, d) from the gradient (B, H, T, T) of the scores.

    Dim 2 of `grad` corresponds to the tokens of x.
    """
    if table is None:
        return None, None
    B, H, T, d = x.shape
    d_x, d_table = torch.empty_like(x), torch.zeros_like(table)
    for chunk in batch_slices(B, T, H, x.device):
        for start, w in _blocks(T, x.device):
            block = slice(start, start + w)
            rows = _rows(table, start, w, T)
            n = grad[chunk].shape[0]
            product = grad.new_zeros(H, n, w, T + w - 1)
            diagonals(product, T).copy_(grad[chunk, :, block].transpose(0, 1))
            flat = product.view(H, n * w, -1)
            d_x[chunk, :, block] = torch.bmm(flat, rows).view(H, n, w, d).transpose(0, 1)
            source = x[chunk, :, block].transpose(0, 1).reshape(H, n * w, d)
            _rows(d_table, start, w, T).add_(torch.bmm(flat.transpose(1, 2), source))
    return d_x, d_table


def gathered_bias(
    q: Tensor, k: Tensor, keys: Tensor | None, queries: Tensor | None, forward: Tensor, backward: Tensor
) -> Tensor:
    """The scores of `position_bias` for arbitrary relative positions, with a gather.

    Args:
        q, k: (B, H, T, d).
        keys, queries: (H, R, d), one vector per row of the relative embeddings; None omits that term.
        forward, backward: (B or 1, T, T) int64, row of the relative position (i, j) and of its negative.

    Returns:
        (B, H, T, T).
    """
    B, H, T, d = q.shape
    bias = q.new_zeros(())
    if keys is not None:
        bias = bias + _product(q, keys).gather(-1, forward.expand(H, B, T, T))
    if queries is not None:
        bias = bias + _product(k, queries).gather(-1, backward.expand(H, B, T, T)).transpose(-1, -2)
    return bias.transpose(0, 1)


class Positions:
    """Relative positions and mask of one pass, prepared once for all layers.

    Args:
        length: T.
        matrix: (B, T, T) or (1, T, T) relative positions, query minus key (bucketed if the model uses buckets); None
            for consecutive positions 0 .. T-1.
    """

    def __init__(self, length: int, matrix: Tensor | None) -> None:
        self.length, self.matrix = length, matrix
        self.reach: int | None = None  # largest absolute relative position in `matrix`; None: unknown
        if matrix is not None and matrix.device.type == "cpu":  # on a GPU this would force a synchronisation
            self.reach = int(matrix.abs().max())
        self._additive: tuple[Any, Tensor | None] | None = None
        self._rows: tuple[Tensor, Tensor] | None = None

    def additive(self, mask: Tensor, dtype: torch.dtype) -> Tensor | None:
        """Additive form of `mask` (B, 1, T, T): 0 where true, else a very low number. On a CPU, None if all true."""
        if self._additive is None or self._additive[0] is not mask:
            if mask.device.type == "cpu" and bool(mask.all()):
                self._additive = (mask, None)
            else:  # half of the minimum, so that adding scores cannot overflow
                low = torch.finfo(dtype).min / 2
                self._additive = (mask, torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask.bool(), low))
        return self._additive[1]

    def window(self, span: int) -> tuple[int, int]:
        """First row of the relative embeddings that `matrix` needs, and one past the last; `span` is half the rows."""
        reach = span if self.reach is None else self.reach
        return max(0, span - reach), min(2 * span, span + reach + 1)

    def rows(self, span: int) -> tuple[Tensor, Tensor]:
        """Embedding rows of `matrix` and of its negative, relative to the first row of the window."""
        if self._rows is None:
            assert self.matrix is not None
            first = self.window(span)[0]
            both = [(sign * self.matrix + span).clamp(0, 2 * span - 1) - first for sign in (1, -1)]
            self._rows = both[0], both[1]
        return self._rows
