"""topics-mini passes its validator, each rule fails on a copy that violates it, and checking both sets reports it."""

import copy

import numpy as np
import pytest

from authored import check_topics as module
from authored.check_topics import LABELS, check_topics, run_checks
from authored.findings import auroc, check_duplicates, gather
from zsbench.data.authored_sets import TOPICS, read_authored


@pytest.fixture
def rows():
    return copy.deepcopy(read_authored(TOPICS))


def failed(rows, against=None):
    return {finding.rule: finding for finding in check_topics(rows, against).failed}


def test_the_set_passes_every_rule(rows):
    report = check_topics(rows)
    assert report.ok, report.table()
    assert len(rows) >= 800


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("labels", ["Health", "Technology"], "in that order"),
        ("labels", ["Sport"], "at most three of"),
        ("labels", "Health", "fields must be"),
        ("kind", "odd", "kind 'odd'"),
        ("split", "dev", "split 'dev'"),
        ("text", "too short", "2 words"),
    ],
)
def test_schema(rows, field, value, message):
    rows[4][field] = value
    finding = failed(rows)["schema"]
    assert finding.rows == (4,)
    assert message in finding.failures[0]


def test_too_few_rows(rows):
    assert "rows, at least 800" in failed(rows[:700])["schema"].failures[0]


def test_a_hard_pair_is_about_money(rows):
    row = next(row for row in rows if row["kind"] == "plain" and row["labels"] == ["Health"])
    row["kind"] = "hard-pair"
    assert "hard pair" in failed(rows)["schema"].failures[0]


def test_a_near_duplicate(rows):
    rows[10]["text"] = rows[2]["text"].lower().replace(".", " indeed.")
    assert failed(rows)["duplicates"].rows == (10,)


def test_labels_named_in_their_texts(rows):
    for row in rows:
        if "Finance" in row["labels"]:
            row["text"] += " Finance!"
    assert "names its label 'Finance'" in failed(rows)["verbatim labels"].failures[0]


def test_the_table(rows):
    for row in rows:
        row["labels"] = row["labels"][:1]
    found = failed(rows)
    assert {"rows by count", "rows by label", "combinations"} <= set(found)


def test_kinds(rows):
    for row in rows:
        row["kind"] = "plain"
    assert len(failed(rows)["kinds"].failures) == 2


def test_splits(rows):
    for row in rows:
        row["split"] = "train" if LABELS[0] in row["labels"] else row["split"]
    assert {"split shares", "split balance"} <= set(failed(rows))


def test_length_must_not_tell_the_labels(rows):
    for row in rows:
        if not row["labels"]:
            row["text"] = " ".join(row["text"].split()[:18])
    failures = failed(rows)["text length"].failures
    assert any(line.startswith("no topic: ") for line in failures)
    assert any(line.startswith("Environment in test: ") for line in failures)


def test_no_surface_count_tells_the_rows_without_a_topic(rows):
    for row in rows:
        row["text"] += ", as he said, twice, on Mondays" if row["labels"] else ""
    failures = {line.split(":")[0] for line in failed(rows)["surface cues"].failures}
    assert {"characters", "commas"} <= failures and not failures & {"digits", "row number"}


def test_rows_in_the_order_of_their_labels(rows):
    rows.sort(key=lambda row: len(row["labels"]))
    assert "row number: 0.000" in failed(rows)["surface cues"].failures


def test_auroc_of_ties_is_a_half():
    truth = np.array([True, False, True, False])
    assert auroc(truth, np.zeros(4)) == 0.5
    assert auroc(truth, np.array([3, 1, 2, 1])) == 1.0


def test_overlap_with_an_evaluation_set(rows):
    assert failed(rows, {"news": [rows[7]["text"]]})["evaluation overlap"].rows == (7,)


def test_the_run_prints_both_sets_and_the_ceiling(capsys, monkeypatch):
    monkeypatch.setattr(module, "check_ceiling", lambda hardset: gather("words alone", "low", "low", []))
    assert run_checks({"news": ["Nothing that any of the texts would say in so many words, one hopes."]}) == 0
    printed = capsys.readouterr().out
    assert "hardset-mini: passes" in printed
    assert "words alone" in printed
    assert "topics-mini: passes" in printed


def test_the_run_fails_on_a_defect(capsys, monkeypatch, rows):
    rows[0]["text"] = rows[1]["text"]
    monkeypatch.setattr(module, "check_ceiling", lambda hardset: check_duplicates([row["text"] for row in rows]))
    assert run_checks({}) == 1
    printed = capsys.readouterr().out
    assert "FAIL  duplicates" in printed
    assert "near-duplicate of row 0" in printed


def test_an_unknown_rule_is_named(rows):
    with pytest.raises(KeyError, match="no rule 'spelling'; there are: schema"):
        check_topics(rows).finding("spelling")
