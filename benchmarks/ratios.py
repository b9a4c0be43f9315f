"""The comparisons, their goals, and whether a goal is met."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.timing import Rounds, ratio

DEFAULTS = {"gliclass": "gliclass-8/fp32", "pipeline": "pipeline-1/fp32"}  # what the packages' documented calls do


@dataclass(frozen=True)
class Comparison:
    """How many times more time per text `slow` takes than `fast`, in the same rounds.

    Attributes:
        title: name on the page.
        part: measured part that contains both.
        fast, slow: contenders, or families of contenders that differ in batch size (`gliclass-8` is in `gliclass`).
        goals: precision of `fast` -> minimum; no goal for a precision that is missing.
        default: `slow` is the package's documented call (fp32, default batch size); otherwise its best batch size in
            the precision of `fast`.
    """

    title: str
    part: str
    fast: str
    slow: str
    goals: Mapping[str, float] = field(default_factory=dict)
    default: bool = False


def _both(goal: float) -> dict[str, float]:
    return {"fp32": goal, "bf16": goal}


COMPARISONS = (
    Comparison("GliZNet vs gliclass", "mixed", "gliznet", "gliclass", {"fp32": 1.25, "bf16": 1.4}),
    Comparison("GliZNet vs gliclass, default call", "mixed", "gliznet", "gliclass", _both(3.0), default=True),
    Comparison("GliZNet, labels apart vs gliclass", "mixed", "apart", "gliclass", _both(1.8)),
    Comparison("GliZNet, labels apart vs gliclass, default call", "mixed", "apart", "gliclass", _both(4.0), True),
    Comparison("GliZNet, order-invariant vs gliclass", "mixed", "invariant", "gliclass"),
    Comparison("GliZNet vs transformers pipeline", "pairs", "gliznet", "pipeline", _both(10.0)),
    Comparison("GliZNet, labels apart vs transformers pipeline", "pairs", "apart", "pipeline", _both(14.0)),
    Comparison("GliZNet, labels apart vs transformers pipeline", "many", "apart", "pipeline", _both(40.0)),
    *(
        comparison
        for part in ("nli-5", "nli-10")
        for comparison in (
            Comparison("NLI pass vs transformers pipeline", part, "nli-sorted", "pipeline", _both(1.5)),
            Comparison(
                "NLI pass vs transformers pipeline, default call", part, "nli-sorted", "pipeline", {"bf16": 2.5}, True
            ),
        )
    ),
)
ATTENTION = {"one-short": ("1 x 32 tokens", 2.5), "mixed": ("mixed batches", 1.6)}
SHARE, TRAINING_SHARE = 0.70, 0.60  # of the rate of a large matrix product
STEP, NORMS = 1.05, 0.03  # at most


def verdict(low: float, high: float, goal: float | None, at_most: bool = False) -> str:
    """Whether an interval reaches a goal: "yes" if all of it does, "no" if none of it does, else "undecided"."""
    if goal is None:
        return ""
    best, worst = (low, high) if at_most else (high, low)
    reaches = (lambda value: value <= goal) if at_most else (lambda value: value >= goal)
    return "yes" if reaches(worst) else "undecided" if reaches(best) else "no"


def best(measured: dict[str, Any], family: str, precision: str, clock: str) -> str | None:
    """Name of the fastest contender of a family in a precision; None if there is none."""
    names = [name for name in measured if name.startswith(f"{family}-") and name.endswith(f"/{precision}")]
    return max(names, key=lambda name: measured[name]["texts_per_second"][clock]["mean"], default=None)


def ratios(found: dict[str, Any], precisions: list[str], clock: str, norms_every: int) -> list[dict[str, Any]]:
    """Every comparison that was measured, paired by round.

    Args:
        found: the measured parts of a shape.
        precisions: the measured precisions.
        clock: "cpu" or "wall", which chooses the best contender of a family.
        norms_every: training steps between two measurements of gradient norms.

    Returns:
        Rows with comparison, precision, against, labels, goal, at_most, rounds, times (wall and cpu: mean, low, high),
        times_tokens (encoder tokens of the slower way over those of the faster one, or None).
    """
    rows = []
    for one in COMPARISONS:
        for precision in precisions:
            measured, name = found[one.part], f"{one.fast}/{precision}"
            other = DEFAULTS[one.slow] if one.default else best(measured, one.slow, precision, clock)
            if other is not None and other in measured:
                a, b = measured[name], measured[other]
                factor, goal = a["texts"] / b["texts"], one.goals.get(precision)
                row = _row(one.title, precision, a["rounds"], b["rounds"], goal, against=other, factor=factor)
                # The speed-up explained by fewer tokens; the rest is time per token, and work outside the encoder.
                tokens = factor * b["encoder_tokens"] / max(a["encoder_tokens"], 1)
                rows.append(row | {"labels": a["labels"], "times_tokens": tokens})
    for precision in precisions:
        ours, products = found["mixed"][f"gliznet/{precision}"], found["mixed"][f"products/{precision}"]
        factor = ours["operations"] / products["operations"]
        title = "GliZNet's share of matrix products"
        rows.append(_row(title, precision, ours["rounds"], products["rounds"], SHARE, factor=factor))
        for part, (what, goal) in ATTENTION.items():
            rounds = found.get("attention", {}).get(precision, {}).get(part)
            if rounds:
                title = f"DeBERTa fast path vs transformers, {what}"
                rows.append(_row(title, precision, rounds["fast"], rounds["transformers"], goal))
        rows += _training(found["training"][precision], precision, norms_every)
    return rows


def _training(measured: dict[str, Any], precision: str, norms_every: int) -> list[dict[str, Any]]:
    rounds, share = measured["rounds"], measured["operations"] / measured["product_operations"]
    ours, products, bare = rounds["gliznet"], rounds["products"], rounds["bare"]
    rows = [
        _row("Training's share of matrix products", precision, ours, products, TRAINING_SHARE, factor=share),
        _row("Training step vs bare encoder", precision, bare, ours, STEP, at_most=True),
    ]
    if "norms" in rounds:
        title, factor = "Gradient norms vs training steps", measured["steps"] / norms_every
        rows.append(_row(title, precision, ours, rounds["norms"], NORMS, at_most=True, factor=factor))
    return rows


def _row(
    title: str,
    precision: str,
    fast: Rounds,
    slow: Rounds,
    goal: float | None,
    *,
    against: str = "",
    at_most: bool = False,
    factor: float = 1.0,
) -> dict[str, Any]:
    row: dict[str, Any] = {"comparison": title, "precision": precision, "against": against}
    row |= {"labels": None, "times_tokens": None, "goal": goal, "at_most": at_most, "rounds": len(fast)}
    return row | {"times": ratio(fast, slow, factor)}
