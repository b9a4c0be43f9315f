"""Tables about the measurement itself: sensitivity, calibration, cost, integrity."""

from typing import Any

import pandas as pd

from zsbench.reporting.frames import WORDS, RunData
from zsbench.reporting.missing import missing_notes, sets_text
from zsbench.reporting.table import EMPTY, Table, interval, number
from zsbench.store.provenance import read_json


def _titles(run: RunData) -> dict[str, str]:
    return {name: entry["title"] for suite in run.spec["suites"] for name, entry in run.datasets(suite).items()}


def _ordered(run: RunData, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by system, then dataset, in table order."""
    systems = {entry["id"]: place for place, entry in enumerate(run.spec["systems"])}
    datasets = {name: place for place, name in enumerate(_titles(run))}
    keys = frame["system"].map(systems).astype(int), frame["dataset"].map(datasets).astype(int)
    return frame.assign(_system=keys[0], _dataset=keys[1]).sort_values(["_system", "_dataset"], kind="stable")


def sensitivity(run: RunData) -> Table:
    """`sensitivity`: macro-F1 under other label orders and wordings."""
    frame = run.frame("sensitivity")
    rows = []
    for (system, dataset, kind), group in _ordered(run, frame).groupby(["system", "dataset", "kind"], sort=False):
        spread = (group["high"] - group["low"]).mean()
        values = [number(value) for value in (group["mean"].mean(), group["low"].min(), group["high"].max(), spread)]
        counts = [str(int(group["k"].max())), str(int(group["rows"].max()))]
        around = interval(group["flip_low"].mean(), group["flip_high"].mean())
        flips = [number(group["flip_rate"].mean()), around, number(group["floor"].mean())]
        rows.append([system, _titles(run)[dataset], kind, *counts, *values, *flips])
    notes = [
        "Kind order: the same labels in k orders. Kind verbalisation: k named wordings of the labels.",
        "Macro-F1 on a seeded part of the test rows, so means differ from the suite table. Spread is highest minus"
        " lowest within a seed; lowest and highest are over all seeds.",
        "Flip rate: rows whose decision changes, with the 95 % interval of a bootstrap over the rows. Floor: the same"
        " when nothing but the order of the texts changes, which is rounding.",
        *_not_measured(run),
        *missing_notes(run, ["gliclass"]),
    ]
    columns = ["System", "Dataset", "Kind", "k", "Rows", "Mean", "Lowest", "Highest", "Spread"]
    columns += ["Flip rate", "Interval", "Floor"]
    return Table("sensitivity", columns, rows, notes)


def _not_measured(run: RunData) -> list[str]:
    """Cells that have scores, but no sensitivity: a note each."""
    notes = []
    for suite, dataset, system, seed in run.cells():
        why = (run.card(suite, dataset, system, seed) or {}).get("no_sensitivity")
        if why:
            notes.append(f"{WORDS[why['status']]}: {system} (seed {seed}) on {_titles(run)[dataset]}: {why['reason']}")
    return notes


def calibration(run: RunData) -> Table:
    """`calibration`: ECE, Brier and AUROC, means over seeds."""
    frame = _ordered(run, run.frame("calibration"))
    rows = []
    for (system, dataset), group in frame.groupby(["system", "dataset"], sort=False):
        values = [number(group[column].mean()) for column in ("ece", "ece_calibrated", "brier", "auroc")]
        rows.append(
            [system, _titles(run)[dataset], group["confidence_kind"].iloc[0], f"{group['rows'].iloc[0]}", *values]
        )
    for (_, dataset, system), missing in run.missing.items():
        rows.append([system, _titles(run)[dataset], *[missing.word] * 6])
    notes = [
        "ECE over 15 equal bins, Brier score over all labels (0 to 2; with several labels a text 0 to 1 a label) and"
        " AUROC of confidence against correctness; lower, lower and higher is better. If calibrated: the ECE that the"
        " same confidences would show on as many rows if they were right.",
        "Confidence is the top score where all of a system's scores lie in [0, 1] (score), else the top label's share"
        " of a softmax over the labels (softmax; cosine: with a temperature fitted on the other half of the rows). With"
        " several labels a text it is every (text, label) score against the label's presence (label score).",
        f"{EMPTY}: undefined, every answer is right or every answer is wrong.",
        *missing_notes(run, run.spec["suites"]),
    ]
    return Table(
        "calibration", ["System", "Dataset", "Confidence", "n", "ECE", "If calibrated", "Brier", "AUROC"], rows, notes
    )


def cost(run: RunData) -> Table:
    """`cost`: time, throughput, memory and truncation of scoring, a row a system and suite."""
    frame, rows = _ordered(run, run.cost), []
    for (system, suite), group in frame.groupby(["system", "suite"], sort=False):
        timed = group["seconds"].sum(min_count=1)
        rate = group["texts"].sum() / timed if timed and timed > 0 else None
        truncated = [number(group[column].sum(min_count=1), 0) for column in ("truncated_texts", "truncated_labels")]
        memory = number(group["peak_memory_mb"].max(), 0)
        cells = [number(timed, 1), number(rate, 1), memory, *truncated]
        sets = sets_text(group["dataset"].nunique(), len(run.datasets(suite)))
        rows.append([system, suite, _device(run, suite, system), f"{group['texts'].sum()}{sets}", *cells])
    for suite, system in dict.fromkeys((suite, system) for suite, _, system in run.missing):
        if [system, suite] not in [row[:2] for row in rows]:
            words = [missing.word for place, missing in run.missing.items() if (place[0], place[2]) == (suite, system)]
            rows.append([system, suite, *[min(words)] * 7])
    notes = [
        "Scoring only, all datasets and seeds of the suite together; training is not in it. Times are of the machine"
        " that the cards name and compare only within one.",
        "Peak MB: the most memory that the scoring process held (of the GPU where the device is one). Truncated: texts"
        " (or labels) that did not fit the system's token limit whole.",
        *missing_notes(run, run.spec["suites"]),
    ]
    columns = [
        "System",
        "Suite",
        "Device",
        "Texts",
        "Seconds",
        "Texts/s",
        "Peak MB",
        "Truncated texts",
        "Truncated labels",
    ]
    return Table("cost", columns, rows, notes)


def _device(run: RunData, suite: str, system: str) -> str:
    """Devices of the system's cells, e.g. `cpu`."""
    cards = [run.card(*cell) or {} for cell in run.cells() if (cell[0], cell[2]) == (suite, system)]
    return ", ".join(dict.fromkeys(str(card.get("device", "unknown")) for card in cards))


def integrity(run: RunData) -> Table:
    """`integrity`: rows and anomalies of every dataset, overlap with training texts, and which systems saw it."""
    rows = []
    for suite in run.spec["suites"]:
        for name, entry in run.datasets(suite).items():
            path = run.layout.dataset_card(name)
            card: dict[str, Any] = read_json(path) if path.is_file() else {}
            quality = card.get("quality", {})
            scored = ", ".join(f"{count:,} {split}" for split, count in card.get("rows", {}).items()) or EMPTY
            anomalies = ("rows", "empty_texts", "duplicate_texts", "rows_without_gold")
            cells = [number(quality.get(key), 0) for key in anomalies]
            cells.append(f"{quality['long_share']:.1%}" if "long_share" in quality else EMPTY)
            overlap = [_overlap(run, name), *_seen(run, suite, name)]
            rows.append([entry["title"], suite, str(card.get("revision", EMPTY))[:12], scored, *cells, *overlap])
    notes = [
        "Rows to Long are of the whole published set, before any sampling; Scored is what this run scores. Nothing is"
        " repaired: empty and duplicate texts are scored, rows without a gold label are counted and left out.",
        "Long: share of texts above 350 words. Overlap, by training set: scored texts of five words or more that equal"
        " a training text but for case and punctuation, plus those that share at least 40 % (and seven) of the word"
        " triples of the shorter of the two with one. A dataset named here stands for its training split (own: this"
        " dataset's), from which hybrids learn.",
        "Seen: systems trained on the dataset, by their own declaration; unknown: systems that declare nothing.",
    ]
    columns = [
        "Dataset",
        "Suite",
        "Revision",
        "Scored",
        "Rows",
        "Empty",
        "Duplicate",
        "Without gold",
        "Long",
        "Overlap",
    ]
    return Table("integrity", [*columns, "Seen by", "Unknown"], rows, notes)


def _overlap(run: RunData, dataset: str) -> str:
    """Scored texts that are (nearly) training texts, exact + near, of each training set of the run."""
    path = run.root / "analysis" / "overlap.json"
    found = read_json(path).get(dataset, {}) if path.is_file() else {}
    shown = [f"{'own' if name == dataset else name}: {card['exact']} + {card['near']}" for name, card in found.items()]
    return "; ".join(shown) or EMPTY


def _seen(run: RunData, suite: str, dataset: str) -> list[str]:
    """Systems that saw the dataset, and the number of systems that do not say."""
    answers: dict[str, set[str]] = {}
    for kind, name, system, seed in run.cells():
        if (kind, name) == (suite, dataset):
            answer = str((run.card(kind, name, system, seed) or {}).get("seen", "unknown"))
            answers.setdefault(system, set()).add(answer)
    seen = [system for system, given in answers.items() if "yes" in given]
    unknown = [system for system, given in answers.items() if "yes" not in given and "unknown" in given]
    return [", ".join(seen) or "none", str(len(unknown))]
