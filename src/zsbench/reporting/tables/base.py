"""What tables share: the registry, footnotes, and the line that says how numbers were made."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from zsbench.plan.contents import ReportItem, tables
from zsbench.plan.suites import RANDOM
from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.reporting.render import EMPTY, MARKS, Column, Table
from zsbench.store.provenance import digest

TRIVIAL = ("majority", "always-positive", "position-first", "position-last", *RANDOM)
TRAININGS = "trainings"  # the unit of a difference that holds for other trainings of the same systems too
UNMOVED_NOTE = (
    f"{MARKS['unmoved']} with at least one seed no validation of the training was better than the first, so the"
    " weights of the first were kept: the metric that chooses weights chose nothing."
)
CHOSEN_NOTE = (
    f"{MARKS['chosen']} weights chosen on the very rows that are reported, or by a training that declares the dataset"
    " as seen. Only held-out is free of it."
)
PROTOCOL_NOTE = (
    "Protocols: fixed-0.5 (every threshold 0.5); val-tuned (thresholds fitted and reported on the same validation"
    " rows); cv (each row decided by thresholds of the other folds); held-out (thresholds of validation, one look at"
    " test)."
)

Builder = Callable[..., Table]
BUILDERS: dict[str, Builder] = {}  # by kind, see `plan.contents.ReportItem`
SECTIONS: dict[str, str] = {}  # kind -> section of the page
ALWAYS: list[str] = []


def table(kind: str, section: str, always: bool = False) -> Callable[[Builder], Builder]:
    """Register a function `(run) -> Table`, or `(run, suite) -> Table` of a kind that `plan.contents` has per suite.

    Args:
        kind: of the table; file name of one that is about all suites.
        section: of the page that shows it; `{suite}` stands for the suite's id.
        always: write it for every run; else for those that `plan.contents.tables` names.
    """

    def register(build: Builder) -> Builder:
        BUILDERS[kind], SECTIONS[kind] = build, section
        if always:
            ALWAYS.append(kind)
        return build

    return register


def available_items(spec: dict[str, Any]) -> dict[str, ReportItem]:
    """The tables that a run has, by name, in the order of the report."""
    return tables(spec) | {kind: ReportItem(kind) for kind in ALWAYS}


def build_table(run: RunData, name: str, item: ReportItem) -> Table:
    """One table of a run, whole."""
    built = BUILDERS[item.kind](run, *filter(None, [item.suite]))
    section = SECTIONS[item.kind].format(suite=item.suite)
    return replace(with_unmoved(built, run), name=name, kind=item.kind, section=section)


def with_unmoved(table: Table, run: RunData) -> Table:
    """The table with a mark at each system whose selection metric never moved, and what the mark means."""
    frame, columns = table.frame, list(table.columns)
    for name in ("system", "baseline", "measured_by"):
        flags = frame[name].isin(run.unmoved) if name in frame else pd.Series(dtype=bool)
        if flags.any():
            frame = frame.assign(**{f"{name}.unmoved": flags})
            shown = "measured" if name == "measured_by" else name
            columns = [replace(c, marks=(*c.marks, f"{name}.unmoved")) if c.value == shown else c for c in columns]
    if frame is table.frame:
        return table
    return replace(table, frame=frame, columns=tuple(columns), notes=(*table.notes, UNMOVED_NOTE))


def package_version() -> str:
    """The version that made the table, "source" for an uninstalled checkout."""
    try:
        return version("zsbench")
    except PackageNotFoundError:
        return "source"


def signature(run: RunData, suite: str) -> str:
    """One line in the manner of sacreBLEU: what was measured on what, and how the intervals were made."""
    statistics, datasets = run.spec["statistics"], run.datasets(suite)
    seeds = sorted({seed for entry in run.spec["systems"] if entry["trained"] for seed in entry["seeds"]})
    parts = {
        "metric": run.metric(suite),
        "run": run.spec["run"],
        "suite": suite,
        "sets": len(datasets),
        "labels": digest([[name, entry["labels"]] for name, entry in datasets.items()])[:8],
        "seeds": ",".join(map(str, seeds)) or "none",
        "ci": f"bootstrap-{statistics['draws']}@{statistics['level']:g}",
        "rng": statistics["seed"],
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


def rows_note(run: RunData, *suites: str) -> str:
    """Rows and revision of each dataset, from the cells' cards."""
    parts = []
    for suite in suites:
        first = {cell[1]: run.cards[cell] for cell in reversed(run.cells()) if cell[0] == suite}
        for name, entry in run.datasets(suite).items():
            counts = {k: v for k, v in first.get(name, {}).get("rows", {}).items() if k != "train"}
            rows = ", ".join(f"{count:,} {split}" for split, count in counts.items()) or "unknown"
            parts.append(f"{entry['title']} {rows} @ {str(first.get(name, {}).get('revision', 'unknown'))[:12]}")
    return f"Rows @ revision: {'; '.join(parts)}."


