"""Tables of single-label suites: all systems on all datasets, ablations, and trained systems against each other."""

from collections.abc import Iterable

import pandas as pd

from zsbench.evaluation.measure import OVER_CHANCE
from zsbench.reporting.frames import AVERAGE, SINGLE, RunData
from zsbench.reporting.render import EMPTY, MARKS, Column, Table
from zsbench.reporting.tables.base import (
    best_trivial,
    chunks_note,
    delta_columns,
    differs_notes,
    signature,
    table,
    test_notes,
    verdict_columns,
    verdict_note,
    with_differs,
)

TESTS = ("delta", "low", "high", "p", "p_adjusted")  # test columns of the deltas


@table("suite", "suite-{suite}")
def suite(run: RunData, suite: str) -> Table:
    """The headline metric of all systems on all datasets, the average, and its difference to the reference."""
    datasets, metric, reference = run.datasets(suite), run.metric_title(suite), run.reference
    deltas = run.against_reference(suite)
    ranks = run.frame("ranks").query("suite == @suite")[["system", "rank", "rank_low", "rank_high", "p_best"]]
    frame = with_differs(run, _with_deltas(_values(run, suite), deltas))
    frame = frame.merge(ranks.assign(dataset=AVERAGE), on=["system", "dataset"], how="left")
    rank = ("rank_low", "rank_high")
    marks = ("below", "seen", "differs", "checkpoint_differs")
    columns = [
        Column("System", "system"),
        *(
            Column(entry["title"], "value", "number", marks=marks, bold="best", at=name)
            for name, entry in datasets.items()
        ),
        Column("Average", "value", "number", sets=("n_sets", "of_sets"), marks=marks, bold="best", at=AVERAGE),
        *delta_columns(f"Row − {reference}", AVERAGE, "delta_sets"),
        Column("Rank", "rank", "given", interval=rank, at=AVERAGE, status=""),
        Column("P(best)", "p_best", "number", 2, at=AVERAGE, status="", extra=True),
        Column("Above chance", "over_chance", "number", at=AVERAGE, status="", extra=True),
    ]
    if frame["n_seeds"].max() > 1:
        columns.append(Column("Seeds", "n_seeds", "count", at=AVERAGE, status="", extra=True))
        columns.append(Column("Seed SD", "seed_sd", "number", at=AVERAGE, status=""))
    notes = [
        f"{metric}. The difference is that of the averages. Above chance: average of (F - F0) / (1 - F0), where F is "
        "macro-F1 and F0 that of random answers, so that datasets with many and with few labels weigh equally.",
        "Rank: by average, among systems with all datasets, without controls; in brackets the central 95 % of the "
        "ranks over bootstrap draws. P(best): share of draws in which the system ranks first. Both reflect the "
        "sampling of rows, not of trainings.",
        f"{MARKS['below']} below the best trivial control in the column.",
        f"{MARKS['seen']} the system was trained on that dataset.",
        *differs_notes(run, f"differs from {reference}"),
        "Bold: best in the column, without controls.",
        "Controls are sanity checks, not competitors, so they are not tested. Random controls show the mean over many"
        " draws and have no paired difference.",
        *test_notes(run, deltas, suite),
        *chunks_note(run, suite),
    ]
    title = f"{metric} of every system on every dataset"
    return Table(
        title,
        frame,
        tuple(columns),
        ("system",),
        "dataset",
        "block",
        tuple(notes),
        signature(run, suite),
    )


def _values(run: RunData, suite: str) -> pd.DataFrame:
    """One row per system and dataset, plus one for the average over the sets that the system has (`n_sets`).

    Systems are sorted by average; controls follow, sorted likewise.
    """
    means, datasets = run.suite_means(suite), list(run.datasets(suite))
    means = means.sort_values(AVERAGE, ascending=False, kind="stable")  # incomplete ones last
    means = means.loc[sorted(means.index, key=lambda name: name in run.controls)]
    over_chance = run.suite_means(suite, OVER_CHANCE).reindex(index=means.index, columns=means.columns)
    partial = means.drop(columns=AVERAGE).mean(axis=1)  # also for systems that lack a dataset
    seen = {dataset: run.seen(suite, dataset) for dataset in datasets}
    rivals = means.loc[[name for name in means.index if name not in run.controls]]
    best = rivals.max()
    limits = {name: best_trivial(run, suite, values.dropna().to_dict()) for name, values in means.items()}
    rows = []
    for system in means.index:
        averages = _seed_averages(run, suite, system)
        for dataset in means.columns:
            needed = datasets if dataset == AVERAGE else [dataset]
            limit = limits[dataset]
            value = partial[system] if dataset == AVERAGE else means.at[system, dataset]
            whole = means.at[system, dataset]  # NaN if the average is over only some of the sets
            rows.append(
                {
                    "suite": suite,
                    "dataset": dataset,
                    "system": system,
                    "metric": run.metric(suite),
                    "value": value,
                    "over_chance": over_chance.at[system, dataset],
                    "status": "" if pd.notna(value) else run.missing_word(suite, needed, system),
                    "n_sets": int(means.loc[system, needed].notna().sum()) if dataset == AVERAGE else 1,
                    "of_sets": len(needed),
                    "n_seeds": len(averages) if run.system(system)["trained"] and len(averages) else None,
                    "seed_sd": averages.std(ddof=1) if len(averages) > 1 else None,
                    "control": system in run.controls,
                    "block": "Controls" if system in run.controls else "",
                    "below": limit is not None and system not in run.controls and bool(whole < limit),
                    "seen": seen.get(dataset, {}).get(system) == "yes",
                    "best": system not in run.controls and bool(whole == best[dataset]),
                    "reference": system == run.reference,
                }
            )
    flags = ["control", "below", "seen", "best", "reference"]
    numbers = ["value", "over_chance", "n_sets", "of_sets", "n_seeds", "seed_sd"]
    frame = pd.DataFrame(rows, columns=["suite", "dataset", "system", "metric", "status", "block", *numbers, *flags])
    return frame.astype(dict.fromkeys(numbers, float) | dict.fromkeys(flags, bool))


