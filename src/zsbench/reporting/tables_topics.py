"""The topic benchmark in the columns of the published card, protocol by protocol, with reported rows beside."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from zsbench.evaluation.compare import SHAPLEY
from zsbench.plan.comparisons import HYBRID_TABLE
from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.reporting.marks import CHOSEN, CHOSEN_NOTE, chosen_on, published_on
from zsbench.reporting.missing import chunks_note, missing_notes
from zsbench.reporting.signature import best_trivial, family_note, interval_note, rows_note, seeds_note, signature
from zsbench.reporting.table import Table, interval, number, p_value
from zsbench.reporting.tables_suite import TEST_TITLES, delta_cells

SUITE = "topics"
FIXED = "fixed-0.5"
WHOLE = {
    "macro_f1": "Macro F1",
    "hamming_accuracy": "Hamming acc",
    "exact_match": "Exact match",
    "macro_precision": "Macro P",
    "macro_recall": "Macro R",
}
BELOW, TUNED, SUPERVISED = "†", "‡", "◇"
PROTOCOLS = ("held-out", "cv", FIXED, "val-tuned")  # in the order of the table


def topics(run: RunData, reported: dict[str, Any]) -> Table:
    """`topics`: every system under every protocol and, marked as such, what its publication reports."""
    labels = list(dict.fromkeys(label for entry in run.datasets(SUITE).values() for label in entry["label_names"]))
    rows = [row for dataset in run.datasets(SUITE) for row in _measured(run, dataset, labels)]
    rows += list(_reported(run, reported, labels))
    notes = [
        "F1 a label in the last columns. Rows are grouped by protocol: fixed-0.5; val-tuned (thresholds fitted and"
        " reported on the same validation rows, as the published card does); cv (each row decided by thresholds of the"
        " other folds); held-out (thresholds of validation, one look at test).",
        f"{TUNED} tuned on the very rows that are reported.",
        f"{BELOW} macro F1 below the best trivial control of the same rows and protocol (of random ones: their mean"
        " over many draws).",
        f"{SUPERVISED} trained on the dataset's own train split, beside zero-shot rows.",
        CHOSEN_NOTE,
        "Source reported: printed elsewhere, on that publication's rows; it enters no test.",
        *attribution(run),
        interval_note(run),
        *family_note(run, SUITE),
        seeds_note(run, SUITE),
        *missing_notes(run, [SUITE]),
        *chunks_note(run, SUITE),
        rows_note(run, SUITE, ("validation", "test")),
    ]
    columns = ["System", "Dataset", "Protocol", "Split", *WHOLE.values(), *labels, "Source"]
    return Table(SUITE, columns, rows, notes, signature(run, SUITE, "f1"))


def _measured(run: RunData, dataset: str, labels: list[str]) -> Iterator[list[str]]:
    """Rows of one dataset: protocol by protocol, systems in table order, means over seeds."""
    frame = run.metrics[(run.metrics["suite"] == SUITE) & (run.metrics["dataset"] == dataset)]
    means = frame.groupby(["protocol", "split", "system", "metric", "label"], sort=False)["value"].mean().to_dict()
    supervised = run.trained_on(SUITE, dataset)
    for protocol, split in _places(frame):
        values = {key[2:]: value for key, value in means.items() if key[:2] == (protocol, split)}
        macro = {system: value for (system, metric, _), value in values.items() if metric == "macro_f1"}
        limit = best_trivial(run, SUITE, macro)
        controls = {entry["id"] for entry in run.spec["systems"] if entry["control"]}
        title = run.datasets(SUITE)[dataset]["title"]
        for system in run.systems(SUITE):
            if (SUITE, dataset, system) in run.missing:
                words = [run.missing[SUITE, dataset, system].word] * (len(WHOLE) + len(labels))
                yield [system, title, _protocol(protocol, False), split, *words, "measured"]
            if system not in macro:
                continue
            below = limit is not None and system not in controls and macro[system] < limit
            whole = [number(values[system, metric, ""]) for metric in WHOLE]
            marks = BELOW * below + SUPERVISED * (system in supervised)
            whole[0] += f" {marks}" if marks else ""
            f1s = [number(values.get((system, "f1", label))) for label in labels]
            protocol_cell = _protocol(protocol, chosen_on(run, system, dataset, split))
            yield [system, title, protocol_cell, split, *whole, *f1s, "measured"]


def _protocol(name: str, chosen: bool) -> str:
    """A protocol with its marks: thresholds fitted, weights chosen on the rows that are reported."""
    marks = TUNED * (name == "val-tuned") + CHOSEN * chosen
    return f"{name} {marks}" if marks else name


def _places(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """(protocol, split): first what was decided without a look at the rows, test before validation."""
    found = set(zip(frame["protocol"], frame["split"], strict=True))
    return sorted(found, key=lambda place: (place[1] != "test", PROTOCOLS.index(place[0])))


def _reported(run: RunData, reported: dict[str, Any], labels: list[str]) -> Iterator[list[str]]:
    """The publications' rows, for the labels that this run has."""
    for name, entry in reported["publications"].items():
        if entry["suite"] != SUITE:
            continue
        for title, system in entry["systems"].items():
            values = dict(zip(entry["columns"], system["values"], strict=True))
            cells = [number(values.get(column)) for column in [*WHOLE, *(f"f1:{label}" for label in labels)]]
            protocol, where = _protocol(system["protocol"], published_on(entry, system)), ", ".join(entry["datasets"])
            yield [title, where, protocol, entry["split"], *cells, f"reported ({name})"]


