"""Tables about measurement quality and cost: sensitivity, calibration, cost, integrity."""

import pandas as pd

from zsbench.reporting.frames import SINGLE, WORDS, RunData, capital
from zsbench.reporting.render import EMPTY, Column, Table
from zsbench.reporting.tables.base import missing_notes, over_seeds, table
from zsbench.store.provenance import read_json

SYSTEM, DATASET = Column("System", "system"), Column("Dataset", "title")


@table("sensitivity", "sensitivity")
def sensitivity(run: RunData) -> Table:
    """The headline metric with other label orders and wordings."""
    metric = capital(run.metric_names(run.suites(SINGLE)))
    frame = over_seeds(
        run,
        "sensitivity",
        ["system", "dataset", "kind"],
        k=("k", "max"),
        rows=("rows", "max"),
        lowest=("low", "min"),
        highest=("high", "max"),
    )
    frame = frame.assign(spread=frame["high"] - frame["low"])
    columns = (
        SYSTEM,
        DATASET,
        Column("Kind", "kind"),
        Column("k", "k", "count"),
        Column("Rows", "rows", "count"),
        *(Column(name.capitalize(), name, "number") for name in ("mean", "lowest", "highest", "spread")),
        Column("Flip rate", "flip_rate", "number", interval=("flip_low", "flip_high")),
        Column("Floor", "floor", "number"),
        Column("Median |Δp|", "median_shift", "number"),
    )
    notes = (
        "Kind order: the same labels in k orders. Kind verbalisation: k named wordings of the labels.",
        f"{metric} on a seeded sample of the test rows, so means differ from the suite table. Spread: highest minus"
        " lowest within a seed. Lowest and highest: over all seeds.",
        "Flip rate: share of rows whose decision changes, with a 95 % bootstrap interval over rows. Floor: flip rate "
        "when only the order of the texts changes, i.e. rounding noise. Median |Δp|: median change in the probability "
        "of the decision, over rows and orders (or wordings).",
        *_not_measured(run),
        *missing_notes(run, run.suites(SINGLE)),
    )
    names = ["system", "dataset", "kind", "title", "k", "rows", "mean", "lowest", "highest", "spread"]
    names += ["flip_rate", "flip_low", "flip_high", "floor", "median_shift"]
    return Table(f"{metric} with other label orders and wordings", frame[names], columns, notes=notes)


def _not_measured(run: RunData) -> list[str]:
    """A note for each cell that has scores but no sensitivity measurement."""
    lost = {cell: run.cards[cell]["no_sensitivity"] for cell in run.cells() if run.cards[cell].get("no_sensitivity")}
    return [
        f"{WORDS[why['status']]}: {system} (seed {seed}) on {run.titles[dataset]}: {why['reason']}"
        for (_, dataset, system, seed), why in lost.items()
    ]


