"""Tables of multi-label suites by protocol, with published rows next to measured ones; differences and their
attribution."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from zsbench.config.published import PUBLISHED, load_published
from zsbench.evaluation.compare import SHAPLEY
from zsbench.plan.comparisons import deltas_table
from zsbench.plan.suites import FIXED, nli_of
from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.reporting.render import MARKS, Column, Table, interval_text, number
from zsbench.reporting.tables.base import (
    CHOSEN_NOTE,
    PROTOCOL_NOTE,
    best_trivial,
    chunks_note,
    delta_columns,
    idle_terms_note,
    signature,
    table,
    test_notes,
    verdict_columns,
    verdict_note,
)

METRICS = {
    "macro_f1": "Macro-F1",
    "hamming_accuracy": "Hamming acc",
    "exact_match": "Exact match",
    "macro_precision": "Macro P",
    "macro_recall": "Macro R",
}
PROTOCOL_ORDER = ("held-out", "cv", FIXED, "train-cv", "val-tuned", "heads-tuned")
TUNED = ("val-tuned", "heads-tuned")


@table("multi", "suite-{suite}")
def multi(run: RunData, suite: str) -> Table:
    """All systems under all protocols, with published rows marked as such."""
    labels = list(dict.fromkeys(label for entry in run.datasets(suite).values() for label in entry["label_names"]))
    headline = {run.metric(suite): run.metric_title(suite)}
    metrics = headline | {name: title for name, title in METRICS.items() if name not in headline}
    names = [*metrics, *(f"f1:{label}" for label in labels)]
    rows = [row for dataset in run.datasets(suite) for row in _measured(run, suite, dataset, names)]
    rows += [
        row
        for row in _reported(load_published(PUBLISHED), suite, names)
        if not {*run.datasets(suite)}.isdisjoint(row["dataset"].split(", "))
    ]
    heads = ["suite", "dataset", "title", "system", "protocol", "split", "source", "block", "status"]
    flags = ["below", "supervised", "tuned", "chosen"]
    frame = pd.DataFrame(rows, columns=[*heads, *flags, *names]).astype(dict.fromkeys(names, float))
    frame = frame.astype(dict.fromkeys(flags, bool))
    (first, title), *others = metrics.items()
    columns = [
        Column("System", "system"),
        *([Column("Dataset", "title")] if len(run.datasets(suite)) > 1 else []),
        Column(title, first, "number", marks=("below", "supervised", "tuned", "chosen")),
        *(Column(label, f"f1:{label}", "number") for label in labels),
        *(Column(name, metric, "number", extra=True) for metric, name in others),
    ]
    deltas = run.deltas[run.deltas["table"] == suite]
    notes = [
        PROTOCOL_NOTE,
        f"{MARKS['tuned']} thresholds fitted on the reported rows.",
        f"{MARKS['below']} {run.metric_name(suite)} below the best trivial control on the same rows and protocol (for"
        " random controls: their mean over many draws).",
        f"{MARKS['supervised']} trained on the train split of this dataset, unlike the zero-shot rows.",
        CHOSEN_NOTE,
        "Reported: published numbers, on the rows of that publication; not used in any test.",
        *attribution(run, suite),
        *test_notes(run, deltas, suite),
        *chunks_note(run, suite),
    ]
    return Table(
        f"{title} and F1 by label of every system, by protocol",
        frame,
        tuple(columns),
        group="block",
        notes=tuple(notes),
        signature=signature(run, suite),
    )


def _measured(run: RunData, suite: str, dataset: str, names: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of one dataset by protocol, systems in table order, means over seeds."""
    frame = run.metrics[(run.metrics["suite"] == suite) & (run.metrics["dataset"] == dataset)]
    labelled = frame["metric"].where(frame["label"] == "", frame["metric"] + ":" + frame["label"])
    means = frame.assign(name=labelled).groupby(["protocol", "split", "system", "name"])["value"].mean()
    headline, seen = run.metric(suite), run.seen(suite, dataset)
    decisions = set(zip(frame["protocol"], frame["split"], strict=True))
    # protocols with unbiased thresholds first, test before validation
    for protocol, split in sorted(decisions, key=lambda key: (key[1] != "test", PROTOCOL_ORDER.index(key[0]))):
        values = means[protocol, split].unstack()
        limit = best_trivial(run, suite, values[headline].to_dict())
        ranked = sorted(run.systems(suite), key=lambda name: -values[headline].get(name, -1.0))
        for system in sorted(ranked, key=lambda name: name in run.controls):
            row = {
                "suite": suite,
                "dataset": dataset,
                "title": run.titles[dataset],
                "system": system,
                "protocol": protocol,
                "split": split,
                "source": "measured",
                "block": f"{protocol} on {split} rows{': controls' * (system in run.controls)}",
                "status": run.missing_word(suite, [dataset], system),
                "tuned": protocol in TUNED,
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
    """Published rows, for the labels of this run."""
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
                "block": f"reported ({publication})",
                "status": "",
                "below": False,
                "supervised": False,
                "tuned": system["protocol"] in TUNED,
                "chosen": not set(entry["datasets"]).isdisjoint(system.get("made_of", [])),
                **{name: values.get(name) for name in names},
            }


