"""Findings and reports of the validators, and text comparisons that both validators share."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.feature_extraction.text import CountVectorizer

from zsbench.data.near_duplicates import MIN_SHARED, NEAR, SHORT, overlap

SHINGLE_WORDS = 3
# Minimum Jaccard similarity of the word triples of near-duplicate texts. It is below 0.1 for unrelated English texts of
# this length, and above 0.5 for a copy with a few words changed.
NEAR_DUPLICATE = 0.4


@dataclass(frozen=True)
class Finding:
    """The result of a rule.

    Attributes:
        rule: short name.
        allowed: the requirement, in words.
        measured: the measurement, in words.
        rows: indices of the offending rows; empty for a rule about the whole set.
        failures: violations, one line each; empty if the rule holds.
    """

    rule: str
    allowed: str
    measured: str
    rows: tuple[int, ...] = ()
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """All findings of a set; `ok` if no rule failed."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.failures]

    @property
    def ok(self) -> bool:
        return not self.failed

    def finding(self, rule: str) -> Finding:
        """The finding of a rule.

        Raises:
            KeyError: no such rule; the message lists the rules.
        """
        found = {finding.rule: finding for finding in self.findings}
        if rule not in found:
            raise KeyError(f"no rule {rule!r}; there are: {', '.join(found)}")
        return found[rule]

    def table(self, examples: int = 8) -> str:
        """A fixed-width table with one line per rule; failed rules are followed by their first `examples` failures."""
        width = max(len(finding.rule) for finding in self.findings)
        lines = [f"{self.name}: {'passes' if self.ok else f'{len(self.failed)} rules fail'}"]
        for item in self.findings:
            mark = "FAIL" if item.failures else "ok"
            lines.append(f"  {mark:4}  {item.rule:{width}}  {item.measured}   (asked: {item.allowed})")
            lines += [f"          {failure}" for failure in item.failures[:examples]]
            if len(item.failures) > examples:
                lines.append(f"          and {len(item.failures) - examples} more")
        return "\n".join(lines)


def gather(rule: str, allowed: str, measured: str, problems: Sequence[tuple[int, str]]) -> Finding:
    """Make a finding from (row, problem) pairs; a row of -1 means the whole set."""
    rows = tuple(sorted({row for row, _ in problems if row >= 0}))
    lines = tuple(f"row {row}: {text}" if row >= 0 else text for row, text in problems)
    return Finding(rule, allowed, measured, rows, lines)


def within(rule: str, values: Mapping[str, float], ranges: dict[str, tuple[float, float]], unit: str = "") -> Finding:
    """Make a finding about named numbers, which must be within inclusive ranges; a missing number counts as 0."""

    def show(value: float) -> str:
        return f"{value:.1f}" if unit else f"{value:g}"

    problems = [
        (-1, f"{name} is {show(values.get(name, 0))}{unit}, allowed {low:g} to {high:g}{unit}")
        for name, (low, high) in ranges.items()
        if not low <= values.get(name, 0) <= high
    ]
    problems += [(-1, f"unknown name {name!r}") for name in values if name not in ranges]
    allowed = ", ".join(f"{name} {low:g} to {high:g}{unit}" for name, (low, high) in ranges.items())
    return gather(rule, allowed, ", ".join(f"{name} {show(values.get(name, 0))}{unit}" for name in ranges), problems)


def inside(value: float, bounds: tuple[float, float]) -> bool:
    """Whether a number is in an inclusive range; false for NaN."""
    return bounds[0] <= value <= bounds[1]


def auroc(truth: np.ndarray, values: np.ndarray) -> float:
    """Probability that a true row has a larger value than a false one; ties count half.

    Args are (N,); the result is NaN if all rows are true or all are false.
    """
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return float("nan")
    return float((rankdata(values)[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def words(text: str) -> list[str]:
    """Lower-case runs of letters, as in published data sets that keep only letters."""
    return re.findall(r"[^\W\d_]+", text.lower())


def _shingles(text: str) -> list[str]:
    tokens = words(text)
    return [" ".join(tokens[i : i + SHINGLE_WORDS]) for i in range(max(1, len(tokens) - SHINGLE_WORDS + 1))]


def check_duplicates(texts: Sequence[str]) -> Finding:
    """Rule: no two texts have word triples with a Jaccard similarity of `NEAR_DUPLICATE` or more."""
    holds = CountVectorizer(analyzer=_shingles, binary=True, dtype=np.int32).fit_transform(texts)
    shared, count = (holds @ holds.T).tocoo(), np.asarray(holds.sum(axis=1)).ravel()
    once = shared.row < shared.col
    i, j, both = shared.row[once], shared.col[once], shared.data[once]
    jaccard = both / (count[i] + count[j] - both)
    problems = [
        (int(b), f"near-duplicate of row {int(a)} ({similarity:.2f}): {texts[b][:70]!r}")
        for a, b, similarity in zip(i, j, jaccard, strict=True)
        if similarity >= NEAR_DUPLICATE
    ]
    measured = f"largest {jaccard.max(initial=0.0):.2f}"
    return gather("duplicates", f"Jaccard of word triples < {NEAR_DUPLICATE}", measured, problems)


def check_overlap(texts: Sequence[str], against: dict[str, list[str]] | None) -> Finding:
    """Rule: no text equals, contains or is contained in an evaluation text (see `near_duplicates.overlap`)."""
    problems: list[tuple[int, str]] = []
    short = 0
    for name, others in (against or {}).items():
        found = overlap(texts, others)
        short += len(found.short)
        problems += [(row, f"(nearly) a text of {name}: {texts[row][:70]!r}") for row in found.train_hits]
    shown = (
        f"{len(problems)} texts, and {short} evaluation texts under {SHORT} words, against {', '.join(against or {})}"
    )
    allowed = (
        f"no text that shares >= {NEAR:.0%} and >= {MIN_SHARED} word triples with an evaluation text, or equals it"
    )
    return gather("evaluation overlap", allowed, shown if against else "no evaluation set given", problems)


def is_verbatim(label: str, text: str) -> bool:
    """Whether a label occurs in a text as whole words, ignoring case."""
    label, text = label.lower(), text.lower()
    # The plain search decides nearly every pair without compiling a pattern.
    return label in text and re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text) is not None


def check_verbatim(rows: Sequence[dict[str, Any]], limit: float) -> Finding:
    """Rule: no label occurs verbatim in more than a fraction `limit` of the texts for which it is true."""
    positive: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        for label in row["labels"]:
            positive.setdefault(label, []).append(i)
    problems, named = [], 0
    for label, indices in positive.items():
        hits = [i for i in indices if is_verbatim(label, rows[i]["text"])]
        named += len(hits)
        if len(hits) > limit * len(indices):
            problems += [(i, f"names its label {label!r} ({len(hits)} of {len(indices)} texts do)") for i in hits]
    total = sum(map(len, positive.values()))
    allowed = f"each label in at most {limit:.0%} of its positive texts"
    return gather("verbatim labels", allowed, f"{named} of {total} positive (text, label) pairs", problems)


def print_reports(reports: Sequence[Report], write: Callable[[str], None] = print) -> int:
    """Print each table; return 0 if every report is ok, else 1."""
    for report in reports:
        write(report.table())
    return int(any(not report.ok for report in reports))
