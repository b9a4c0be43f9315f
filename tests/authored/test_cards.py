"""The committed cards match the cards rendered from the data."""

import pytest

from authored.cards import RESULTS_END, RESULTS_START, agreement, card_path, render, results_block
from zsbench.data.authored_sets import HARDSET, HARDSET_MORE, TOPICS, read_authored


@pytest.mark.parametrize("name", [HARDSET, HARDSET_MORE, TOPICS])
def test_the_committed_card_equals_its_rendering(name):
    assert card_path(name).read_text(encoding="utf-8") == render(name), "run `python -m authored.cards`"


@pytest.mark.parametrize("name", [HARDSET, HARDSET_MORE, TOPICS])
def test_a_card_says_how_it_was_written(name):
    card = card_path(name).read_text(encoding="utf-8")
    for phrase in ("written by language models", "No person has reviewed them", "CC BY 4.0", "Known limits"):
        assert phrase in card
    assert card.count(RESULTS_START) == card.count(RESULTS_END) == (name != HARDSET_MORE)
    assert "FAILS" not in card


def test_measured_results_become_a_table():
    row = {"where": "hardset-mini test", "metric": "mean average precision", "trained": 0.61, "untrained": 0.5}
    row |= {"difference": 0.11, "low": 0.08, "high": 0.14, "texts": 320, "seeds": 3}
    block = results_block({"run": "embedded", "command": "make embedded", "level": 0.95, "note": "", "rows": [row]})
    assert (
        "| hardset-mini test | mean average precision | 0.610 | 0.500 | +0.110 | +0.080 to +0.140 | 320 | 3 |" in block
    )
    assert "Not measured" in results_block(None)


def test_agreement_counts_what_the_second_reader_missed_and_added():
    rows = [{"labels": ["a", "b"], "not_labels": ["c", "d"]}, {"labels": ["e"], "not_labels": ["f", "g", "h"]}]
    read = agreement(rows, [{"row": 1, "labels": ["e"]}, {"row": 0, "labels": ["a", "c"]}])
    assert (read["texts"], read["pairs"]) == (2, 8)
    assert read["missed"] == pytest.approx(1 / 3) and read["added"] == pytest.approx(1 / 5)
    assert read["same"] == pytest.approx(6 / 8)
    expected = (3 * 3 + 5 * 5) / 64  # both say true in 3 of 8 pairs
    assert read["kappa"] == pytest.approx((6 / 8 - expected) / (1 - expected))


def test_the_second_reading_is_of_distinct_rows_and_of_their_labels():
    rows, rereading = read_authored(HARDSET_MORE), read_authored(f"{HARDSET_MORE}.reread")
    assert len({entry["row"] for entry in rereading}) == len(rereading) >= 200
    for entry in rereading:
        row = rows[entry["row"]]
        assert set(entry["labels"]) <= {*row["labels"], *row["not_labels"]}
