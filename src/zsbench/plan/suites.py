"""Tasks of suites: their protocols and metrics, and the suites and systems of a task.

Code depends on the `task` ("single": one label per text; "multi": any number) and `metric` of a suite, never on its id.
"""

from dataclasses import dataclass
from typing import Any

ARGMAX, FIXED = "argmax", "fixed-0.5"
PROTOCOLS = {  # for task "multi": protocol -> splits that it reports on
    FIXED: ("validation", "test"),
    "val-tuned": ("validation",),
    "cv": ("validation",),
    "train-cv": ("validation",),
    "heads-tuned": ("validation",),
    "held-out": ("test",),
}
# From the HybridNLI card: used only if a config requests them, and not for significance tests.
OF_THE_CARD = ("train-cv", "heads-tuned")


@dataclass(frozen=True)
class Metric:
    """A metric that can be the headline metric of a suite; it is reported for all cells of its tasks.

    Attributes:
        name: display name, as used inside a sentence.
        reads: what it is computed from: "counts" of predictions, or "scores" (then it does not depend on the protocol).
        tasks: "single", "multi" or both.
    """

    name: str
    reads: str
    tasks: tuple[str, ...]


METRICS = {  # named like their functions in `evaluation.metrics`; no numpy here, since every job imports this
    "macro_f1": Metric("macro-F1", "counts", ("single", "multi")),
    "accuracy": Metric("accuracy", "counts", ("single",)),
    "mean_ap": Metric("mean AP", "scores", ("multi",)),
    "micro_f1": Metric("micro-F1", "counts", ("multi",)),
}
RANDOM = ("prior-random", "uniform-random", "shuffled-oracle")  # controls measured as the mean over many draws


def needed(protocol: str) -> set[str]:
    """The splits that a multi-label protocol reports on or fits thresholds on; `fixed-0.5` needs only one of them."""
    return {"validation", *PROTOCOLS[protocol], *(["train"] if protocol == "train-cv" else [])}


def metrics_of(task: str, reads: str = "") -> tuple[str, ...]:
    """Names of the metrics of a task, optionally only those computed from counts or from scores."""
    return tuple(name for name, one in METRICS.items() if task in one.tasks and reads in ("", one.reads))


def suites_of(spec: dict[str, Any], task: str) -> list[str]:
    """Ids of the suites with this task, in config order. `spec` is the analysis spec."""
    return [suite for suite, entry in spec["suites"].items() if entry["task"] == task]


def suite_systems(spec: dict[str, Any], suite: str) -> list[dict[str, Any]]:
    """The systems scored on a suite, in table order."""
    return [system for system in spec["systems"] if suite in system["suites"]]


def is_random(system: dict[str, Any]) -> bool:
    """Whether a system is a random control, whose value in tables is a mean over draws."""
    return system["settings"].get("control") in RANDOM


def nli_of(spec: dict[str, Any], suite: str, hybrid: dict[str, Any]) -> str | None:
    """The NLI system with the model that a hybrid builds on; None if the run does not score it on its own."""
    nli = hybrid["settings"].get("nli")
    candidates = [system for system in suite_systems(spec, suite) if system["family"] == "nli"]
    return next((one["id"] for one in candidates if nli in (one["id"], one.get("model"))), None)
