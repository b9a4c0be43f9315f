"""Length limits of models, and length-sorted batches within a token budget. Shared by all scorers."""

from collections.abc import Sequence
from typing import Any

from torch import nn

POSITION_TABLES = ("position_embeddings", "embed_positions", "wpe")  # transformers' learned absolute positions
NO_LIMIT = 10**18  # tokenizers without a limit say about 1e30
FALLBACK_LENGTH = 512  # where neither tokenizer, weights nor config say anything
# Padded tokens in a batch unless the caller says otherwise. Measured on a CPU: from about 3000 on, the activations of a
# layer leave the cache and a token takes up to 1.4 times as long.
CPU_BUDGET, DEVICE_BUDGET = 1024, 16384


def position_limit(model: nn.Module) -> int | None:
    """Number of absolute positions of a model; None if positions are relative or rotary.

    Read from the position table. RoBERTa, MPNet and similar models start counting after the padding id, and BART at 2,
    so the rows before that are not used.
    """
    limits = [
        module.num_embeddings - (getattr(module, "offset", 0) if module.padding_idx is None else module.padding_idx + 1)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in POSITION_TABLES
    ]
    return min(limits, default=None)


def length_limit(model: nn.Module, *stated: int | None) -> int:
    """Maximum sequence length: the smallest of the given limits (such as the tokenizer's) and the model's positions.

    Args:
        model: a transformers model, or a module that contains one.
        stated: further limits; None and values like 1e30 mean no limit.

    Returns:
        The limit; if there is none, the training length from the config.
    """
    limits = [limit for limit in (*stated, position_limit(model)) if limit is not None and limit < NO_LIMIT]
    if limits:
        return min(limits)
    config: Any = getattr(model, "config", None)
    return getattr(config, "max_position_embeddings", None) or FALLBACK_LENGTH


def device_token_budget(device_type: str) -> int:
    """Default token budget for a device ("cpu", "cuda", ...)."""
    return CPU_BUDGET if device_type == "cpu" else DEVICE_BUDGET


def token_budget_batches(lengths: Sequence[int], budget: int, max_rows: int = 256) -> list[list[int]]:
    """Group row indices so that `rows x longest row` of each batch stays within `budget` tokens.

    Rows are processed longest first (so the first batch has the peak memory), ties in input order. This keeps padding
    minimal and the grouping deterministic. A single row longer than `budget` gets its own batch.

    Args:
        lengths: tokens per row.
        budget: maximum tokens per batch, padding included (> 0).
        max_rows: maximum rows per batch (> 0).

    Returns:
        Batches of indices into `lengths`; every index occurs exactly once.

    Raises:
        ValueError: `budget` or `max_rows` is not positive.

    >>> token_budget_batches([3, 9, 4, 9], budget=18)
    [[1, 3], [2, 0]]
    """
    if budget <= 0 or max_rows <= 0:
        raise ValueError(f"budget and max_rows must be positive, got budget={budget}, max_rows={max_rows}")
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for i in order:
        # Rows come longest first, so the first row of a batch sets its padded width.
        if batches and len(batches[-1]) < max_rows and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def consecutive_batches(lengths: Sequence[int], budget: int, max_rows: int = 256) -> list[range]:
    """Split rows into consecutive batches of at most `budget` tokens, not counting padding.

    Args:
        lengths: tokens per row.
        budget: maximum tokens per batch; a longer row gets its own batch.
        max_rows: maximum rows per batch.

    >>> consecutive_batches([3, 9, 4, 9], budget=13)
    [range(0, 2), range(2, 4)]
    """
    batches, start, tokens = [], 0, 0
    for i, length in enumerate(lengths):
        if i > start and (tokens + length > budget or i - start == max_rows):
            batches.append(range(start, i))
            start, tokens = i, 0
        tokens += length
    return [*batches, range(start, len(lengths))] if lengths else []
