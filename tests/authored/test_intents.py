"""The smart-home commands match their card, and the pinned packages generate the same file."""

import json
from collections import Counter

import pytest

from authored import make_intents
from zsbench.config.load import load_yaml
from zsbench.store.layout import WORKFLOW

ROWS = [json.loads(line) for line in make_intents.FILE.read_text(encoding="utf-8").splitlines()]


def test_every_intent_of_the_preset_occurs_and_no_other():
    preset = load_yaml(WORKFLOW / "resources" / "datasets.yaml")["datasets"]["smart-home-intents"]
    counts = Counter(row["intent"] for row in ROWS)
    assert set(counts) == set(preset["gold"]["values"]) and len(counts) == 42
    assert max(counts.values()) == make_intents.PER_INTENT and sum(counts.values()) == preset["expected_rows"]["test"]
    assert sorted(counts.values())[:5] == [2, 11, 14, 16, 20]  # the card's
    words = preset["verbalisations"]
    assert all(len(set(labels)) == 42 for labels in words.values())


def test_a_command_has_one_intent_and_nothing_of_a_template():
    texts = [row["text"].lower() for row in ROWS]
    assert len(set(texts)) == len(texts)
    assert not [text for text in texts if set(text) & set("[]{}<>|()") or text != " ".join(text.split())]


def test_the_pinned_packages_give_the_same_file():
    pytest.importorskip("hassil")
    pytest.importorskip("home_assistant_intents")
    assert make_intents.rows() == ROWS
