"""Validator of topics-mini, and the check of all sets behind `python -m authored check`."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from authored.check_hardset import SPLITS, check_hardset, percent
from authored.findings import (
    Finding,
    Report,
    auroc,
    check_duplicates,
    check_overlap,
    check_verbatim,
    gather,
    inside,
    print_reports,
    within,
)
from authored.word_ceiling import AUC_CEILING, check_ceiling
from zsbench.data.authored_sets import HARDSET, HARDSET_MORE, TOPICS, read_authored

LABELS = ("Technology", "Health", "Finance", "Economy", "Environment")
KINDS = ("plain", "near-miss", "hard-pair")
MIN_ROWS = 800
VERBATIM_LIMIT = 0.10
WORDS = (4, 75)
# Composition of the set: rows by number of true labels, and rows by true label; each within 15 % of the target.
TOLERANCE = 0.15
ROWS_BY_COUNT = {"0 labels": 190, "1 label": 330, "2 labels": 230, "3 labels": 90}
ROWS_BY_LABEL = {"Technology": 300, "Health": 230, "Finance": 190, "Economy": 120, "Environment": 250}
MIN_KIND = {"near-miss": 250, "hard-pair": 110}
MIN_COMBINATION = 4  # minimum number of rows with exactly these labels, for each pair and triple
SPLIT_SHARES = {"train": (58.0, 62.0), "validation": (18.0, 22.0), "test": (18.0, 22.0)}
# Maximum difference, in percentage points, between a label's share of a split and its share of the whole set.
SPLIT_DRIFT = 3.0
# Allowed AUROC of surface cues; 0.5 is chance. The word count must not predict any label, nor rows without a label; the
# other cues must not predict rows without a label. Splits are small, so the range for their word count is wider.
LENGTH_AUROC, CUE_AUROC, SPLIT_AUROC = (0.45, 0.55), (0.42, 0.58), (0.40, 0.60)
NO_TOPIC = "no topic"


def count_name(row: dict[str, Any]) -> str:
    """The row's key in `ROWS_BY_COUNT`."""
    return f"{len(row['labels'])} label{'' if len(row['labels']) == 1 else 's'}"


def _row_problems(row: dict[str, Any]) -> Iterator[str]:
    if set(row) != {"text", "labels", "split", "kind"} or not isinstance(row["labels"], list):
        yield f"fields must be text, labels, split, kind; found {', '.join(row)}"
        return
    if row["split"] not in SPLITS or row["kind"] not in KINDS:
        yield f"split {row['split']!r} or kind {row['kind']!r} is not known"
    if row["labels"] != [label for label in LABELS if label in row["labels"]] or len(row["labels"]) > 3:
        yield f"labels {row['labels']} must be at most three of {', '.join(LABELS)}, in that order, once each"
    if not WORDS[0] <= len(row["text"].split()) <= WORDS[1]:
        yield f"{len(row['text'].split())} words, allowed {WORDS[0]} to {WORDS[1]}"
    if row["kind"] == "hard-pair" and not {"Finance", "Economy"} & set(row["labels"]):
        yield "a hard pair must be about Finance or Economy"


def _near(target: dict[str, int]) -> dict[str, tuple[float, float]]:
    return {name: (value * (1 - TOLERANCE), value * (1 + TOLERANCE)) for name, value in target.items()}


def _kinds(rows: Sequence[dict[str, Any]]) -> Finding:
    found = Counter(row["kind"] for row in rows)
    problems = [
        (-1, f"{found[kind]} rows of {kind}, at least {low}") for kind, low in MIN_KIND.items() if found[kind] < low
    ]
    allowed = ", ".join(f"{kind} >= {low}" for kind, low in MIN_KIND.items())
    return gather("kinds", allowed, ", ".join(f"{kind} {found[kind]}" for kind in KINDS), problems)


def _combinations(rows: Sequence[dict[str, Any]]) -> Finding:
    found = Counter(tuple(row["labels"]) for row in rows)
    every = [combination for size in (2, 3) for combination in itertools.combinations(LABELS, size)]
    rare = [combination for combination in every if found[combination] < MIN_COMBINATION]
    problems = [(-1, f"{' + '.join(combination)}: {found[combination]} rows") for combination in rare]
    least = min(found[combination] for combination in every)
    return gather("combinations", f"each pair and triple in >= {MIN_COMBINATION} rows", f"rarest in {least}", problems)


def _split_balance(rows: Sequence[dict[str, Any]]) -> Finding:
    whole = {label: 100 * sum(label in row["labels"] for row in rows) / len(rows) for label in LABELS}
    problems, worst = [], 0.0
    for split in SPLITS:
        part = [row for row in rows if row["split"] == split]
        for label in LABELS:
            drift = abs(100 * sum(label in row["labels"] for row in part) / max(1, len(part)) - whole[label])
            worst = max(worst, drift)
            if drift > SPLIT_DRIFT:
                problems.append((-1, f"{label} in {split} is {drift:.1f} points off its share of the whole"))
    return gather("split balance", f"label shares within {SPLIT_DRIFT} points", f"largest drift {worst:.1f}", problems)


