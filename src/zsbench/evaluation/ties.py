"""The winning label of a row, including ties for the highest score. n rows, L labels.

This is a separate module because scoring needs it too (for sensitivity), and changes in how cells are read must not
trigger rescoring.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np


def winners(scores: np.ndarray, rows: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """The label with the highest score in each row; ties are broken pseudo-randomly.

    The tie-break is a hash of (row, label), so it depends neither on the order of labels nor on that of rows, is the
    same for every system, and gives each tied label the same chance.

    Args:
        scores: (n, L).
        rows: (n,) names of the rows, such as sample ids.
        labels: (L,) names of the columns.

    Returns:
        (n,) column indices.
    """
    best = scores == scores.max(axis=1, keepdims=True)  # (n, L)
    winning = best.argmax(axis=1)
    for i in np.flatnonzero(best.sum(axis=1) > 1).tolist():
        winning[i] = min(np.flatnonzero(best[i]).tolist(), key=lambda label: _draw(rows[i], labels[label]))
    return winning


def _draw(row: str, label: str) -> bytes:
    return blake2b(f"{row}\n{label}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
