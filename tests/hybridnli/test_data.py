"""The published split and label set."""

import random

import numpy as np
import pytest

from hybridnli.data import TOPICS, LabelSet, published_split


def test_split_is_the_stated_algorithm():
    indices = list(range(1000))
    state = random.getstate()
    random.seed(42)
    random.shuffle(indices)
    random.setstate(state)
    train, validation = published_split(1000)
    assert train.tolist() == indices[:800] and validation.tolist() == indices[800:]
    assert train[:8].tolist() == [776, 507, 895, 922, 33, 483, 85, 750]  # what Python 3.11 gives
    assert validation[:4].tolist() == [930, 736, 739, 3]


def test_split_leaves_the_global_generator_alone():
    random.seed(7)
    expected = random.random()
    random.seed(7)
    published_split(50)
    assert random.random() == expected


@pytest.mark.parametrize("n", [2, 5, 17])
def test_split_is_a_partition(n):
    train, validation = published_split(n, seed=1)
    assert len(train) == int(n * 0.8)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(n))


def test_split_with_an_empty_part():
    with pytest.raises(ValueError, match="n=1 "):
        published_split(1)


def test_topics_preset():
    assert TOPICS.names == ("Technology", "Health", "Finance", "Economy", "Environment")
    assert TOPICS.specialists == ("Economy", "Technology", "Finance", "Environment")
    assert TOPICS.specialist_columns == [3, 0, 2, 4]
    assert all(text.startswith("This text is about ") for text in TOPICS.descriptions.values())


@pytest.mark.parametrize(
    ("descriptions", "specialists", "message"),
    [
        ({}, (), "at least one"),
        ({"a": "x"}, (), "at least one"),
        ({"a": " "}, ("a",), r"descriptions: those of \['a'\]"),
        ({"a": "x"}, ("b",), r"\['b'\] are not labels; allowed: \['a'\]"),
        ({"a": "x"}, ("a", "a"), "twice"),
    ],
)
def test_label_set_rejects(descriptions, specialists, message):
    with pytest.raises(ValueError, match=message):
        LabelSet(descriptions, specialists)
