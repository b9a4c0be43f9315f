"""Which rows each optimiser step sees: a pure function of (seed, step), so a resumed run continues exactly."""

import numpy as np


def step_rows(lengths: np.ndarray, step: int, batch: int, seed: int, window: int = 8) -> np.ndarray:
    """Rows of optimiser step `step`.

    Every epoch is a fresh permutation; inside a window of `window` batches rows are sorted by length, so that batches
    hold rows of similar length, and the batches of a window come in random order.

    Args:
        lengths: (n,) length of each training row.
        step: 0-based optimiser step.
        batch: rows a step (the effective batch). A last, short batch of an epoch is left out.
        seed: order seed.
        window: batches sorted together.

    Returns:
        (batch,) row indices.

    Raises:
        ValueError: fewer rows than one batch.
    """
    per_epoch = len(lengths) // batch
    if per_epoch == 0:
        raise ValueError(f"the training set has {len(lengths)} rows, fewer than one effective batch of {batch}")
    epoch, position = divmod(step, per_epoch)
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(lengths))[: per_epoch * batch]
    start = position // window * window
    rows = order[start * batch : min(start + window, per_epoch) * batch]
    rows = rows[np.argsort(lengths[rows], kind="stable")].reshape(-1, batch)  # (batches of the window, batch)
    shuffled = np.random.default_rng((seed, epoch, start)).permutation(len(rows))
    return rows[shuffled[position - start]]