@table("calibration", "sensitivity")
def calibration(run: RunData) -> Table:
    """ECE, Brier and AUROC, means over seeds."""
    keys = ["suite", "system", "dataset"]
    measures = ["ece", "ece_low", "ece_high", "ece_calibrated", "ece_calibrated_high", "brier", "auroc"]
    kinds = {"confidence_kind": ("confidence_kind", "first"), "rows": ("rows", "first")}
    frame = over_seeds(run, "calibration", keys, **kinds).rename(columns={"confidence_kind": "confidence"})
    rows = frame.assign(status="").to_dict("records")
    for (suite, dataset, system), lost in run.missing.items():
        facts = {"suite": suite, "system": system, "dataset": dataset, "title": run.titles[dataset]}
        rows.append(facts | {"confidence": lost.word, "status": lost.word})
    columns = (
        SYSTEM,
        DATASET,
        Column("Confidence", "confidence"),
        Column("n", "rows", "count"),
        Column("ECE", "ece", "number", interval=("ece_low", "ece_high")),
        Column("If calibrated", "ece_calibrated", "number"),
        Column("at most", "ece_calibrated_high", "number"),
        Column("Brier", "brier", "number"),
        Column("AUROC", "auroc", "number"),
    )
    notes = (
        "ECE: 15 equal bins, lower is better. Brier: over all labels, lower is better (0 to 2 if the scores of a text "
        "sum to 1, which is not guaranteed for confidence score; 0 to 1 per label with several labels per text). "
        "AUROC: confidence against correctness, higher is better. If calibrated: mean ECE that the same confidences "
        "would have on as many rows if they were calibrated; at most: its 95th percentile. Interval: 95 % basic "
        "bootstrap over rows.",
        "Confidence is the top score if all scores of a system are in [0, 1] (score), otherwise the softmax "
        "probability of the top label (softmax; cosine: with a temperature fitted on the other half of the rows). With "
        "several labels per text, every (text, label) score is compared with the presence of the label (label score).",
        f"{EMPTY}: undefined, because all answers are correct or all are wrong.",
        *missing_notes(run, run.spec["suites"]),
    )
    names = ["suite", "system", "dataset", "title", "confidence", "rows", *measures, "status"]
    frame = pd.DataFrame(rows, columns=names)
    return Table("Calibration: how far confidence can be trusted", frame, columns, notes=notes)


@table("cost", "cost")
def cost(run: RunData) -> Table:
    """Time, throughput, memory and truncation of scoring: one row per system and suite."""
    speed, systems = run.speed, [(entry["id"], suite) for entry in run.spec["systems"] for suite in entry["suites"]]
    lost = {
        (system, suite): run.missing_word(suite, list(run.datasets(suite)), system)
        for system, suite in systems
        if (system, suite) not in speed.index
    }
    devices: dict[tuple[str, str], dict[str, None]] = {}
    for cell in run.cells():
        devices.setdefault((cell[2], cell[0]), {})[str(run.cards[cell].get("device", "unknown"))] = None
    pairs = [pair for pair in systems if lost.get(pair, "shown")]
    frame = speed.reindex(pd.MultiIndex.from_tuples(pairs, names=["system", "suite"])).reset_index()
    frame["seconds_per_thousand"] = 1000 * frame["seconds"] / frame["texts"]
    frame["of_sets"] = frame["suite"].map(lambda suite: len(run.datasets(suite)))
    frame["status"] = [lost.get(pair, "") for pair in pairs]
    frame["device"] = [lost.get(pair) or ", ".join(devices[pair]) for pair in pairs]
    columns = (
        SYSTEM,
        Column("Suite", "suite"),
        Column("Device", "device"),
        Column("Texts", "texts", "count", sets=("n_sets", "of_sets")),
        Column("Seconds", "seconds", "number", 1, volatile=True),
        Column("Texts/s", "texts_per_second", "number", 1, volatile=True),
        Column("s/1,000", "seconds_per_thousand", "number", 1, volatile=True),
        Column("Peak MB", "peak_memory_mb", "count", volatile=True),
        Column("Truncated texts", "truncated_texts", "count"),
        Column("Truncated labels", "truncated_labels", "count"),
    )
    notes = (
        "Scoring only, without training, summed over all datasets and seeds of the suite. Times are comparable only "
        "on the same device. s/1,000: seconds per 1,000 texts, each with all its labels.",
        "Peak MB: peak memory of the scoring process (GPU memory on a GPU). Truncated: texts (or labels) that exceeded"
        " the token limit of the system.",
        *missing_notes(run, run.spec["suites"]),
    )
    names = ["system", "suite", "device", "texts", "seconds", "texts_per_second", "seconds_per_thousand"]
    names += ["peak_memory_mb", "truncated_texts", "truncated_labels", "n_sets", "of_sets", "status"]
    return Table("Time and memory of scoring", frame[names], columns, notes=notes)


COUNTS = ("parameters", "trained_parameters")


