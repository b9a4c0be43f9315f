"""hardset-mini passes its validator, and each rule fails on a copy that violates it."""

import copy

import pytest

from authored.check_hardset import check_hardset, length_class, unseen_shares
from authored.findings import NEAR_DUPLICATE, check_duplicates, words
from authored.word_ceiling import AUC_CEILING, check_ceiling, measure_words
from zsbench.data.authored_sets import HARDSET, HARDSET_MORE, read_authored


@pytest.fixture(scope="module")
def original():
    return read_authored(HARDSET)


@pytest.fixture
def rows(original):
    return copy.deepcopy(original)


def failed(rows, against=None):
    return {finding.rule: finding for finding in check_hardset(rows, against).failed}


def members(rows, bundle):
    return [row for row in rows if row["bundle"] == bundle]


def test_the_set_passes_every_rule(original):
    report = check_hardset(original)
    assert report.ok, report.table()
    assert len(original) >= 1500
    assert {finding.rule for finding in report.findings} == {
        "schema", "bundles", "cross-role", "disjoint", "duplicates", "verbatim labels", "breadth", "kinds", "wordings",
        "lengths", "split shares", "unseen test labels", "label surface", "evaluation overlap",
    }  # fmt: skip


def test_the_extension_passes_every_rule_that_applies(original):
    more = read_authored(HARDSET_MORE)
    report = check_hardset(more, extends=original)
    assert report.ok, report.table()
    assert {row["split"] for row in more} == {"train"} and len(more) >= 1000
    assert {finding.rule for finding in report.findings} == {
        "schema", "bundles", "cross-role", "disjoint", "duplicates", "verbatim labels", "kinds", "wordings", "lengths",
        "split shares", "label surface", "evaluation overlap",
    }  # fmt: skip


def test_an_extension_may_not_repeat_the_set_nor_touch_its_held_out_rows(original):
    more = copy.deepcopy(read_authored(HARDSET_MORE))
    more[3]["text"] = next(row["text"] for row in original if row["split"] == "test")
    more[7]["split"] = "validation"
    broken = {finding.rule for finding in check_hardset(more, extends=original).failed}
    assert {"duplicates", "split shares"} <= broken


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("text", 7, "fields must be"),
        ("text", " padded", "blank ends"),
        ("split", "dev", "split 'dev'"),
        ("length", "paragraphs", "length 'paragraphs'"),
        ("kind", ["topic"], "kind must hold"),
        ("labels", ["snake_case"] * 3, "snake case"),
        ("not_labels", [], "0 false labels"),
    ],
)
def test_schema(rows, field, value, message):
    rows[3][field] = value
    finding = failed(rows)["schema"]
    assert finding.rows == (3,)
    assert any(message in line for line in finding.failures)


def test_the_look_of_a_label_must_not_tell_its_truth(rows):
    for row in rows:
        row["not_labels"] = [f"{label} and so on" for label in row["not_labels"]]
    failures = failed(rows)["label surface"].failures
    assert len([line for line in failures if line.startswith(("characters", "words"))]) == 6
    for row in rows:
        row["not_labels"] = ["z" + label[:-10] for label in row["not_labels"]]
    assert any(line.startswith("alphabetical rank") for line in failed(rows)["label surface"].failures)


def test_an_unknown_field_breaks_the_schema(rows):
    rows[0]["author"] = "x"
    assert "author" in failed(rows)["schema"].failures[0]


def test_a_bundle_of_four_texts(rows):
    del rows[2]
    assert failed(rows)["bundles"].rows == (0,)


def test_a_bundle_across_splits(rows):
    rows[0]["split"] = {"train": "test"}.get(rows[0]["split"], "train")
    assert "differ in 'split'" in failed(rows)["bundles"].failures[0]


def test_a_label_that_is_never_false(rows):
    group = members(rows, rows[0]["bundle"])
    label = group[0]["labels"][0]
    for row in group:
        if label in row["not_labels"]:
            i = len(row["labels"]) + row["not_labels"].index(label)
            row["kind"].insert(len(row["labels"]), row["kind"].pop(i))
            row["not_labels"].remove(label)
            row["labels"].append(label)
    assert f"{label!r} is never false" in failed(rows)["cross-role"].failures[0]