@table("deltas", "suite-{suite}")
def deltas(run: RunData, suite: str) -> Table:
    """Ablations of the hybrid, the gain from fitted thresholds alone, and all systems against NLI by protocol."""
    frame = run.deltas[(run.deltas["dataset"] == AVERAGE) & (run.deltas["suite"] == suite)]
    nli = {entry["id"] for entry in run.spec["systems"] if entry["family"] == "nli"}
    against = frame[(frame["table"] == suite) & (frame["factor"] == "system") & ~frame["system"].isin(run.controls)]
    tuned = frame[(frame["table"] == suite) & (frame["factor"] == "thresholds") & frame["system"].isin(nli)]
    shown = pd.concat([frame[frame["table"] == deltas_table(suite)], tuned, against], ignore_index=True)
    questions = {deltas_table(suite): "Ablations of the hybrid", suite: "Against NLI under the same protocol"}
    block = shown["table"].map(questions).where(shown["factor"] != "thresholds", "Gain from fitted thresholds")
    same = shown["protocol"] == shown["baseline_protocol"]
    both = shown["protocol"].where(same, shown["protocol"] + " vs " + shown["baseline_protocol"])
    shown = shown.assign(
        protocols=both.astype(object),
        block=block.astype(object),
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
        Column("Levels", "levels", extra=True),
        Column("Protocol", "protocols", marks=("chosen",)),
        Column("Rows", "split"),
        *delta_columns("Δ"),
        *verdict_columns(run),
    ]
    notes = [
        f"Differences in {run.metric_name(suite)}, system minus baseline, on the same rows.",
        verdict_note(run),
        "Ablations of the hybrid: systems that differ from it in exactly the named setting (blend heads: without NLI; "
        "nli: without heads; half: equal weights). Gain from fitted thresholds: an NLI system with fitted thresholds "
        "minus the same system with 0.5. Against NLI: every system minus an NLI system under the same protocol.",
        CHOSEN_NOTE,
        "Intervals and p of fitted thresholds are conditional on these thresholds; they do not include fitting "
        "variance.",
        *idle_terms_note(run, shown["baseline"]),
        *optimism_note(frame),
        *test_notes(run, frame, suite),
    ]
    title = "Differences: hybrid ablations, thresholds alone, against NLI"
    return Table(title, shown, tuple(columns), group="block", notes=tuple(notes), signature=signature(run, suite))


def optimism_note(deltas: pd.DataFrame) -> list[str]:
    """The optimism of val-tuned, which fits thresholds on the reported rows."""
    optimism = deltas[deltas["factor"] == "thresholds"]["optimism"].dropna()
    if optimism.empty:
        return []
    return [
        "val-tuned against 0.5 has no p, because thresholds always gain on the rows they were fitted on. Optimism of"
        f" val-tuned (val-tuned minus cv on the same rows): median {number(optimism.median(), 3)}, maximum"
        f" {number(optimism.max(), 3)} over {len(optimism)} system{'s' * (len(optimism) > 1)}."
    ]


def attribution(run: RunData, suite: str) -> list[str]:
    """One sentence per hybrid and protocol: how much of its gain over NLI at 0.5 comes from threshold tuning alone.

    Other blends of the same hybrid are in the rows of the table.
    """
    frame = run.deltas[(run.deltas["table"] == suite) & (run.deltas["dataset"] == AVERAGE)]
    texts = []
    for entry in run.spec["systems"]:
        if entry["family"] == "hybridnli" and entry["settings"].get("blend") == "learned":
            pairs = (frame["system"] == entry["id"]) & (frame["baseline"] == nli_of(run.spec, suite, entry))
            totals = frame[pairs & (frame["factor"] == "system + thresholds")]
            texts += [_attributed(run, suite, frame, total) for total in totals.to_dict("records")]
    return [sentence for sentence in texts if sentence]


def _attributed(run: RunData, suite: str, frame: pd.DataFrame, total: dict[str, Any]) -> str:
    """The contribution of thresholds to a gain in both orders and as Shapley value, and that of the hybrid under the
    same protocol; "" if they do not add up because they cover different datasets."""
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
        f" {number(abs(total['delta']), 3)} {run.metric_name(suite)} over {against} at 0.5. Fitted thresholds"
        f" contribute {share(tuning)} if added first (to {against}), {share(last)} if added last (to {name}),"
        f" {share(shared)} {interval_text(shared['low'], shared['high'])} as Shapley value; under the same protocol,"
        f" the hybrid adds {number(rest['delta'], 3)} {interval_text(rest['low'], rest['high'])}{p}."
        f"{' Its weights were selected on these rows.' if chosen else ''}"
    )
