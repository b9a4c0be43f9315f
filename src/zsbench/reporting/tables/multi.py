"""Multi-label suites, protocol by protocol, with reported rows beside the measured ones; differences and what they are
made of."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from zsbench.config.published import load_published
from zsbench.evaluation.compare import SHAPLEY
from zsbench.plan.comparisons import deltas_table
from zsbench.plan.suites import FIXED
from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.reporting.render import MARKS, Column, Table, interval_text, number
from zsbench.reporting.tables.base import (
    CHOSEN_NOTE,
    PROTOCOL_NOTE,
    best_trivial,
    chunks_note,
    delta_columns,
    signature,
    table,
    test_notes,
    verdict_columns,
    verdict_note,
)
from zsbench.reporting.tables.published import PUBLISHED

METRICS = {
    "macro_f1": "Macro-F1",
    "hamming_accuracy": "Hamming acc",
    "exact_match": "Exact match",
    "macro_precision": "Macro P",
    "macro_recall": "Macro R",
}
PROTOCOL_ORDER = ("held-out", "cv", FIXED, "val-tuned")
TUNED = "val-tuned"


@table("multi", "suite-{suite}")
def multi(run: RunData, suite: str) -> Table:
    """Every system under every protocol and, marked as such, what publications report."""
    labels = list(dict.fromkeys(label for entry in run.datasets(suite).values() for label in entry["label_names"]))
    headline = {run.metric(suite): run.metric_title(suite)}
    metrics = headline | {name: title for name, title in METRICS.items() if name not in headline}
    names = [*metrics, *(f"f1:{label}" for label in labels)]
    rows = [row for dataset in run.datasets(suite) for row in _measured(run, suite, dataset, names)]
    rows += list(_reported(load_published(PUBLISHED), suite, names))
    heads = ["suite", "dataset", "title", "system", "protocol", "split", "source", "status"]
    flags = ["below", "supervised", "tuned", "chosen"]
    frame = pd.DataFrame(rows, columns=[*heads, *flags, *names]).astype(dict.fromkeys(names, float))
    frame = frame.astype(dict.fromkeys(flags, bool))
    (first, title), *others = metrics.items()
    columns = [
        Column("System", "system"),
        Column("Dataset", "title"),
        Column("Protocol", "protocol", marks=("tuned", "chosen")),
        Column("Split", "split"),
        Column(title, first, "number", marks=("below", "supervised")),
        *(Column(name, metric, "number") for metric, name in others),
        *(Column(label, f"f1:{label}", "number") for label in labels),
        Column("Source", "source"),
    ]
    deltas = run.deltas[run.deltas["table"] == suite]
    notes = [
        "F1 per label in the last columns.",
        PROTOCOL_NOTE,
        f"{MARKS['tuned']} tuned on the very rows that are reported.",
        f"{MARKS['below']} {run.metric_name(suite)} below the best trivial control of the same rows and protocol (of"
        " random ones: their mean over many draws).",
        f"{MARKS['supervised']} trained on the dataset's own train split, beside zero-shot rows.",
        CHOSEN_NOTE,
        "Source reported: printed elsewhere, on that publication's rows; it enters no test.",
        *attribution(run, suite),
        *test_notes(run, deltas, suite),
        *chunks_note(run, suite),
    ]
    return Table(
        "Every system under every protocol; F1 per label in the last columns",
        frame,
        tuple(columns),
        notes=tuple(notes),
        signature=signature(run, suite),
    )


def _measured(run: RunData, suite: str, dataset: str, names: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of one dataset: protocol by protocol, systems in table order, means over seeds."""
    frame = run.metrics[(run.metrics["suite"] == suite) & (run.metrics["dataset"] == dataset)]
    labelled = frame["metric"].where(frame["label"].fillna("") == "", frame["metric"] + ":" + frame["label"].fillna(""))
    means = frame.assign(name=labelled).groupby(["protocol", "split", "system", "name"])["value"].mean()
    headline, seen = run.metric(suite), run.seen(suite, dataset)
    decisions = set(zip(frame["protocol"], frame["split"], strict=True))
    # first what was decided without a look at the rows, test before validation
    for protocol, split in sorted(decisions, key=lambda key: (key[1] != "test", PROTOCOL_ORDER.index(key[0]))):
        values = means[protocol, split].unstack()
        limit = best_trivial(run, suite, values[headline].to_dict())
        for system in run.systems(suite):
            row = {
                "suite": suite,
                "dataset": dataset,
                "title": run.titles[dataset],
                "system": system,
                "protocol": protocol,
                "split": split,
                "source": "measured",
                "status": run.missing_word(suite, [dataset], system),
                "tuned": protocol == TUNED,
            }
            if system in values.index:
                value = values.at[system, headline]
                row["below"] = limit is not None and system not in run.controls and bool(value < limit)
                row["supervised"] = seen.get(system) == "yes"
                row["chosen"] = run.chosen_on(system, dataset, split)
                yield row | values.loc[system].reindex(names).to_dict()
            elif row["status"]:
                yield row | {"below": False, "supervised": False, "chosen": False}


