"""Length-sorted batches under a token budget, shared by every scorer of this project."""

from collections.abc import Sequence

# Padded tokens a batch where the caller names none. Measured on a CPU: from about 3000 on, the activations of a layer
# leave the cache and a token takes up to 1.4 times as long.
CPU_BUDGET, DEVICE_BUDGET = 1024, 16384


def device_token_budget(device_type: str) -> int:
    """The token budget that suits a device ("cpu", "cuda", ...)."""
    return CPU_BUDGET if device_type == "cpu" else DEVICE_BUDGET


def token_budget_batches(lengths: Sequence[int], budget: int, max_rows: int = 256) -> list[list[int]]:
    """Group row indices so that `rows x longest row` of each batch stays within `budget` tokens.

    Rows are taken longest first (the first batch then shows the peak memory), ties in input order, so padding is
    close to nil and the grouping is deterministic. A single row longer than `budget` gets a batch of its own.

    Args:
        lengths: tokens of each row.
        budget: padded tokens a batch may hold (> 0).
        max_rows: upper bound of rows a batch (> 0).

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
