"""Whether the metric that chose a training's weights chose anything."""

from collections.abc import Sequence

NEVER_MOVED = (
    "the selection metric never moved: no validation was better than the first, so the weights of the first are kept,"
    " whatever was learned after it"
)


def never_moved(values: Sequence[float]) -> bool:
    """Whether no validation after the first was better than it: falling, or tied throughout.

    Args:
        values: the selection metric at each validation, in order. One alone chose nothing, and is no answer: False.
    """
    return len(values) > 1 and not any(value > values[0] for value in values[1:])
