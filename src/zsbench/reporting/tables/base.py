"""Shared parts of tables: the registry, footnotes, and the signature line that records how numbers were computed."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from zsbench import __version__
from zsbench.plan.contents import ReportItem, tables
from zsbench.plan.suites import RANDOM
from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.reporting.render import EMPTY, MARKS, Column, Table
from zsbench.store.provenance import digest

TRIVIAL = ("majority", "always-positive", "position-first", "position-last", *RANDOM)
TRAININGS = "trainings"  # unit of a difference that generalises to other trainings of the same systems
UNMOVED_NOTE = (
    f"{MARKS['unmoved']} for at least one seed, validation never improved after the first evaluation, so those weights"
    " were kept."
)
CHOSEN_NOTE = (
    f"{MARKS['chosen']} the weights were selected on the reported rows, or the system declares the dataset as seen in"
    " training. Only held-out avoids this."
)
PROTOCOL_NOTE = (
    "Protocols: fixed-0.5 (all thresholds 0.5); val-tuned (thresholds fitted and evaluated on the same validation"
    " rows); cv (each row evaluated with thresholds fitted on the other folds); held-out (thresholds fitted on"
    " validation rows, evaluated on test rows); train-cv and heads-tuned as in the HybridNLI card (thresholds averaged"
    " over folds of the train rows; val-tuned for labels with a head, 0.5 for the others)."
)

Builder = Callable[..., Table]
BUILDERS: dict[str, Builder] = {}  # by kind, see `plan.contents.ReportItem`
SECTIONS: dict[str, str] = {}  # kind -> section of the page
ALWAYS: list[str] = []


def table(kind: str, section: str, always: bool = False) -> Callable[[Builder], Builder]:
    """Register a function `(run) -> Table`, or `(run, suite) -> Table` of a kind that `plan.contents` has per suite.

    Args:
        kind: kind of the table; also the file name of a table over all suites.
        section: page section that shows it; `{suite}` is replaced by the suite id.
        always: write it for every run, not only for those where `plan.contents.tables` lists it.
    """

    def register(build: Builder) -> Builder:
        BUILDERS[kind], SECTIONS[kind] = build, section
        if always:
            ALWAYS.append(kind)
        return build

    return register


def available_items(spec: dict[str, Any]) -> dict[str, ReportItem]:
    """The tables of a run by name, in report order."""
    return tables(spec) | {kind: ReportItem(kind) for kind in ALWAYS}


def build_table(run: RunData, name: str, item: ReportItem) -> Table:
    """Build one table of a run."""
    built = BUILDERS[item.kind](run, *filter(None, [item.suite]))
    section = SECTIONS[item.kind].format(suite=item.suite)
    title = run.titled(built.title, item.suite)
    return replace(with_unmoved(built, run), title=title, name=name, kind=item.kind, section=section)


def with_unmoved(table: Table, run: RunData) -> Table:
    """The table with a mark and a footnote for systems whose validation metric never improved."""
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


def signature(run: RunData, *suites: str) -> str:
    """A signature line in the style of sacreBLEU: metrics, data, and how intervals were computed."""
    statistics = run.spec["statistics"]
    datasets = {name: entry for suite in suites for name, entry in run.datasets(suite).items()}
    parts = {
        "metric": ",".join(dict.fromkeys(map(run.metric, suites))),
        "run": run.spec["run"],
        "suite": ",".join(suites),
        "sets": len(datasets),
        "labels": digest([[name, entry["labels"]] for name, entry in datasets.items()])[:8],
        "seeds": ",".join(map(str, run.trained_seeds)) or "none",
        "ci": f"bootstrap-{statistics['draws']}@{statistics['level']:g}",
        "rng": statistics["seed"],
        "p": "swaps+max-t",
        "zsbench": __version__,
    }
    return "|".join(f"{key}:{value}" for key, value in parts.items())


def interval_note(run: RunData) -> str:
    """How intervals and p values were computed."""
    statistics = run.spec["statistics"]
    draws = f"{statistics['draws']:,}"
    return (
        f"Intervals: {statistics['level']:.0%} percentile intervals of a paired bootstrap over rows ({draws} draws),"
        " stratified by dataset; for systems with several seeds, a Student-t error over seeds is added, with its"
        f" variance pooled over variants of the same base. p: two-sided paired randomization test with {draws} draws,"
        " which randomly swaps the two systems' answers row by row."
    )


def seeds_note(run: RunData) -> str:
    """The number of seeds that trained systems are averaged over, and the limits of few seeds."""
    count = len(run.trained_seeds)
    if not count:
        return "This run did not train any system."
    if count == 1:
        return (
            "Trained systems have one seed: differences are between these checkpoints and do not show how another "
            "training of the same system would score."
        )
    few = " Two seeds are too few for a test, so comparisons of such systems have no p." if count == 2 else ""
    return f"Trained systems: mean over {count} seeds; other systems have no seeds.{few}"


def rows_note(run: RunData, *suites: str) -> str:
    """Rows and revision of each dataset, from the cards of its cells."""
    parts = []
    for suite in suites:
        revisions = {cell[1]: str(run.cards[cell].get("revision", "unknown")) for cell in reversed(run.cells())}
        for name, entry in run.datasets(suite).items():
            counts = {split: count for split, count in run.scored_rows(name).items() if split != "train"}
            rows = ", ".join(f"{count:,} {split}" for split, count in counts.items()) or "unknown"
            parts.append(f"{entry['title']} {rows} @ {revisions.get(name, 'unknown')[:12]}")
    return f"Rows @ revision: {'; '.join(parts)}."


def family_note(deltas: pd.DataFrame) -> list[str]:
    """The number of comparisons that were corrected together, and labels with too few rows."""
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
            "p (adjusted): step-down correction with the joint distribution of all comparisons of a suite under one "
            f"protocol. Number of comparisons: {'; '.join(sizes)} (a comparison shown in several tables counts once). "
            "The difference on a single dataset is tested only if the average is significant."
        )
    if len(labels):
        counts = ", ".join(f"{dataset} {count:.0f}" for dataset, count in labels.items())
        notes.append(f"Labels with fewer than five rows, whose F1 is mostly noise: {counts}.")
    return notes


def differs_notes(run: RunData, what: str) -> list[str]:
    """Explanation of the marks set by `with_differs`, where `what` is the marked finding."""
    return [
        f"{MARKS['differs']} {what}: p (adjusted) below {run.alpha:g}, including variation over seeds.",
        f"{MARKS['checkpoint_differs']} {what}: p (adjusted) below {run.alpha:g} for these checkpoints only (trained"
        " systems with one seed, or neither system trained here).",
    ]


def with_differs(run: RunData, frame: pd.DataFrame) -> pd.DataFrame:
    """Tested differences with flags for significance between trainings, or between checkpoints only."""
    sure, trainings = frame["p_adjusted"] < run.alpha, frame["unit"] == TRAININGS
    return frame.assign(differs=sure & trainings, checkpoint_differs=sure & ~trainings)


def test_notes(run: RunData, deltas: pd.DataFrame, *suites: str) -> Iterator[str]:
    """Footnotes shared by all tables with intervals."""
    yield interval_note(run)
    yield from family_note(deltas)
    yield seeds_note(run)
    yield from missing_notes(run, suites)
    yield rows_note(run, *suites)


def best_trivial(run: RunData, suite: str, values: dict[str, float]) -> float | None:
    """The best value among controls that use neither the text nor the gold label of the row; None if there are none.

    The value of a random control is its expectation, not that of a single draw.

    Args:
        values: system -> metric.
    """
    trivial = [
        values[entry["id"]]
        for entry in run.spec["systems"]
        if suite in entry["suites"] and entry["control"] and entry["settings"].get("control") in TRIVIAL
        if entry["id"] in values
    ]
    return max(trivial, default=None)


def missing_notes(run: RunData, suites: Collection[str]) -> list[str]:
    """A footnote per reason for missing values, and one on how averages handle them; [] if nothing is missing."""
    groups = missing_groups(run, suites)
    if not groups:
        return []
    return [
        *(f"{word}: {'; '.join(where)}: {reason.rstrip('.')}." for (word, reason), where in groups.items()),
        "Averages marked like (1 of 2 sets) are over those sets only; a difference is over the sets that both systems"
        " have. Such averages are not ranked, and are compared on common sets only. A system counts on a dataset if all"
        " its seeds have scores there.",
    ]


def missing_groups(run: RunData, suites: Collection[str]) -> dict[tuple[str, str], list[str]]:
    """(status, reason) -> the systems and datasets it applies to, as `system on title, title`."""
    titles: dict[tuple[str, str, str, str], list[str]] = {}
    for (suite, dataset, system), cell in run.missing.items():
        if suite in suites:
            some = len(cell.seeds) < len(run.seeds(system))
            seeds = f" (seed {', '.join(map(str, cell.seeds))})" if some else ""
            titles.setdefault((cell.word, cell.reason, suite, system), []).append(f"{run.titles[dataset]}{seeds}")
    groups: dict[tuple[str, str], list[str]] = {}
    for (word, reason, suite, system), names in titles.items():
        everywhere = 1 < len(names) == len(run.datasets(suite))
        where = f"all sets of suite {suite}" if everywhere else ", ".join(names)
        groups.setdefault((word, reason), []).append(f"{system} on {where}")
    return groups


def chunks_note(run: RunData, suite: str) -> list[str]:
    """Which systems read the labels of a dataset in several passes; [] if none."""
    chunked: dict[str, dict[str, int]] = {}
    for cell in run.cells():
        chunks = run.cards[cell].get("label_chunks", 1)
        if cell[0] == suite and chunks > 1:
            chunked.setdefault(cell[2], {})[run.titles[cell[1]]] = chunks
    if not chunked:
        return []
    shown = [f"{system} on {', '.join(f'{t} ({k})' for t, k in chunks.items())}" for system, chunks in chunked.items()]
    return [
        "Labels split into several passes because they do not fit into one sequence, as in the family's own package"
        f" (number of passes): {'; '.join(shown)}."
    ]


def idle_terms_note(run: RunData, baselines: Iterable[str]) -> list[str]:
    """Loss terms of baselines that were 0 throughout every training, so leaving them out shows nothing."""
    notes = []
    for model in dict.fromkeys(baselines):
        histories = [record["history"] for (name, _), record in run.trainings.items() if name == model]
        entries = [entry["losses"] for history in histories for entry in history]
        idle = [term for term in (entries[0] if entries else {}) if not any(losses[term] for losses in entries)]
        notes += [
            f"The loss term {term} of {model} was 0 throughout training: its ablation says nothing." for term in idle
        ]
    return notes


def delta_columns(title: str, at: str = "", sets: str = "n_sets") -> list[Column]:
    """The columns of a tested difference: estimate with interval, number of `sets`, and corrected p."""
    shown = [
        Column(title, "delta", "signed", interval=("low", "high"), sets=(sets, "of_sets")),
        Column("p (adjusted)", "p_adjusted", "p"),
    ]
    return [replace(column, at=at, status="") for column in shown]


def verdict_columns(run: RunData, at: str = "") -> list[Column]:
    """The columns with the verdict on a difference; see `verdict_note`."""
    equivalence = ("equivalence_low", "equivalence_high")
    shown = [
        Column("Verdict", "verdict"),
        Column("MDE", "mde", "number", extra=True),
        Column(
            f"{2 * run.spec['statistics']['level'] - 1:.0%} interval",
            equivalence[0],
            "interval",
            interval=equivalence,
            extra=True,
        ),
        Column("Needs rows", "needs_rows", "count", extra=True),
        Column("or seeds", "needs_seeds", "count", extra=True),
    ]
    return [replace(column, at=at, status="") for column in shown]


def verdict_note(run: RunData) -> str:
    """Explanation of the verdict columns."""
    statistics = run.spec["statistics"]
    return (
        "MDE: minimum detectable effect at 80 % power. Verdict: effect (p (adjusted) below"
        f" {run.alpha:g}); no effect beyond ±{statistics['margin']:g} (the {2 * statistics['level'] - 1:.0%} interval"
        " lies within that margin); otherwise undecided, with the total rows or the seeds needed to detect a difference"
        f" of that size at 80 % power ({EMPTY}: more of them alone would not be enough)."
    )


def ordered(run: RunData, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows sorted by system, then dataset, in table order."""
    systems = {entry["id"]: number for number, entry in enumerate(run.spec["systems"])}
    datasets = {name: number for number, name in enumerate(run.titles)}
    keys: dict[str, Any] = {"_system": frame["system"].map(systems), "_dataset": frame["dataset"].map(datasets)}
    return frame.assign(**keys).sort_values(["_system", "_dataset"], kind="stable").drop(columns=list(keys))


def over_seeds(run: RunData, name: str, keys: list[str], **others: tuple[str, str]) -> pd.DataFrame:
    """An analysis frame with one row per key in table order: means of its numbers over seeds, and dataset titles.

    Args:
        others: column -> (column of the frame, name of an aggregation) where it is not a mean.
    """
    frame = ordered(run, run.frame(name))
    means = {column: (column, "mean") for column in frame.columns.drop([*keys, "seed"])}
    rows = frame.groupby(keys, sort=False).agg(**means | others).reset_index()
    return rows.assign(title=rows["dataset"].map(run.titles))
