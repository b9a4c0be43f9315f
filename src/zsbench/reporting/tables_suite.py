"""The single-label suite: macro-F1 of every system, ablation contrasts, trained peers."""

import math
from typing import Any

import pandas as pd

from zsbench.reporting.frames import AVERAGE, SIGNIFICANT, RunData
from zsbench.reporting.missing import chunks_note, missing_notes, sets_text
from zsbench.reporting.signature import best_trivial, family_note, interval_note, rows_note, seeds_note, signature
from zsbench.reporting.table import EMPTY, Table, interval, number, p_value, signed

SUITE = "gliclass"
BELOW, SEEN, DIFFERS, CHECKPOINT_DIFFERS = "†", "‡", "*", "°"
TEST_TITLES = ("interval", "p", "p (Holm)")
DIFFERS_NOTE = (
    f"{DIFFERS} p (Holm) below {SIGNIFICANT}, over seeds; {CHECKPOINT_DIFFERS} the same of these checkpoints alone,"
    " where systems have one seed or were not trained here."
)


def suite(run: RunData) -> Table:
    """`gliclass_suite`: macro-F1 a dataset, average, and the named system's delta against each row."""
    datasets, named = run.datasets(SUITE), run.reference
    values = run.suite_means(SUITE)
    deltas = run.deltas[run.deltas["table"] == f"{SUITE}_suite"].set_index(["baseline", "dataset"])
    marks = _marks(run, values, deltas)
    above = run.suite_means(SUITE, "macro_f1_over_chance")[AVERAGE]
    placed = run.frame("ranks")
    placed = placed[placed["suite"] == SUITE].set_index("system")
    rows = []
    for system in values.index:
        cells = [f"{_value(run, system, name, values)}{marks[system, name]}" for name in [*datasets, AVERAGE]]
        tested = (system, AVERAGE) in deltas.index
        tests = delta_cells(deltas.loc[(system, AVERAGE)], len(datasets)) if tested else [EMPTY] * 4
        rows.append(
            [system, *cells, number(above.get(system)), *_rank_cells(placed, system), *tests, *_seed_cells(run, system)]
        )
    titles = [entry["title"] for entry in datasets.values()]
    notes = [
        f"Macro-F1. Δ is {named} minus the row's system, on the average. Above chance: average of (F - F0) / (1 - F0)"
        " with F0 of random answers, so that sets of many labels and of two weigh alike.",
        "Rank by the average among systems with every set, controls aside, with the central 95 % of its ranks and"
        " P(best), the share of draws in which it is first: over other rows, not over other trainings.",
        f"{BELOW} below the best trivial control of the column; {SEEN} the system was trained on that dataset;"
        f" Bold: best of the column, controls aside. Differs from {named}: {DIFFERS_NOTE}",
        "Controls are checks, not competitors: their p is not corrected. Random ones show the mean over many draws, as"
        " the mark that compares with them does; they have no paired difference.",
        interval_note(run),
        *family_note(run, f"{SUITE}_suite"),
        seeds_note(run, SUITE),
        *missing_notes(run, [SUITE]),
        *chunks_note(run, SUITE),
        rows_note(run, SUITE, ("test",)),
    ]
    return Table(
        f"{SUITE}_suite",
        ["System", *titles, "Average", "Above chance", "Rank", "P(best)", "Δ", *TEST_TITLES, "Seeds", "Seed SD"],
        rows,
        notes,
        signature(run, SUITE, "macro-f1"),
        _best(run, values),
    )


def _value(run: RunData, system: str, name: str, values: pd.DataFrame) -> str:
    """A system's number on a dataset, or the word for why it has none; of an average, over how many sets it is."""
    if name != AVERAGE:
        missing = run.missing.get((SUITE, name, system))
        return missing.word if missing else number(values.at[system, name])
    own = values.loc[system].drop(AVERAGE)
    if own.notna().any():
        return number(own.mean()) + sets_text(int(own.notna().sum()), len(own))
    return _worst(run, [(name, system) for name in own.index])


def _worst(run: RunData, places: list[tuple[str, str]]) -> str:
    """The word for why there is no number that needs all of these (dataset, system)."""
    words = [run.missing[SUITE, *place].word for place in places if (SUITE, *place) in run.missing]
    return min(words, default=EMPTY)  # "failed" before "n/a"


def delta_cells(row: Any, sets: int) -> list[str]:
    """Delta, interval, p and corrected p of one row of the deltas, which is over so many sets if it is over all."""
    delta = signed(row["delta"]) + sets_text(int(row["n_sets"]), sets)
    return [delta, interval(row["low"], row["high"]), p_value(row["p"]), p_value(row["p_holm"])]


def differs_mark(row: Any) -> str:
    """The mark of a significant difference, by what it is a difference of; "" of any other."""
    if not row["p_holm"] < SIGNIFICANT:
        return ""
    return DIFFERS if row["unit"] == "trainings" else CHECKPOINT_DIFFERS


def verdict_cells(row: Any) -> list[str]:
    """Minimum detectable effect, interval of the two one-sided tests, verdict and what an undecided one needs."""
    wanted = [
        f"{row[key]:,.0f} {unit}"
        for key, unit in (("needs_rows", "rows"), ("needs_seeds", "seeds"))
        if not math.isnan(row[key])
    ]
    word = row["verdict"] or "no test"
    if word == "undecided":
        word += f": needs about {' or '.join(wanted)}" if wanted else ": needs more rows and more seeds"
    return [number(row["mde"]), interval(row["equivalence_low"], row["equivalence_high"]), word]


