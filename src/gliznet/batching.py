"""Length limits of models, and length-sorted batches within a token budget. Shared by all scorers."""

from collections.abc import Sequence
from typing import Any

from torch import nn

POSITION_TABLES = ("position_embeddings", "embed_positions", "wpe")  # transformers' learned absolute positions
NO_LIMIT = 10**18  # tokenizers without a limit report about 1e30
FALLBACK_LENGTH = 512  # when neither the tokenizer, the weights nor the config give a limit
# Default padded tokens per batch. Measured on a CPU: beyond about 3000, a layer's activations no longer fit in cache
# and each token takes up to 1.4 times as long.
CPU_BUDGET, DEVICE_BUDGET = 1024, 16384


def position_limit(model: nn.Module) -> int | None:
    """Number of usable absolute positions of a model; None if positions are relative or rotary.

    Read from the position embedding table. RoBERTa, MPNet and similar models number positions from the padding id + 1
    and BART from 2, so the earlier rows of the table are unused.
    """
    limits = [
        module.num_embeddings - (getattr(module, "offset", 0) if module.padding_idx is None else module.padding_idx + 1)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in POSITION_TABLES
    ]
    return min(limits, default=None)


def length_limit(model: nn.Module, *stated: int | None) -> int:
    """Maximum sequence length: the smallest of the given limits (such as the tokenizer's) and `position_limit(model)`.

    Args:
        model: a transformers model, or a module that contains one.
        stated: further limits; None and values like 1e30 mean no limit.

    Returns:
        The limit in tokens; if there is none, `max_position_embeddings` from the config, else `FALLBACK_LENGTH`.
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
    """Group row indices into batches whose padded size (`rows x longest row`) is at most `budget` tokens.

    Rows are sorted by falling length, ties in input order. This keeps padding small, makes the grouping deterministic
    and puts the peak of memory use in the first batch. A single row longer than `budget` gets its own batch.

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
        # Rows are sorted longest first, so the first row of a batch sets its padded width.
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
