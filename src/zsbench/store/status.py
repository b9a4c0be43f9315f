"""What a cell's card says under `status`. A cell that is not ok holds no scores, and its card says why (`reason`)."""

from typing import Any

OK = "ok"
NOT_APPLICABLE = "not-applicable"  # the system cannot take the label set: the same whenever it is tried
FAILED = "failed"  # the system raised, or gave no usable scores: the next command tries again


def status(card: dict[str, Any]) -> str:
    """What a card says of its cell."""
    return str(card.get("status", OK))
