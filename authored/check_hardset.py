"""Validator of hardset-mini and of hardset-more, its extension: checks every rule stated on their cards on the rows."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from authored.findings import (
    Finding,
    Report,
    auroc,
    check_duplicates,
    check_overlap,
    check_verbatim,
    gather,
    inside,
    within,
)
from zsbench.data.authored_sets import HARDSET, HARDSET_MORE

SPLITS = ("train", "validation", "test")
TEXTS_PER_BUNDLE = 5
LABELS_PER_BUNDLE = (12, 18)
POSITIVES_PER_TEXT = (2, 9)
MIN_NEGATIVES = 3
VERBATIM_LIMIT = 0.10
MIN_BUNDLES, MIN_REGISTERS, MIN_DOMAINS, MIN_DISTINCT_LABELS = 300, 40, 60, 2500
# Allowed ranges in percent: texts by length class, bundle labels by kind, distinct labels by wording, texts by split.
LENGTHS = {"sentence": (10.0, 20.0), "short": (40.0, 60.0), "medium": (20.0, 40.0), "paragraphs": (7.0, 15.0)}
KINDS = {
    "topic": (21.0, 27.0),
    "sentiment": (16.0, 22.0),
    "emotion": (9.0, 15.0),
    "intent": (13.0, 19.0),
    "genre": (5.0, 11.0),
    "spam": (2.0, 6.0),
    "fact": (14.0, 20.0),
}
WORDINGS = {"one word": (20.0, 50.0), "2 to 5 words": (40.0, 75.0), "description": (3.0, 25.0)}
SPLIT_SHARES = {"train": (67.0, 73.0), "validation": (8.0, 12.0), "test": (18.0, 22.0)}
LABEL_AUROC = (0.45, 0.55)  # allowed AUROC of a label's characters, words and alphabetical rank; 0.5 is chance
MIN_UNSEEN = 40.0  # minimum percent of distinct test labels that no training text has, true or false

FIELDS: dict[str, type] = {
    "bundle": str,
    "split": str,
    "text": str,
    "labels": list,
    "not_labels": list,
    "register": str,
    "domain": str,
    "length": str,
    "kind": list,
}


def length_class(text: str) -> str:
    """`paragraphs` if there is a blank line, else by sentence count: `sentence` 1, `short` 2-3, `medium` 4 or more."""
    if "\n\n" in text:
        return "paragraphs"
    ends = len(re.findall(r"[.!?…]+(?=\s|$|[\"”’')])", text)) or 1
    return "sentence" if ends == 1 else "short" if ends <= 3 else "medium"


def wording(label: str) -> str:
    """`one word`, `2 to 5 words` or `description` (longer)."""
    count = len(label.split())
    return "one word" if count == 1 else "2 to 5 words" if count <= 5 else "description"


def percent(counts: Counter[str]) -> dict[str, float]:
    """Counts as percent of their total."""
    total = sum(counts.values()) or 1
    return {name: 100 * count / total for name, count in counts.items()}


def bundle_kinds(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """Kind of each (bundle, label)."""
    kinds = {}
    for row in rows:
        for label, kind in zip(row["labels"] + row["not_labels"], row["kind"], strict=True):
            kinds[row["bundle"], label] = kind
    return kinds


def label_sets(rows: Sequence[dict[str, Any]]) -> dict[str, set[str]]:
    """Distinct lower-cased labels of each split, true or false."""
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    for row in rows:
        found[row["split"]] |= {label.lower() for label in row["labels"] + row["not_labels"]}
    return found


def unseen_shares(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Percent of distinct test labels, and of test (text, label) pairs, whose label does not occur in training."""
    labels = label_sets(rows)
    pairs = [label.lower() for row in rows if row["split"] == "test" for label in row["labels"] + row["not_labels"]]
    distinct = 100 * len(labels["test"] - labels["train"]) / max(1, len(labels["test"]))
    return distinct, 100 * sum(label not in labels["train"] for label in pairs) / max(1, len(pairs))


