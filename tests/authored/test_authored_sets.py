"""The authored sets load in the schema of the published sets."""

import pytest
from datasets import List, Value

from zsbench.data.authored_sets import HARDSET, TOPICS, load_hardset_mini, load_topics_mini, read_authored
from zsbench.data.errors import DataError

STRINGS = List(Value("string"))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_hardset_has_the_published_schema(split):
    loaded = load_hardset_mini(split)
    assert dict(loaded.features) == {"text": Value("string"), "labels": STRINGS, "not_labels": STRINGS}
    expected = [row for row in read_authored(HARDSET) if row["split"] == split]
    assert loaded.num_rows == len(expected)
    assert loaded[0] == {name: expected[0][name] for name in loaded.column_names}


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_topics_has_the_published_schema(split):
    loaded = load_topics_mini(split)
    assert dict(loaded.features) == {"text": Value("string"), "labels": STRINGS}
    expected = [row["labels"] for row in read_authored(TOPICS) if row["split"] == split]
    assert loaded["labels"][:] == expected
    assert [] in expected


def test_unknown_names_are_refused():
    with pytest.raises(DataError, match="no split 'dev'; allowed: test, train, validation"):
        load_hardset_mini("dev")
    with pytest.raises(DataError, match="'hardset'; allowed: .*hardset-mini, .*topics-mini"):
        read_authored("hardset")