def family_note(deltas: pd.DataFrame) -> list[str]:
    """How many comparisons were tested together, and where labels have too few rows."""
    whole = deltas[(deltas["dataset"] == AVERAGE) & (deltas["tests"] > 0)]
    families = whole.groupby(["suite", "protocol", "split"], sort=False, observed=True)["tests"].max()
    sizes = [
        f"{size:.0f}" if len(families) == 1 else f"{size:.0f} ({', '.join(key)})" for key, size in families.items()
    ]
    rare = deltas[(deltas["dataset"] != AVERAGE) & (deltas["rare_labels"] > 0)]
    labels = rare.groupby("dataset", sort=False, observed=True)["rare_labels"].max()
    notes = []
    if sizes:
        notes.append(
            "p (adjusted): Holm's steps with the joint distribution of all comparisons of the suite under one protocol,"
            f" each tested once whatever tables show it: {'; '.join(sizes)}. A dataset's own difference is tested only"
            " where the average is significant."
        )
    if len(labels):
        counts = ", ".join(f"{dataset} {count:.0f}" for dataset, count in labels.items())
        notes.append(f"Labels with fewer than five rows, whose F1 is little but luck: {counts}.")
    return notes


def differs_note(run: RunData) -> str:
    """What the marks of `with_differs` mean."""
    return (
        f"{MARKS['differs']} p (adjusted) below {run.alpha:g}, over seeds; {MARKS['checkpoint_differs']} the same of"
        " these checkpoints alone, where trained systems have one seed or neither system was trained here."
    )


def with_differs(run: RunData, frame: pd.DataFrame) -> pd.DataFrame:
    """The tested differences with a flag where one is significant, by what it is a difference of."""
    sure, trainings = frame["p_adjusted"] < run.alpha, frame["unit"] == TRAININGS
    return frame.assign(differs=sure & trainings, checkpoint_differs=sure & ~trainings)


def test_notes(run: RunData, deltas: pd.DataFrame, *suites: str) -> Iterator[str]:
    """The footnotes of every table with intervals."""
    yield interval_note(run)
    yield from family_note(deltas)
    yield from dict.fromkeys(seeds_note(run, suite) for suite in suites)
    yield from missing_notes(run, suites)
    yield rows_note(run, *suites)


def best_trivial(run: RunData, suite: str, values: dict[str, float]) -> float | None:
    """The best value among controls that read no text and know no gold of the row; None without such a control.

    A random control's value is its expectation, not one draw's.

    Args:
        values: metric of each system.
    """
    trivial = [
        values[entry["id"]]
        for entry in run.spec["systems"]
        if suite in entry["suites"] and entry["control"] and entry["settings"].get("control") in TRIVIAL
        if entry["id"] in values
    ]
    return max(trivial, default=None)


def missing_notes(run: RunData, suites: Collection[str]) -> list[str]:
    """A footnote per reason why systems have no number on datasets, and the rule that averages follow; [] if none.

    Args:
        suites: whose cells the table or figure shows.
    """
    groups = missing_groups(run, suites)
    if not groups:
        return []
    return [
        *(f"{word}: {'; '.join(where)}: {reason.rstrip('.')}." for (word, reason), where in groups.items()),
        "Averages and differences of averages marked like (1 of 2 sets) are over these sets alone (of a difference:"
        " those that both sides have); such averages are not ranked, and are compared over common sets only. A system"
        " counts on a dataset when all its seeds have scores there.",
    ]


