"""What every table says about its own making: a signature line, and the footnotes that tables share."""

from importlib.metadata import PackageNotFoundError, version

from zsbench.evaluation.statistics import smallest_corrected_p
from zsbench.reporting.frames import SIGNIFICANT, RunData
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
        "p": "holm",
        "zsbench": package_version(),
    }
    return "|".join(f"{key}:{value}" for key, value in parts.items())


def interval_note(run: RunData) -> str:
    """How intervals and p values were made."""
    statistics = run.spec["statistics"]
    return (
        f"Intervals: {statistics['level']:.0%} percentile intervals of a paired bootstrap over rows"
        f" ({statistics['draws']:,} draws), datasets as strata, plus a Student-t effect of seeds for systems with"
        " several; p is two-sided from the same draws; p (Holm) is corrected over the table's comparisons."
    )


def seeds_note(run: RunData, suite: str) -> str:
    """Over how many seeds the trained systems were averaged, and what one seed leaves out."""
    counts = {len(entry["seeds"]) for entry in run.spec["systems"] if entry["trained"] and suite in entry["suites"]}
    if not counts:
        return "No system of this run was trained by it."
    if counts == {1}:
        return (
            "Trained systems have one seed: intervals hold the choice of rows alone, and say nothing about how another"
            " training of the same system would score."
        )
    return f"Trained systems: mean over {' or '.join(map(str, sorted(counts)))} seeds; other systems have none."


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


def resolution_note(run: RunData, table: str) -> list[str]:
    """Warns where the draws are too few for any difference of the largest family to survive the correction."""
    frame, draws = run.deltas[run.deltas["table"] == table], run.spec["statistics"]["draws"]
    tests = int(frame["tests"].max()) if len(frame) else 0
    least = smallest_corrected_p(draws, tests)
    if least < SIGNIFICANT:
        return []
    return [
        f"With {draws:,} draws the least p (Holm) that {tests} comparisons can have is {least:.3f}: none of them can be"
        " called significant; raise statistics.draws."
    ]
