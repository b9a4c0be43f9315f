"""The order in which an evaluation row shows its labels.

Stored rows list their true labels first, and a joint encoder can learn to favour early positions. So every row that is
used to choose or to judge a model shows its labels in this order, which depends on the text and on the label names and
on nothing else: not on which labels are true, nor on how a file lists them.
"""

import hashlib
from collections.abc import Sequence

SEED = 20261128


def shown_labels(text: str, true: Sequence[str], false: Sequence[str]) -> tuple[list[str], list[int]]:
    """Labels of one row in the order that every system sees them, with their targets.

    Args:
        text: the row's text.
        true, false: its labels; a label is in one of the two.

    Returns:
        K labels in pseudo-random order, and K targets (1 true, 0 false).
    """

    def rank(label: str) -> bytes:
        return hashlib.sha256(f"{SEED}\0{text}\0{label}".encode("utf-8", "surrogatepass")).digest()

    labels, truth = sorted([*true, *false], key=rank), set(true)
    return labels, [int(label in truth) for label in labels]