def missing_groups(run: RunData, suites: Collection[str]) -> dict[tuple[str, str], list[str]]:
    """(word, reason) -> the systems and datasets it stands for, as `system on title, title`."""
    titles: dict[tuple[str, str, str, str], list[str]] = {}
    for (suite, dataset, system), cell in run.missing.items():
        if suite in suites:
            some = len(cell.seeds) < len(run.seeds(system))
            seeds = f" (seed {', '.join(map(str, cell.seeds))})" if some else ""
            titles.setdefault((cell.word, cell.reason, suite, system), []).append(f"{run.titles[dataset]}{seeds}")
    groups: dict[tuple[str, str], list[str]] = {}
    for (word, reason, suite, system), names in titles.items():
        everywhere = 1 < len(names) == len(run.datasets(suite))
        where = f"every set of suite {suite}" if everywhere else ", ".join(names)
        groups.setdefault((word, reason), []).append(f"{system} on {where}")
    return groups


def chunks_note(run: RunData, suite: str) -> list[str]:
    """Which systems read a dataset's labels in several passes; [] if none did."""
    chunked: dict[str, dict[str, int]] = {}
    for cell in run.cells():
        chunks = run.cards[cell].get("label_chunks", 1)
        if cell[0] == suite and chunks > 1:
            chunked.setdefault(cell[2], {})[run.titles[cell[1]]] = chunks
    if not chunked:
        return []
    shown = [f"{system} on {', '.join(f'{t} ({k})' for t, k in chunks.items())}" for system, chunks in chunked.items()]
    return [
        "Labels in so many chunks, since one sequence does not hold them all: labels of different chunks are scored in"
        f" different passes, as the family's own package does it: {'; '.join(shown)}."
    ]


def delta_columns(title: str, at: str = "", sets: str = "n_sets") -> list[Column]:
    """The columns of a tested difference: estimate with interval, over how many `sets`, both p."""
    shown = [
        Column(title, "delta", "signed", interval=("low", "high"), sets=(sets, "of_sets")),
        Column("p", "p", "p", 4),
        Column("p (adjusted)", "p_adjusted", "p", 4),
    ]
    return [replace(column, at=at, status="") for column in shown]


def verdict_columns(run: RunData, at: str = "") -> list[Column]:
    """The columns of what a difference lets one say: see `verdict_note`."""
    equivalence = ("equivalence_low", "equivalence_high")
    shown = [
        Column("MDE", "mde", "number"),
        Column(f"{2 * run.spec['statistics']['level'] - 1:.0%} interval", equivalence[0], "interval", 0, equivalence),
        Column("Verdict", "verdict"),
        Column("Needs rows", "needs_rows", "count"),
        Column("or seeds", "needs_seeds", "count"),
    ]
    return [replace(column, at=at, status="") for column in shown]


def verdict_note(run: RunData) -> str:
    """What the columns of verdicts mean."""
    statistics = run.spec["statistics"]
    return (
        "MDE: the smallest true difference that 80 % of such runs would find. Verdict: effect (p (adjusted) below"
        f" {run.alpha:g}); no effect beyond ±{statistics['margin']:g} (the {2 * statistics['level'] - 1:.0%} interval"
        " lies within it); undecided, with the rows (of all sets together) or the seeds that would find a difference of"
        f" that size in 80 % of runs; {EMPTY} where no number of them alone is enough."
    )


def ordered(run: RunData, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by system, then dataset, in table order."""
    systems = {entry["id"]: number for number, entry in enumerate(run.spec["systems"])}
    datasets = {name: number for number, name in enumerate(run.titles)}
    keys: dict[str, Any] = {"_system": frame["system"].map(systems), "_dataset": frame["dataset"].map(datasets)}
    return frame.assign(**keys).sort_values(["_system", "_dataset"], kind="stable").drop(columns=list(keys))
