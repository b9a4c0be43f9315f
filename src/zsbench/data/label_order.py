"""The order in which labels of an evaluation row are shown to models.

Stored rows list their true labels first, and a joint encoder can learn to favour early positions. Therefore every row
used for model selection or evaluation shows its labels in a pseudo-random order that depends only on the text and the
label names, not on which labels are true or on their order in the file.
"""

import hashlib
from collections.abc import Sequence

SEED = 20261128


def shown_labels(text: str, true: Sequence[str], false: Sequence[str]) -> tuple[list[str], list[int]]:
    """Labels of one row in the order in which every system sees them, with their targets.

    Args:
        true, false: its true and false labels, which must be disjoint.

    Returns:
        K labels in pseudo-random order, and K targets (1 true, 0 false).
    """

    def rank(label: str) -> bytes:
        return hashlib.sha256(f"{SEED}\0{text}\0{label}".encode("utf-8", "surrogatepass")).digest()

    labels, truth = sorted([*true, *false], key=rank), set(true)
    return labels, [int(label in truth) for label in labels]