def _with_deltas(values: pd.DataFrame, deltas: pd.DataFrame) -> pd.DataFrame:
    """The values with their tested differences to the reference, over the `delta_sets` that both systems have."""
    tests = deltas.drop(columns="baseline").rename(columns={"n_sets": "delta_sets"})
    columns = [name for name in tests if name not in values or name in ("system", "dataset")]
    frame = values.merge(tests[columns], on=["system", "dataset"], how="left")
    return frame.astype(dict.fromkeys(TESTS, float))


def _seed_averages(run: RunData, suite: str, system: str) -> pd.Series:
    """Average over datasets, per seed."""
    frame = run.metrics
    picked = (frame["suite"] == suite) & (frame["system"] == system) & (frame["metric"] == run.metric(suite))
    return frame[picked].groupby("seed")["value"].mean()


@table("ablations", "ablations")
def ablations(run: RunData) -> Table:
    """The difference of each contrast on all datasets and on average."""
    return _contrasts(
        run,
        "ablations",
        "First variant minus second",
        [
            Column("System", "system"),
            Column("Against", "baseline"),
            Column("Factor", "factor"),
            Column("Levels", "levels", extra=True),
        ],
        [
            "Each row is one variant minus another that differs in exactly the named factor; a compound deliberately"
            " changes several factors at once.",
        ],
    )


@table("peers", "ablations")
def peers(run: RunData) -> Table:
    """Trained systems of different kinds compared with each other."""
    return _contrasts(
        run,
        "peers",
        "Trained systems compared with each other",
        [Column("System", "system"), Column("Against", "baseline")],
        ["Systems of different kinds, trained in this run."],
    )


def _contrasts(run: RunData, name: str, title: str, heads: list[Column], notes: Iterable[str]) -> Table:
    """A table of differences over all single-label suites: per dataset, and for the average with its test."""
    deltas = run.deltas[(run.deltas["table"] == name) & run.deltas["suite"].isin(run.suites(SINGLE))]
    suites = [suite for suite in run.suites(SINGLE) if suite in set(deltas["suite"])] or run.suites(SINGLE)
    keys = ["suite", "system", "baseline", "factor"]
    datasets = {name: entry["title"] for suite in suites for name, entry in run.datasets(suite).items()}
    frame = deltas.assign(status="", of_sets=deltas["suite"].map({s: len(run.datasets(s)) for s in suites}))
    lost = [
        {**dict(zip(keys, pair, strict=True)), "dataset": dataset, "levels": group["levels"].iloc[0], "status": word}
        for pair, group in frame.groupby(keys, sort=False)
        for dataset in run.datasets(pair[0])
        if dataset not in set(group["dataset"]) and (word := run.missing_word(pair[0], [dataset], *pair[1:3]) or EMPTY)
    ]
    frame = pd.concat([frame, pd.DataFrame(lost)], ignore_index=True) if lost else frame
    frame = frame.drop(columns="table").astype(dict.fromkeys(TESTS, float))
    frame, marks = with_differs(run, frame), ("differs", "checkpoint_differs")
    columns = [
        *([Column("Suite", "suite")] if len(suites) > 1 else []),
        *heads,
        *(Column(text, "delta", "signed", marks=marks, at=dataset) for dataset, text in datasets.items()),
        *delta_columns("Average Δ", AVERAGE),
        *verdict_columns(run, AVERAGE),
    ]
    shared = [
        f"Differences in {run.metric_names(suites)}, first minus second.",
        *differs_notes(run, "the two differ"),
        verdict_note(run),
        *notes,
        *test_notes(run, deltas, *suites),
    ]
    return Table(
        title,
        frame,
        tuple(columns),
        tuple(keys),
        "dataset",
        notes=tuple(shared),
        signature=signature(run, *suites),
    )