def _reported(published: dict[str, Any], suite: str, names: list[str]) -> Iterator[dict[str, Any]]:
    """The publications' rows, for the labels that this run has."""
    for publication, entry in published["publications"].items():
        if entry["suite"] != suite or "columns" not in entry:
            continue
        for title, system in entry["systems"].items():
            datasets = ", ".join(entry["datasets"])
            values = dict(zip(entry["columns"], system["values"], strict=True))
            yield {
                "suite": suite,
                "dataset": datasets,
                "title": datasets,
                "system": title,
                "protocol": system["protocol"],
                "split": entry["split"],
                "source": f"reported ({publication})",
                "status": "",
                "below": False,
                "supervised": False,
                "tuned": system["protocol"] == TUNED,
                "chosen": not set(entry["datasets"]).isdisjoint(system.get("made_of", [])),
                **{name: values.get(name) for name in names},
            }


@table("deltas", "suite-{suite}")
def deltas(run: RunData, suite: str) -> Table:
    """Ablations of the hybrid, what fitted thresholds alone give, and every system against NLI under each protocol."""
    frame = run.deltas[(run.deltas["dataset"] == AVERAGE) & (run.deltas["suite"] == suite)]
    nli = {entry["id"] for entry in run.spec["systems"] if entry["family"] == "nli"}
    against = frame[(frame["table"] == suite) & (frame["factor"] == "system") & ~frame["system"].isin(run.controls)]
    tuned = frame[(frame["table"] == suite) & (frame["factor"] == "thresholds") & frame["system"].isin(nli)]
    shown = pd.concat([frame[frame["table"] == deltas_table(suite)], tuned, against], ignore_index=True)
    same = shown["protocol"] == shown["baseline_protocol"]
    both = shown["protocol"].where(same, shown["protocol"] + " vs " + shown["baseline_protocol"])
    shown = shown.assign(
        protocols=both.astype(object),
        status="",
        of_sets=len(run.datasets(suite)),
        chosen=[
            any(
                run.chosen_on(side, name, row.split)
                for side in (row.system, row.baseline)
                for name in run.datasets(suite)
            )
            for row in shown.itertuples()
        ],
    ).astype({"chosen": bool})
    columns = [
        Column("System", "system"),
        Column("Against", "baseline"),
        Column("Factor", "factor"),
        Column("Levels", "levels"),
        Column("Protocol", "protocols", marks=("chosen",)),
        Column("Rows", "split"),
        *delta_columns("Δ"),
        *verdict_columns(run),
    ]
    notes = [
        f"Differences of {run.metric_name(suite)}, system minus the one it stands against, on the same rows.",
        verdict_note(run),
        "First the ablations of the hybrid: systems that differ from it in exactly the named setting (a blend of heads"
        " leaves NLI out, one of nli the heads, half weighs both alike). Then what fitted thresholds give an NLI system"
        " by themselves. Then every system against an NLI system under one protocol.",
        CHOSEN_NOTE,
        "Intervals and p of fitted thresholds are given these thresholds: the luck of fitting is not in them.",
        *optimism_note(frame),
        *test_notes(run, frame, suite),
    ]
    title = "Differences: ablations of the hybrid, thresholds alone, against NLI"
    return Table(title, shown, tuple(columns), notes=tuple(notes), signature=signature(run, suite))


