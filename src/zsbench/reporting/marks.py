"""Marks of how a system's weights were chosen, and what they mean to a reader."""

from collections.abc import Mapping
from typing import Any

from zsbench.reporting.frames import RunData

UNMOVED, CHOSEN = "§", "¶"
UNMOVED_NOTE = (
    f"{UNMOVED} with at least one seed no validation of the training was better than the first, so the weights of the"
    " first were kept: the metric that chooses weights chose nothing."
)
CHOSEN_NOTE = (
    f"{CHOSEN} weights chosen on the very rows that are reported, or by a training that declares the set as seen."
    " Only held-out is free of it."
)


def plain(name: str) -> str:
    """A system's name without its marks."""
    return name.rstrip(f" {UNMOVED}{CHOSEN}")


def chosen_on(run: RunData, system: str, dataset: str, split: str) -> bool:
    """Whether the weights of a topic system were chosen on the rows of this split.

    Heads that this run trains look at the validation rows of their set to stop; what a publisher's training looked at
    is not known row by row, so that every split of a set that it declares as seen counts.
    """
    entry = next(entry for entry in run.spec["systems"] if entry["id"] == system)
    if entry["settings"].get("blend") == "nli":  # reads no head
        return False
    if entry["trained"]:
        return split == "validation" and entry["settings"].get("dataset") == dataset
    return dataset in entry["settings"].get("seen", [])


def published_on(entry: Mapping[str, Any], system: Mapping[str, Any]) -> bool:
    """Whether a publication's system was made of the set that it is reported on."""
    return not set(entry["datasets"]).isdisjoint(system.get("made_of", []))
