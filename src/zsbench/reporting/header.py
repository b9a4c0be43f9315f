"""The header card of a report: the size of the run, the hardware, and whether it is only a demonstration.

The page, REPORT.md and the terminal show the same card.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from zsbench.reporting.frames import RunData
from zsbench.store.errors import counted

REHEARSAL = "A rehearsal on miniature replicas (synthetic rows, random weights): the numbers are meaningless."
DEMONSTRATION = (
    "A demonstration, not a benchmark result: datasets are subsampled, so numbers are not comparable with published"
    " ones."
)
MINUTE = 60  # seconds
TIMED = "Computing"  # the one fact that differs between equal runs


@dataclass(frozen=True)
class Header:
    """The header card of a run.

    Attributes:
        banner: a warning that the run is a rehearsal or a demonstration; "" for a run on full test sets.
        facts: name -> text, in display order; facts that do not apply are left out.
    """

    banner: str
    facts: dict[str, str]


def header(run: RunData) -> Header:
    """Backbone, steps, seeds, rows, device, precision and compute time of a run, from its cards and records."""
    recipes = [record["spec"]["recipe"] for record in run.trainings.values() if "recipe" in record.get("spec", {})]
    cards = [run.cards[cell] for cell in run.cells()]
    facts = {
        "Backbone": _several(recipe["backbone"] for recipe in recipes),
        "Training": _training(recipes),
        "Seeds": f"{len(run.trained_seeds)} per trained system" if run.trained_seeds else "",
        "Rows": _rows(run),
        "Device": _several([*(card["device"] for card in cards), *(r["device"] for r in run.trainings.values())]),
        "Precision": _several([*(card["precision"] for card in cards), *(recipe["precision"] for recipe in recipes)]),
        TIMED: _minutes(run),
    }
    return Header(_banner(run), {name: words for name, words in facts.items() if words})


def sampled(card: dict[str, Any]) -> bool:
    """Whether the scored rows of a dataset are a sample of the published set, according to its card."""
    return bool(card.get("sample")) and sum(card["rows"].values()) < card["quality"]["rows"]


def _banner(run: RunData) -> str:
    cards = [run.dataset_card(name) for name in run.titles]
    if any(card.get("replica") for card in cards):
        return REHEARSAL
    return DEMONSTRATION if any(map(sampled, cards)) else ""


def _several(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value))


def _span(values: Iterable[int]) -> str:
    """`60`, or `60 to 200`."""
    low, *others = sorted({*values})
    return f"{low:,} to {others[-1]:,}" if others else f"{low:,}"


def _training(recipes: list[dict[str, Any]]) -> str:
    if not recipes:
        return ""
    lengths = {unit: [recipe[unit] for recipe in recipes if recipe.get(unit)] for unit in ("steps", "epochs")}
    longest = " or ".join(f"{_span(counts)} {unit}" for unit, counts in lengths.items() if counts)
    return f"{longest} of {_span(recipe['effective_batch'] for recipe in recipes)} texts"


def _rows(run: RunData) -> str:
    """Number of evaluated rows: test rows, or validation rows for datasets without a test split."""
    scored = [run.scored_rows(name) for name in run.titles]
    counts = [rows.get("test", rows.get("validation", 0)) for rows in scored if rows]
    return f"{_span(counts)} in each of {counted(len(counts), 'dataset')}" if all(counts) and counts else ""


def _minutes(run: RunData) -> str:
    """Total time of all jobs, not wall-clock time: some jobs ran in parallel."""
    training = sum(record["seconds"] for record in run.trainings.values())
    scoring = float(run.cost["seconds"].sum())
    if training + scoring < MINUTE / 2:
        return "under 1 min" if training + scoring else ""
    return (
        f"{(training + scoring) / MINUTE:.0f} min (training {training / MINUTE:.0f}, "
        f"scoring {scoring / MINUTE:.0f}), jobs added up"
    )