def optimism_note(deltas: pd.DataFrame) -> list[str]:
    """How much of val-tuned is that thresholds were fitted on the rows that are reported."""
    optimism = deltas[deltas["factor"] == "thresholds"]["optimism"].dropna()
    if optimism.empty:
        return []
    return [
        "val-tuned against 0.5 has no p: thresholds gain on the rows they were fitted on, whatever they are worth. Its"
        f" optimism, val-tuned minus cv on the same rows: {number(optimism.median(), 3)} in the median of"
        f" {len(optimism)} systems, at most {number(optimism.max(), 3)}."
    ]


def attribution(run: RunData, suite: str) -> list[str]:
    """A sentence per hybrid and protocol: how much of its gain over NLI at 0.5 is threshold tuning alone.

    Other blends of the same hybrid are rows of the table.
    """
    frame = run.deltas[(run.deltas["table"] == suite) & (run.deltas["dataset"] == AVERAGE)]
    said = []
    for entry in run.spec["systems"]:
        if entry["family"] == "hybridnli" and entry["settings"].get("blend") == "learned":
            pairs = (frame["system"] == entry["id"]) & (frame["baseline"] == nli_of(run, suite, entry))
            totals = frame[pairs & (frame["factor"] == "system + thresholds")]
            said += [_attributed(run, suite, frame, total) for total in totals.to_dict("records")]
    return [sentence for sentence in said if sentence]


def nli_of(run: RunData, suite: str, hybrid: dict[str, Any]) -> str | None:
    """The scored NLI system whose model the hybrid is built on; None where the run does not score it alone."""
    nli = hybrid["settings"].get("nli")
    candidates = [entry for entry in run.spec["systems"] if entry["family"] == "nli" and suite in entry["suites"]]
    return next((entry["id"] for entry in candidates if nli in (entry["id"], entry.get("model"))), None)


def _attributed(run: RunData, suite: str, frame: pd.DataFrame, total: dict[str, Any]) -> str:
    """What thresholds are of a gain, in both orders and in their mean, and what the hybrid adds under one protocol; ""
    where they do not add up, since they are over other datasets."""
    same = (frame["protocol"] == total["protocol"]) & (frame["split"] == total["split"])

    def one(system: str, baseline: str, factor: str) -> Any:
        pick = (frame["system"] == system) & (frame["baseline"] == baseline) & (frame["factor"] == factor)
        return frame[same & pick].iloc[0]

    name, against = total["system"], total["baseline"]
    tuning, rest = one(against, against, "thresholds"), one(name, against, "system")
    last, shared = one(name, name, "thresholds"), one(name, against, SHAPLEY)
    if len({total["n_sets"], tuning["n_sets"], rest["n_sets"]}) > 1:
        return ""

    def share(row: Any) -> str:
        relative = f" ({row['delta'] / total['delta']:.0%})" if total["delta"] > 0 else ""
        return number(row["delta"], 3) + relative

    chosen = any(run.chosen_on(name, dataset, total["split"]) for dataset in run.datasets(suite))
    p = "" if pd.isna(rest["p_adjusted"]) else f", p (adjusted) {number(rest['p_adjusted'], 4)}"
    return (
        f"{name}, {total['protocol']} on {total['split']}: {'gains' if total['delta'] >= 0 else 'loses'}"
        f" {number(abs(total['delta']), 3)} {run.metric_name(suite)} over {against} at 0.5. Of that, fitted thresholds"
        f" are {share(tuning)} if they come first (for {against}), {share(last)} if last (for {name}), {share(shared)}"
        f" {interval_text(shared['low'], shared['high'])} as the Shapley value; what the hybrid adds under it"
        f" is {number(rest['delta'], 3)} {interval_text(rest['low'], rest['high'])}{p}."
        f"{' Its weights were chosen on these rows.' if chosen else ''}"
    )