def topic_deltas(run: RunData) -> Table:
    """`topic_deltas`: systems against NLI under each protocol, thresholds alone, and the hybrid's ablations."""
    frame = run.deltas[run.deltas["dataset"] == AVERAGE]
    nli = {entry["id"] for entry in run.spec["systems"] if entry["family"] == "nli"}
    controls = {entry["id"] for entry in run.spec["systems"] if entry["control"]}
    against = frame[(frame["table"] == SUITE) & (frame["factor"] == "system") & ~frame["system"].isin(controls)]
    tuned = frame[(frame["table"] == SUITE) & (frame["factor"] == "thresholds") & frame["system"].isin(nli)]
    rows = []
    for title, part in (("", frame[frame["table"] == HYBRID_TABLE]), ("thresholds", tuned), ("system", against)):
        for row in part.to_dict("records"):
            sides = ((row["system"], row["protocol"]), (row["baseline"], row["baseline_protocol"]))
            chosen = any(chosen_on(run, side, name, row["split"]) for side, _ in sides for name in run.datasets(SUITE))
            protocols = " vs ".join(dict.fromkeys(protocol for _, protocol in sides)) + f" {CHOSEN}" * chosen
            heads = [row["system"], row["baseline"], title or row["factor"], row["levels"], protocols, row["split"]]
            rows.append([*heads, *delta_cells(row, len(run.datasets(SUITE)))])
    notes = [
        "Differences of macro F1, system minus the one it stands against, on the same rows.",
        "First the ablations of the hybrid: systems that differ from it in exactly the named setting (a blend of heads"
        " leaves NLI out, one of nli the heads, half weighs both alike). Then what fitted thresholds give an NLI system"
        " by themselves. Then every system against an NLI system under one protocol.",
        CHOSEN_NOTE,
        "Intervals and p of fitted thresholds are given these thresholds: the luck of fitting is not in them.",
        *optimism_note(run),
        interval_note(run),
        *family_note(run, SUITE),
        seeds_note(run, SUITE),
        *missing_notes(run, [SUITE]),
        rows_note(run, SUITE, ("validation", "test")),
    ]
    columns = ["System", "Against", "Factor", "Levels", "Protocol", "Rows", "Δ", *TEST_TITLES]
    return Table("topic_deltas", columns, rows, notes, signature(run, SUITE, "macro-f1"))