def _row_problems(row: dict[str, Any]) -> Iterator[str]:
    wrong = [name for name, kind in FIELDS.items() if not isinstance(row.get(name), kind)]
    if wrong or set(row) != set(FIELDS):
        yield f"fields must be {', '.join(FIELDS)}; wrong: {', '.join(wrong) or sorted(set(row) ^ set(FIELDS))}"
        return
    every = row["labels"] + row["not_labels"]
    if not row["text"].strip() or row["text"] != row["text"].strip():
        yield "text is empty or has blank ends"
    if row["split"] not in SPLITS:
        yield f"split {row['split']!r}, allowed {', '.join(SPLITS)}"
    if row["length"] != length_class(row["text"]):
        yield f"length {row['length']!r}, the text is {length_class(row['text'])!r}"
    if len(row["kind"]) != len(every) or not set(row["kind"]) <= set(KINDS):
        yield f"kind must hold one of {', '.join(KINDS)} for each label"
    bad = [label for label in every if not label or label != label.strip() or "_" in label]
    if bad:
        yield f"labels {bad} are blank, padded or snake case"
    if not POSITIVES_PER_TEXT[0] <= len(row["labels"]) <= POSITIVES_PER_TEXT[1]:
        yield f"{len(row['labels'])} true labels, allowed {POSITIVES_PER_TEXT[0]} to {POSITIVES_PER_TEXT[1]}"
    if len(row["not_labels"]) < MIN_NEGATIVES:
        yield f"{len(row['not_labels'])} false labels, at least {MIN_NEGATIVES}"


def _schema(rows: Sequence[dict[str, Any]]) -> Finding:
    problems = [(i, text) for i, row in enumerate(rows) for text in _row_problems(row)]
    return gather("schema", "the nine fields, well formed", f"{len(rows)} rows", problems)


def _disjoint(rows: Sequence[dict[str, Any]]) -> Finding:
    problems = []
    for i, row in enumerate(rows):
        counts = Counter(label.lower() for label in row["labels"] + row["not_labels"])
        problems += [(i, f"{label!r} is given more than once") for label, count in counts.items() if count > 1]
    return gather("disjoint", "a label once a text: true or false", f"{len(problems)} clashes", problems)


def _bundles(rows: Sequence[dict[str, Any]]) -> tuple[Finding, Finding]:
    """Composition of bundles, and the cross-role rule: in its bundle, each label is true for a text, false for one."""
    members: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        members[row["bundle"]].append(i)
    problems: list[tuple[int, str]] = []
    roles: list[tuple[int, str]] = []
    for bundle, indices in members.items():
        group = [rows[i] for i in indices]
        true = {label for row in group for label in row["labels"]}
        false = {label for row in group for label in row["not_labels"]}
        if len(group) != TEXTS_PER_BUNDLE:
            problems.append((indices[0], f"bundle {bundle} has {len(group)} texts, not {TEXTS_PER_BUNDLE}"))
        if not LABELS_PER_BUNDLE[0] <= len(true | false) <= LABELS_PER_BUNDLE[1]:
            problems.append((indices[0], f"bundle {bundle} has {len(true | false)} labels, not 12 to 18"))
        mixed = [name for name in ("split", "register", "domain") if len({row[name] for row in group}) > 1]
        problems += [(indices[0], f"the texts of bundle {bundle} differ in {name!r}") for name in mixed]
        roles += [(indices[0], f"{label!r} is never true in bundle {bundle}") for label in sorted(false - true)]
        roles += [(indices[0], f"{label!r} is never false in bundle {bundle}") for label in sorted(true - false)]
    size = f"{TEXTS_PER_BUNDLE} texts, 12 to 18 labels, one register, domain and split each"
    makeup = gather("bundles", size, f"{len(members)} bundles", problems)
    slots = len({(row["bundle"], label) for row in rows for label in row["labels"] + row["not_labels"]})
    return makeup, gather("cross-role", "each label true and false in its bundle", f"{slots} labels of bundles", roles)


def _breadth(rows: Sequence[dict[str, Any]]) -> Finding:
    values = {
        "bundles": len({row["bundle"] for row in rows}),
        "registers": len({row["register"] for row in rows}),
        "domains": len({row["domain"] for row in rows}),
        "distinct labels": len(set().union(*label_sets(rows).values())),
    }
    least = dict(zip(values, (MIN_BUNDLES, MIN_REGISTERS, MIN_DOMAINS, MIN_DISTINCT_LABELS), strict=True))
    problems = [(-1, f"{values[name]} {name}, at least {low}") for name, low in least.items() if values[name] < low]
    allowed = ", ".join(f"{name} >= {low}" for name, low in least.items())
    return gather("breadth", allowed, ", ".join(f"{name} {value}" for name, value in values.items()), problems)