def test_a_label_that_is_never_true(rows):
    rows[0]["not_labels"][0] = "a label of no other text"
    assert "never true" in failed(rows)["cross-role"].failures[0]


def test_a_label_both_true_and_false(rows):
    rows[9]["not_labels"][0] = rows[9]["labels"][0].upper()
    assert failed(rows)["disjoint"].rows == (9,)


def test_a_near_duplicate(rows):
    tokens = rows[0]["text"].split()
    tokens[3] = "altered"
    rows[800]["text"] = " ".join(tokens)
    rows[800]["length"] = length_class(rows[800]["text"])
    assert failed(rows)["duplicates"].rows == (800,)


def test_a_label_that_names_itself(rows):
    row = rows[5]
    label = next(label for label in row["labels"] if sum(label in other["labels"] for other in rows) < 5)
    row["text"] += f" {label.upper()}"
    row["length"] = length_class(row["text"])
    assert failed(rows)["verbatim labels"].rows == (5,)


def test_too_few_bundles_registers_domains_and_labels(rows):
    lines = failed(rows[:100])["breadth"].failures
    assert [line.split(",")[0].split(" ", 1)[1] for line in lines] == [
        "bundles", "registers", "domains", "distinct labels",
    ]  # fmt: skip


def test_proportions(rows):
    for row in rows:
        row["kind"] = ["topic"] * len(row["kind"])
        row["length"] = "short"
    found = failed(rows)
    assert {"kinds", "lengths"} <= set(found)
    for row in rows[:400]:
        row["split"] = "test"
    assert "split shares" in failed(rows)


def test_wordings(rows):
    for row in rows:
        for side in ("labels", "not_labels"):
            row[side] = [f"{label} or something of that very sort" for label in row[side]]
    assert "wordings" in failed(rows)


def test_test_labels_seen_in_training(rows):
    for row in rows:
        row["split"] = "test" if row["split"] == "test" else "train"
    assert unseen_shares(rows)[0] > 40
    seen = {label for row in rows if row["split"] == "test" for label in row["labels"] + row["not_labels"]}
    train = next(row for row in rows if row["split"] == "train")
    train["not_labels"] = sorted(seen - set(train["labels"]))
    train["kind"] = ["topic"] * len(train["labels"] + train["not_labels"])
    assert "unseen test labels" in failed(rows)


def test_overlap_with_an_evaluation_set(rows):
    long = next(i for i, row in enumerate(rows) if len(words(row["text"])) > 30)
    copied = "An unrelated opening, then: " + rows[long]["text"].upper() + " And an unrelated end." * 20
    finding = failed(rows, {"reviews": ["nothing of it", copied]})["evaluation overlap"]
    assert finding.rows == (long,)
    assert "a text of reviews" in finding.failures[0]
    assert "evaluation overlap" not in failed(rows, {"reviews": ["the back of the box, and at the end of the day"]})


def test_a_short_evaluation_text_is_no_overlap(rows):
    rows[0]["text"] = "Meh."
    finding = check_hardset(rows, {"reviews": ["meh", "MEH!"]}).finding("evaluation overlap")
    assert not finding.failures and "2 evaluation texts under 5 words" in finding.measured


def test_jaccard_agrees_with_a_plain_count():
    texts = ["one two three four five six", "one two three four five seven", "wholly other words stand here now"]

    def triples(text):
        tokens = text.split()
        return {tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)}

    first, second = triples(texts[0]), triples(texts[1])
    expected = len(first & second) / len(first | second)
    assert expected >= NEAR_DUPLICATE
    assert check_duplicates(texts).measured == f"largest {expected:.2f}"


def test_words_alone_stay_under_the_ceiling(original):
    scores = measure_words(original)
    assert abs(scores["chance"].auc - 0.5) < 0.03
    assert max(value.auc for value in scores.values()) <= AUC_CEILING
    assert scores["all"].mean_ap < scores["chance"].mean_ap + 0.10


def test_the_ceiling_finds_a_giveaway(rows):
    part = rows[::4]
    for row in part:
        row["text"] += " " + " ".join(row["labels"])
    assert check_ceiling(part).failures
