"""The committed cards match the cards rendered from the data."""

import pytest

from authored.cards import RESULTS_END, RESULTS_START, card_path, render, results_block
from zsbench.data.authored_sets import HARDSET, TOPICS


@pytest.mark.parametrize("name", [HARDSET, TOPICS])
def test_the_committed_card_equals_its_rendering(name):
    assert card_path(name).read_text(encoding="utf-8") == render(name), "run `python -m authored.cards`"


@pytest.mark.parametrize("name", [HARDSET, TOPICS])
def test_a_card_says_how_it_was_written(name):
    card = card_path(name).read_text(encoding="utf-8")
    for phrase in ("written by language models", "No person has reviewed them", "CC BY 4.0", "Known limits"):
        assert phrase in card
    assert card.count(RESULTS_START) == card.count(RESULTS_END) == 1
    assert "FAILS" not in card


def test_measured_results_become_a_table():
    row = {"where": "hardset-mini test", "metric": "mean average precision", "trained": 0.61, "untrained": 0.5}
    row |= {"difference": 0.11, "low": 0.08, "high": 0.14, "texts": 320, "seeds": 3}
    block = results_block({"run": "embedded", "command": "make embedded", "level": 0.95, "note": "", "rows": [row]})
    assert (
        "| hardset-mini test | mean average precision | 0.610 | 0.500 | +0.110 | +0.080 to +0.140 | 320 | 3 |" in block
    )
    assert "Not measured" in results_block(None)
