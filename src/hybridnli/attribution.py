"""Which part of the hybrid makes the score: the same stored outputs blended with other weights. Pure numpy.

Axis legend: n rows, L labels, S specialist labels.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["attribution_scores", "blend"]


def blend(nli: np.ndarray, poly: np.ndarray, alpha: np.ndarray | float, columns: Sequence[int]) -> np.ndarray:
    """score_l = alpha_l nli_l + (1 - alpha_l) poly_l for specialist labels, nli_l for the others.

    Args:
        nli: (n, L) NLI scores in [0, 1].
        poly: (n, S) head probabilities in [0, 1].
        alpha: (S,) weights of the NLI score in [0, 1], or one number for all.
        columns: S distinct columns of the specialists in `nli`, in the order of `poly`.

    Returns:
        (n, L) float64.

    Raises:
        ValueError: shapes that do not fit, a column out of range, alpha outside [0, 1].
    """
    nli, poly = np.asarray(nli, dtype=np.float64), np.asarray(poly, dtype=np.float64)
    alpha = np.asarray(alpha, dtype=np.float64)
    if poly.shape != (len(nli), len(columns)) or alpha.shape not in ((), (len(columns),)):
        raise ValueError(
            f"nli {nli.shape}, poly {poly.shape}, alpha {alpha.shape} and {len(columns)} columns do not fit; "
            "expected (n, L), (n, S), (S,) or a number, and S columns"
        )
    if len(set(columns)) != len(columns) or not all(0 <= c < nli.shape[1] for c in columns):
        raise ValueError(f"columns {list(columns)} must be distinct and in 0 ... {nli.shape[1] - 1}")
    if not ((alpha >= 0) & (alpha <= 1)).all():
        raise ValueError(f"alpha {alpha.tolist()} must lie in [0, 1]")
    scores = nli.copy()
    scores[:, list(columns)] = alpha * nli[:, list(columns)] + (1 - alpha) * poly
    return scores


def attribution_scores(
    nli: np.ndarray, poly: np.ndarray, alpha: np.ndarray, columns: Sequence[int]
) -> dict[str, np.ndarray]:
    """Score matrices (n, L) of the attribution rows, by name; arguments as in `blend`.

    `nli`: NLI alone; `alpha-learned`: the hybrid; `alpha-0`: heads alone on specialist labels; `alpha-0.5`: the equal
    blend; `alpha-1`: equal to `nli`, kept as a check of the pipeline.
    """
    return {
        "nli": np.asarray(nli, dtype=np.float64).copy(),
        "alpha-learned": blend(nli, poly, alpha, columns),
        "alpha-0": blend(nli, poly, 0.0, columns),
        "alpha-0.5": blend(nli, poly, 0.5, columns),
        "alpha-1": blend(nli, poly, 1.0, columns),
    }