def surface_cues(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Surface features of texts, such as counts, and the row's position in the file, (N,) each."""
    counts = {
        "characters": len,
        "sentences": lambda text: len(re.findall(r"[.!?…]+(?=\s|$|[\"”’')])", text)),
        "commas": lambda text: text.count(","),
        "colons": lambda text: text.count(":") + text.count(";"),
        "digits": lambda text: sum(map(str.isdigit, text)),
        "capitals": lambda text: sum(map(str.isupper, text)),
    }
    cues = {name: np.array([count(text) for text in texts]) for name, count in counts.items()}
    return cues | {"row number": np.arange(len(texts))}


def _surface(rows: Sequence[dict[str, Any]]) -> tuple[Finding, Finding]:
    """How well the length of a text and other surface features predict its labels."""
    length = np.array([len(row["text"].split()) for row in rows])
    truth = {label: np.array([label in row["labels"] for row in rows]) for label in LABELS}
    truth[NO_TOPIC] = np.array([not row["labels"] for row in rows])
    split = np.array([row["split"] for row in rows])
    measured = {label: auroc(value, length) for label, value in truth.items()}
    problems = [(-1, f"{label}: {value:.3f}") for label, value in measured.items() if not inside(value, LENGTH_AUROC)]
    for name in SPLITS:
        for label, value in truth.items():
            found = auroc(value[split == name], length[split == name])
            if not inside(found, SPLIT_AUROC):
                problems.append((-1, f"{label} in {name}: {found:.3f}"))
    allowed = "AUROC of the word count {} to {}, in a split {} to {}".format(*LENGTH_AUROC, *SPLIT_AUROC)
    shown = ", ".join(f"{label} {value:.2f}" for label, value in measured.items())
    lengths = gather("text length", allowed, shown, problems)
    cues = {name: auroc(truth[NO_TOPIC], value) for name, value in surface_cues([row["text"] for row in rows]).items()}
    problems = [(-1, f"{name}: {value:.3f}") for name, value in cues.items() if not inside(value, CUE_AUROC)]
    allowed = "AUROC of {} to {} against the rows without a topic".format(*CUE_AUROC)
    shown = ", ".join(f"{name} {value:.2f}" for name, value in cues.items())
    return lengths, gather("surface cues", allowed, shown, problems)


def check_topics(rows: Sequence[dict[str, Any]], against: dict[str, list[str]] | None = None) -> Report:
    """Check every rule of topics-mini.

    Args:
        rows: the rows of the jsonl file, in order.
        against: texts of evaluation sets by name; none of them may occur in the set.

    Returns:
        The report. If the schema is violated, the check ends there, because the other rules need the fields.
    """
    problems = [(i, text) for i, row in enumerate(rows) for text in _row_problems(row)]
    if len(rows) < MIN_ROWS:
        problems.append((-1, f"{len(rows)} rows, at least {MIN_ROWS}"))
    schema = gather("schema", f"four fields, >= {MIN_ROWS} rows", f"{len(rows)} rows", problems)
    if any(set(row) != {"text", "labels", "split", "kind"} for row in rows):
        return Report(TOPICS, (schema,))
    texts = [row["text"] for row in rows]
    by_label = Counter(label for row in rows for label in row["labels"])
    findings = (
        schema,
        check_duplicates(texts),
        check_verbatim(rows, VERBATIM_LIMIT),
        within("rows by count", Counter(count_name(row) for row in rows), _near(ROWS_BY_COUNT)),
        within("rows by label", by_label, _near(ROWS_BY_LABEL)),
        _kinds(rows),
        _combinations(rows),
        within("split shares", percent(Counter(row["split"] for row in rows)), SPLIT_SHARES, "%"),
        _split_balance(rows),
        *_surface(rows),
        check_overlap(texts, against),
    )
    return Report(TOPICS, findings)


def run_checks(evaluation_texts: dict[str, list[str]]) -> int:
    """Check the authored sets and the bag-of-words ceiling, and print a table.

    Args:
        evaluation_texts: texts by data set name with which neither set may overlap; must not include topics-mini.

    Returns:
        0 if every rule holds, else 1: the exit status of `python -m authored check`.
    """
    hardset, more = read_authored(HARDSET), read_authored(HARDSET_MORE)
    ceiling = Report(f"{HARDSET}, words alone (ceiling {AUC_CEILING})", (check_ceiling(hardset),))
    return print_reports(
        [
            check_hardset(hardset, evaluation_texts),
            check_hardset(more, evaluation_texts, hardset),
            ceiling,
            check_topics(read_authored(TOPICS), evaluation_texts),
        ]
    )