def _splits(rows: Sequence[dict[str, Any]]) -> tuple[Finding, Finding]:
    shares = within("split shares", percent(Counter(row["split"] for row in rows)), SPLIT_SHARES, "%")
    distinct, pairs = unseen_shares(rows)
    problems = [] if distinct >= MIN_UNSEEN else [(-1, f"only {distinct:.1f}% of the distinct test labels are new")]
    measured = f"{distinct:.1f}% of distinct test labels, {pairs:.1f}% of test pairs"
    return shares, gather("unseen test labels", f">= {MIN_UNSEEN:.0f}% of distinct test labels", measured, problems)


def _label_surface(rows: Sequence[dict[str, Any]]) -> Finding:
    """How well a label's surface form predicts whether it is true.

    Its position in the file is not checked, because true labels are always first.
    """
    problems, shown = [], []
    for split in [name for name in SPLITS if any(row["split"] == name for row in rows)]:
        pairs = []  # truth, characters, words, alphabetical rank among the labels of its text
        for row in rows:
            if row["split"] == split:
                true, every = set(row["labels"]), sorted(row["labels"] + row["not_labels"], key=str.lower)
                pairs += [(label in true, len(label), len(label.split()), i) for i, label in enumerate(every)]
        truth, *cues = np.array(pairs).T.reshape(4, -1)
        for name, cue in zip(("characters", "words", "alphabetical rank"), cues, strict=True):
            value = auroc(truth == 1, cue)
            shown.append(f"{split} {name} {value:.2f}")
            if not inside(value, LABEL_AUROC):
                problems.append((-1, f"{name} of the labels in {split}: {value:.3f}"))
    allowed = "AUROC {} to {} against the truth of the label".format(*LABEL_AUROC)
    return gather("label surface", allowed, ", ".join(shown), problems)


def check_hardset(
    rows: Sequence[dict[str, Any]],
    against: dict[str, list[str]] | None = None,
    extends: Sequence[dict[str, Any]] = (),
) -> Report:
    """Check every rule of hardset-mini, or of an extension of it.

    Args:
        rows: the rows of the jsonl file, in order.
        against: texts of evaluation sets by name; none of them may occur in the set.
        extends: rows of hardset-mini if `rows` are an extension. Its rows are all for training, and no text may be a
            near-duplicate of one of hardset-mini; the rules on breadth, splits and unseen labels do not apply.

    Returns:
        The report. If the schema is violated, the check ends there, because the other rules need the fields.
    """
    name, schema = HARDSET_MORE if extends else HARDSET, _schema(rows)
    if any(not all(isinstance(row.get(name), kind) for name, kind in FIELDS.items()) for row in rows):
        return Report(name, (schema,))
    if any(len(row["kind"]) != len(row["labels"] + row["not_labels"]) or row["split"] not in SPLITS for row in rows):
        return Report(name, (schema,))
    texts = [row["text"] for row in rows]
    kinds, shares = Counter(bundle_kinds(rows).values()), percent(Counter(row["split"] for row in rows))
    wordings = Counter(wording(label) for label in set().union(*label_sets(rows).values()))
    findings = (
        schema,
        *_bundles(rows),
        _disjoint(rows),
        check_duplicates([*texts, *(row["text"] for row in extends)]),
        check_verbatim(rows, VERBATIM_LIMIT),
        *(() if extends else [_breadth(rows)]),
        within("kinds", percent(kinds), KINDS, "%"),
        within("wordings", percent(wordings), WORDINGS, "%"),
        within("lengths", percent(Counter(row["length"] for row in rows)), LENGTHS, "%"),
        *([within("split shares", shares, {"train": (100.0, 100.0)}, "%")] if extends else _splits(rows)),
        _label_surface(rows),
        check_overlap(texts, against),
    )
    return Report(name, findings)