def _marks(run: RunData, values: pd.DataFrame, deltas: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Marks of each (system, dataset), with a space before the first."""
    seen = {
        (system, dataset)
        for kind, dataset, system, seed in run.cells()
        if kind == SUITE and (run.card(kind, dataset, system, seed) or {}).get("seen") == "yes"
    }
    controls = {entry["id"] for entry in run.spec["systems"] if entry["control"]}
    found = {}
    for dataset in values.columns:
        limit = best_trivial(run, SUITE, values[dataset].dropna().to_dict())
        for system in values.index:
            below = limit is not None and system not in controls and bool(values.at[system, dataset] < limit)
            differs = differs_mark(deltas.loc[(system, dataset)]) if (system, dataset) in deltas.index else ""
            marks = BELOW * below + SEEN * ((system, dataset) in seen) + differs
            found[system, dataset] = f" {marks}" if marks else ""
    return found


def _best(run: RunData, values: pd.DataFrame) -> frozenset[tuple[int, int]]:
    """Cells of the best system of each column; all of them where several share it."""
    rivals = values.loc[[name for name in run.systems(SUITE, controls=False) if name in values.index]]
    if rivals.empty:
        return frozenset()
    places = list(values.index)
    return frozenset(
        (places.index(system), column + 1)
        for column, name in enumerate(values.columns)
        for system in rivals.index
        if rivals.at[system, name] == rivals[name].max()
    )


def _rank_cells(placed: pd.DataFrame, system: str) -> list[str]:
    """Rank with its interval, and the share of draws in which the system is the best."""
    if system not in placed.index:
        return [EMPTY] * 2
    row = placed.loc[system]
    return [f"{row['rank']:g} [{row['rank_low']:g}, {row['rank_high']:g}]", number(row["p_best"], 2)]


def _seed_cells(run: RunData, system: str) -> list[str]:
    """Number of seeds, and the standard deviation of the average over datasets between them."""
    frame = run.metrics
    picked = frame[(frame["suite"] == SUITE) & (frame["system"] == system) & (frame["metric"] == "macro_f1")]
    averages = picked.groupby("seed")["value"].mean()
    trained = next(entry["trained"] for entry in run.spec["systems"] if entry["id"] == system)
    return [
        str(len(averages)) if trained and len(averages) else EMPTY,
        number(averages.std(ddof=1) if len(averages) > 1 else None),
    ]


def ablations(run: RunData) -> Table:
    """`ablations`: each contrast's delta on every dataset and on average."""
    return _contrasts(
        run,
        "ablations",
        ["Contrast", "Factor", "Levels"],
        lambda row: [f"{row['system']} vs {row['baseline']}", row["factor"], row["levels"]],
        [
            "Each row is one variant minus another that differs from it in exactly the named factor; a row named"
            " compound differs in several, and is meant to.",
            'Level "default" is the default of the option.',
        ],
    )


def peers(run: RunData) -> Table:
    """`peers`: trained systems of different kinds against each other."""
    return _contrasts(
        run,
        "peers",
        ["System", "Against"],
        lambda row: [row["system"], row["baseline"]],
        ["Systems of different kinds that this run trained."],
    )


def _contrasts(run: RunData, name: str, titles: list[str], heads: Any, notes: list[str]) -> Table:
    """A table of deltas: head cells, a delta a dataset, then the average with its test."""
    datasets, frame = run.datasets(SUITE), run.deltas[run.deltas["table"] == name]
    rows = []
    for _, pair in frame.groupby(["system", "baseline", "factor"], sort=False):
        by_dataset = pair.set_index("dataset")
        sides = by_dataset.iloc[0][["system", "baseline"]]
        deltas = [
            signed(by_dataset.at[dataset, "delta"])
            + (f" {mark}" if (mark := differs_mark(by_dataset.loc[dataset])) else "")
            if dataset in by_dataset.index
            else _worst(run, [(dataset, side) for side in sides])
            for dataset in datasets
        ]
        whole = by_dataset.loc[AVERAGE]
        rows.append([*heads(pair.iloc[0]), *deltas, *delta_cells(whole, len(datasets)), *verdict_cells(whole)])
    statistics = run.spec["statistics"]
    confidence = f"{2 * statistics['level'] - 1:.0%} interval"
    return Table(
        name,
        [
            *titles,
            *(entry["title"] for entry in datasets.values()),
            "Average Δ",
            *TEST_TITLES,
            "MDE",
            confidence,
            "Verdict",
        ],
        rows,
        [
            f"Differences of macro-F1, first minus second. {DIFFERS_NOTE}",
            f"MDE: the smallest true difference that 80 % of such runs would find. Verdict: effect (p (Holm) below"
            f" {SIGNIFICANT}); no effect beyond ±{statistics['margin']:g} (the {confidence} lies within it); undecided,"
            " with the rows or the seeds that would find a difference of that size in 80 % of runs.",
            *notes,
            interval_note(run),
            *family_note(run, name),
            seeds_note(run, SUITE),
            *missing_notes(run, [SUITE]),
            rows_note(run, SUITE, ("test",)),
        ],
        signature(run, SUITE, "macro-f1"),
    )
