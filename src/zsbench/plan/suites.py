"""What a suite's task means: which protocols decide, and which suites and systems have it.

Code asks a suite's `task` ("single": one label per text; "multi": any number) and `metric`, never its id.
"""

from typing import Any

ARGMAX, FIXED = "argmax", "fixed-0.5"
PROTOCOLS = {  # of task multi: the splits that each protocol reports on
    FIXED: ("validation", "test"),
    "val-tuned": ("validation",),
    "cv": ("validation",),
    "held-out": ("test",),
}
SCORE_METRICS = ("mean_ap",)  # headline metrics of scores, the same under every protocol
RANDOM = ("prior-random", "uniform-random", "shuffled-oracle")  # controls that are measured as the mean of many draws


def suites_of(spec: dict[str, Any], task: str) -> list[str]:
    """Ids of the suites with this task, in the order of the config. `spec` is the analysis spec."""
    return [suite for suite, entry in spec["suites"].items() if entry["task"] == task]


def suite_systems(spec: dict[str, Any], suite: str) -> list[dict[str, Any]]:
    """The systems that were scored on a suite, in table order."""
    return [system for system in spec["systems"] if suite in system["suites"]]


def is_random(system: dict[str, Any]) -> bool:
    """A random control: its row in the tables is an expectation over draws."""
    return system["settings"].get("control") in RANDOM
