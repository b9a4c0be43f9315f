"""The metric that selects the weights of a training, and whether the selection had any effect."""

import operator
from collections.abc import Callable, Sequence

import numpy as np

BETTER: dict[str, Callable[[float, float], bool]] = {"mean_ap": operator.gt, "validation_loss": operator.lt}

NEVER_MOVED = (
    "the selection metric never moved: no validation was better than the first, so the weights of the first are kept,"
    " whatever was learned after it"
)


def mean_average_precision(scores: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> float:
    """Mean over texts of the average precision of their labels, as defined in scikit-learn (no interpolation).

    Texts without a true label or without a false label cannot be ranked and are left out.

    Args:
        scores, targets: n arrays (K_i,) each.

    Raises:
        ValueError: no text is left.
    """
    from sklearn.metrics import average_precision_score

    ranked = [(s, t) for s, t in zip(scores, targets, strict=True) if 0 < t.sum() < len(t)]
    if not ranked:
        raise ValueError("no row has both a true and a false label, so nothing can be ranked")
    return float(np.mean([average_precision_score(t, s) for s, t in ranked]))


def never_moved(values: Sequence[float], better: Callable[[float, float], bool] = operator.gt) -> bool:
    """Whether no later validation was better than the first, so that the selection had no effect.

    Args:
        values: the selection metric at each validation, in order. With a single value, the result is False.
        better: whether its first argument is better than its second; `BETTER` has one for each metric.
    """
    return len(values) > 1 and not any(better(value, values[0]) for value in values[1:])
