"""What every table says about its own making: a signature line, and the footnotes that tables share."""

from importlib.metadata import PackageNotFoundError, version

from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.store.provenance import digest
from zsbench.systems.controls import RANDOM

TRIVIAL = ("majority", "always-positive", "position-first", "position-last", *RANDOM)


def package_version() -> str:
    """The version that made the table, "source" for an uninstalled checkout."""
    try:
        return version("zsbench")
    except PackageNotFoundError:
        return "source"


def signature(run: RunData, suite: str, metric: str) -> str:
    """One line in the manner of sacreBLEU: what was measured on what, and how the intervals were made."""
    statistics, datasets = run.spec["statistics"], run.datasets(suite)
    seeds = sorted({seed for entry in run.spec["systems"] if entry["trained"] for seed in entry["seeds"]})
    labels = digest([[name, entry["labels"]] for name, entry in datasets.items()])
    parts = {
        "metric": metric,
        "run": run.spec["run"],
        "sets": str(len(datasets)),
        "labels": labels[:8],
        "seeds": ",".join(map(str, seeds)) or "none",
        "ci": f"bootstrap-{statistics['draws']}@{statistics['level']:g}",
        "rng": str(statistics["seed"]),
        "p": "swaps+max-t",
        "zsbench": package_version(),
    }
    return "|".join(f"{key}:{value}" for key, value in parts.items())


def interval_note(run: RunData) -> str:
    """How intervals and p values were made."""
    statistics = run.spec["statistics"]
    draws = f"{statistics['draws']:,}"
    return (
        f"Intervals: {statistics['level']:.0%} percentile intervals of a paired bootstrap over rows ({draws} draws),"
        " datasets as strata; where systems have several seeds, a Student-t error of seeds is added, its variance"
        f" pooled over the variants of one base. p: two-sided, from {draws} runs in which a coin decides, row by row,"
        " which of the two systems gave which answer."
    )


def seeds_note(run: RunData, suite: str) -> str:
    """Over how many seeds the trained systems were averaged, and what few seeds leave out."""
    counts = {len(entry["seeds"]) for entry in run.spec["systems"] if entry["trained"] and suite in entry["suites"]}
    if not counts:
        return "No system of this run was trained by it."
    if counts == {1}:
        return (
            "Trained systems have one seed: every difference is one between these checkpoints, and says nothing about"
            " how another training of the same system would score."
        )
    few = " Two seeds support no verdict, so comparisons of such systems have no p." if 2 in counts else ""
    return f"Trained systems: mean over {' or '.join(map(str, sorted(counts)))} seeds; other systems have none.{few}"


def rows_note(run: RunData, suite: str, splits: tuple[str, ...]) -> str:
    """Rows and revision of each dataset, from the cells' cards."""
    parts, first = [], {cell[1]: cell for cell in reversed(run.cells()) if cell[0] == suite}
    for name, entry in run.datasets(suite).items():
        card = (run.card(*first[name]) or {}) if name in first else {}
        counts = card.get("rows", {})
        rows = ", ".join(f"{counts[split]:,} {split}" for split in splits if split in counts) or "unknown"
        parts.append(f"{entry['title']} {rows} @ {str(card.get('revision', 'unknown'))[:12]}")
    return f"Rows @ revision: {'; '.join(parts)}."


def best_trivial(run: RunData, suite: str, values: dict[str, float]) -> float | None:
    """The best value among controls that read no text and know no gold of the row; None without such a control.

    A random control's value is its expectation (`measure.expected_rows`), not one draw's.

    Args:
        values: metric of each system.
    """
    found = [
        values[entry["id"]]
        for entry in run.spec["systems"]
        if suite in entry["suites"] and entry["control"] and entry["settings"].get("control") in TRIVIAL
        if entry["id"] in values
    ]
    return max(found, default=None)


def family_note(run: RunData, table: str) -> list[str]:
    """How many comparisons were tested together, and where labels have too few rows."""
    frame = run.deltas[run.deltas["table"] == table]
    whole = frame[(frame["dataset"] == AVERAGE) & (frame["tests"] > 0)]
    places = whole.groupby(["protocol", "split"], sort=False, observed=True)["tests"].max()
    sizes = [
        f"{size:.0f}" if len(places) == 1 else f"{size:.0f} ({', '.join(place)})" for place, size in places.items()
    ]
    rare = frame[(frame["dataset"] != AVERAGE) & (frame["rare_labels"] > 0)]
    labels = rare.groupby("dataset", sort=False, observed=True)["rare_labels"].max()
    notes = []
    if sizes:
        notes.append(
            f"p (Holm): Holm's steps with the joint distribution of all comparisons of the suite under one protocol,"
            f" each tested once whatever tables show it: {'; '.join(sizes)}. A dataset's own difference is tested only"
            " where the average is significant."
        )
    if len(labels):
        found = ", ".join(f"{dataset} {count:.0f}" for dataset, count in labels.items())
        notes.append(f"Labels with fewer than five rows, whose F1 is little but luck: {found}.")
    return notes