@table("parameters", "cost")
def parameters(run: RunData) -> Table:
    """Parameter counts of all systems that load weights, from the cards of their cells."""
    cards = {cell[2]: run.cards[cell] for cell in reversed(run.cells()) if COUNTS[0] in run.cards[cell]}
    rows = [
        {"system": entry["id"], **{name: cards[entry["id"]][name] for name in COUNTS}}
        for entry in run.spec["systems"]
        if entry["id"] in cards
    ]
    frame = pd.DataFrame(rows, columns=["system", *COUNTS])
    frame["share"] = frame["trained_parameters"] / frame["parameters"]
    columns = (
        Column("System", "system"),
        Column("Parameters", "parameters", "count"),
        Column("Trained", "trained_parameters", "count"),
        Column("Share", "share", "share", 2),
    )
    notes = (
        "Trained: parameters updated in training, here or by the authors. For a hybrid these are the heads and blend"
        " weights; its NLI model is frozen. Systems without weights, and those that run elsewhere, are not listed.",
    )
    return Table("Parameters", frame, columns, notes=notes)


QUALITY = {"rows": "Rows", "empty_texts": "Empty", "duplicate_texts": "Duplicate", "rows_without_gold": "Without gold"}


@table("integrity", "integrity")
def integrity(run: RunData) -> Table:
    """Rows and anomalies of all datasets, overlap with training texts, and systems trained on them."""
    path = run.root / "analysis" / "overlap.json"
    overlap = read_json(path) if path.is_file() else {}
    rows = []
    for suite in run.spec["suites"]:
        for name, entry in run.datasets(suite).items():
            card, seen = run.dataset_card(name), run.seen(suite, name)
            overlaps = {"own" if other == name else other: counts for other, counts in overlap.get(name, {}).items()}
            rows.append(
                {
                    "suite": suite,
                    "dataset": name,
                    "title": entry["title"],
                    "revision": str(card.get("revision", ""))[:12],
                    **{f"scored:{split}": count for split, count in run.scored_rows(name).items()},
                    **{key: card.get("quality", {}).get(key) for key in (*QUALITY, "long_share")},
                    **{f"{k}:{other}": counts[k] for other, counts in overlaps.items() for k in ("exact", "near")},
                    "seen_by": ", ".join(system for system, answer in seen.items() if answer == "yes") or "none",
                    "unknown": sum(answer == "unknown" for answer in seen.values()),
                }
            )
    frame = pd.DataFrame(rows)
    dynamic = [name.partition(":")[::2] for name in frame.columns if ":" in name]
    columns = (
        DATASET,
        Column("Suite", "suite"),
        Column("Revision", "revision", extra=True),
        *(Column(f"Scored {split}", f"scored:{split}", "count") for kind, split in dynamic if kind == "scored"),
        *(Column(title, key, "count") for key, title in QUALITY.items()),
        Column("Long", "long_share", "share"),
        *(
            Column(f"Overlap {other}", f"exact:{other}", "count", plus=f"near:{other}")
            for kind, other in dynamic
            if kind == "exact"
        ),
        Column("Seen by", "seen_by"),
        Column("Unknown", "unknown", "count", extra=True),
    )
    notes = (
        "The columns Rows to Long describe the full published set before sampling; Scored counts the rows scored in "
        "this run. Data are not repaired: empty and duplicate texts are scored, rows without a gold label are skipped.",
        "Long: share of texts with more than 350 words. Overlap by training set: scored texts of at least five words "
        "that match a training text except for case and punctuation, plus near-duplicates, which share at least 40 % "
        "(and at least seven) of the word trigrams of the shorter text. A dataset listed as training set means its "
        "train split (own: that of the same dataset), which hybrids train on.",
        "Seen by: systems declared as trained on the dataset; Unknown: number of systems that declare nothing.",
    )
    return Table("Rows, anomalies, overlap with training sets, seen flags", frame, columns, notes=notes)
