"""What a suite's task means: which protocols decide, and which suites and systems have it.

Code asks a suite's `task` ("single": one label per text; "multi": any number) and `metric`, never its id.
"""

from dataclasses import dataclass
from typing import Any

ARGMAX, FIXED = "argmax", "fixed-0.5"
PROTOCOLS = {  # of task multi: the splits that each protocol reports on
    FIXED: ("validation", "test"),
    "val-tuned": ("validation",),
    "cv": ("validation",),
    "held-out": ("test",),
}


@dataclass(frozen=True)
class Metric:
    """A metric that a suite may be judged by, and that every cell of its tasks reports.

    Attributes:
        name: as a reader knows it, inside a sentence.
        reads: "counts" of predictions, or "scores", which are the same under every protocol.
        tasks: "single", "multi" or both.
    """

    name: str
    reads: str
    tasks: tuple[str, ...]


METRICS = {  # by the name of their function in `evaluation.metrics`; no numpy here, for every job reads this
    "macro_f1": Metric("macro-F1", "counts", ("single", "multi")),
    "accuracy": Metric("accuracy", "counts", ("single",)),
    "mean_ap": Metric("mean AP", "scores", ("multi",)),
    "micro_f1": Metric("micro-F1", "counts", ("multi",)),
}
RANDOM = ("prior-random", "uniform-random", "shuffled-oracle")  # controls that are measured as the mean of many draws


def metrics_of(task: str, reads: str = "") -> tuple[str, ...]:
    """Names of the metrics of a task; of those that read counts, or scores, where `reads` says so."""
    return tuple(name for name, one in METRICS.items() if task in one.tasks and reads in ("", one.reads))


def suites_of(spec: dict[str, Any], task: str) -> list[str]:
    """Ids of the suites with this task, in the order of the config. `spec` is the analysis spec."""
    return [suite for suite, entry in spec["suites"].items() if entry["task"] == task]


def suite_systems(spec: dict[str, Any], suite: str) -> list[dict[str, Any]]:
    """The systems that were scored on a suite, in table order."""
    return [system for system in spec["systems"] if suite in system["suites"]]


def is_random(system: dict[str, Any]) -> bool:
    """A random control: its row in the tables is an expectation over draws."""
    return system["settings"].get("control") in RANDOM
