"""Lengths: how many tokens a model takes, and length-sorted batches under a token budget. Shared by every scorer."""

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
    """Tokens for which a model has absolute positions; None where they are relative or rotary.

    Read off the table itself. RoBERTa, MPNet and their kin count positions from the padding's id on, BART from 2 on, so
    the rows before are no token's position.
    """
    limits = [
        module.num_embeddings - (getattr(module, "offset", 0) if module.padding_idx is None else module.padding_idx + 1)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in POSITION_TABLES
    ]
    return min(limits, default=None)


def length_limit(model: nn.Module, *stated: int | None) -> int:
    """Tokens of a sequence: the smallest of the stated limits (a tokenizer's, say) and the model's positions.

    Args:
        model: a transformers model, or a module that holds one.
        stated: limits; None and numbers like 1e30 mean no limit.

    Returns:
        That limit; without any, the length that the config says the model was trained for.
    """
    limits = [limit for limit in (*stated, position_limit(model)) if limit is not None and limit < NO_LIMIT]
    if limits:
        return min(limits)
    config: Any = getattr(model, "config", None)
    return getattr(config, "max_position_embeddings", None) or FALLBACK_LENGTH


def device_token_budget(device_type: str) -> int:
    """The token budget that suits a device ("cpu", "cuda", ...)."""
    return CPU_BUDGET if device_type == "cpu" else DEVICE_BUDGET


def token_budget_batches(lengths: Sequence[int], budget: int, max_rows: int = 256) -> list[list[int]]:
    """Group row indices so that `rows x longest row` of each batch stays within `budget` tokens.

    Rows are taken longest first (the first batch then shows the peak memory), ties in input order, so padding is
    close to nil and the grouping is deterministic. A single row longer than `budget` gets its own batch.

    Args:
        lengths: tokens of each row.
        budget: padded tokens that a batch may hold (> 0).
        max_rows: upper bound of rows in a batch (> 0).

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