def optimism_note(run: RunData) -> list[str]:
    """How much of val-tuned is that thresholds were fitted on the rows that are reported."""
    frame = run.deltas[(run.deltas["dataset"] == AVERAGE) & (run.deltas["factor"] == "thresholds")]
    found = frame["optimism"].dropna()
    if found.empty:
        return []
    return [
        f"val-tuned against 0.5 has no p: thresholds gain on the rows they were fitted on, whatever they are worth. Its"
        f" optimism, val-tuned minus cv on the same rows: {number(found.median())} in the median of {len(found)}"
        f" systems, at most {number(found.max())}."
    ]


def attribution(run: RunData) -> list[str]:
    """A sentence a hybrid and protocol: how much of its gain over NLI at 0.5 is threshold tuning alone.

    The gain over the NLI system at 0.5 is the sum of what the same tuning gives the NLI system by itself, and of what
    the hybrid adds to it under that protocol. Other blends of the same hybrid are rows of the table.
    """
    frame = run.deltas[(run.deltas["table"] == SUITE) & (run.deltas["dataset"] == AVERAGE)]
    found = []
    for entry in run.spec["systems"]:
        if entry["family"] != "hybridnli" or entry["settings"].get("blend") != "learned":
            continue
        baseline = baseline_of(run, entry)
        mine = (frame["system"] == entry["id"]) & (frame["baseline"] == baseline)
        totals = frame[mine & (frame["factor"] == "system + thresholds")]
        found += [_sentence(run, frame, total) for total in totals.to_dict("records")]
    return [sentence for sentence in found if sentence]


def baseline_of(run: RunData, hybrid: dict[str, Any]) -> str | None:
    """The scored NLI system whose model the hybrid is built on; None where the run does not score it alone."""
    nli = hybrid["settings"].get("nli")
    candidates = [entry for entry in run.spec["systems"] if entry["family"] == "nli" and SUITE in entry["suites"]]
    return next((entry["id"] for entry in candidates if nli in (entry["id"], entry.get("model"))), None)


def _sentence(run: RunData, frame: pd.DataFrame, total: dict[str, Any]) -> str:
    """What thresholds are of a gain, in both orders and in their mean, and what the hybrid adds under one protocol; ""
    where they do not add up, since the parts are over other datasets."""
    same = (frame["protocol"] == total["protocol"]) & (frame["split"] == total["split"])

    def one(system: str, baseline: str, factor: str) -> Any:
        pick = (frame["system"] == system) & (frame["baseline"] == baseline) & (frame["factor"] == factor)
        return frame[same & pick].iloc[0]

    name, against = total["system"], total["baseline"]
    tuning, rest = one(against, against, "thresholds"), one(name, against, "system")
    last, shared = one(name, name, "thresholds"), one(name, against, SHAPLEY)
    chosen = any(chosen_on(run, total["system"], dataset, total["split"]) for dataset in run.datasets(SUITE))
    if len({total["n_sets"], tuning["n_sets"], rest["n_sets"]}) > 1:
        return ""
    gained = total["delta"] > 0

    def part(row: Any) -> str:
        return number(row["delta"]) + (f" ({row['delta'] / total['delta']:.0%})" if gained else "")

    verb = "gains" if total["delta"] >= 0 else "loses"
    return (
        f"{name}, {total['protocol']} on {total['split']}: {verb} {number(abs(total['delta']))} macro F1"
        f" over {against} at 0.5. Of that, fitted thresholds are {part(tuning)} if they come first (for {against}),"
        f" {part(last)} if last (for {name}), {part(shared)} {interval(shared['low'], shared['high'])} as the Shapley"
        f" value; what the hybrid adds under that protocol is {number(rest['delta'])}"
        f" {interval(rest['low'], rest['high'])}, p (Holm) {p_value(rest['p_holm'])}."
        f"{' Its weights were chosen on these rows.' if chosen else ''}"
    )
