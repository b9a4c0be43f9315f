"""The authored sets have the columns of the published sets."""

import pytest

from zsbench.data.authored_sets import HARDSET, TOPICS, read_authored
from zsbench.data.errors import DataError


@pytest.mark.parametrize(
    ("name", "columns"), [(HARDSET, {"text", "labels", "not_labels"}), (TOPICS, {"text", "labels"})]
)
def test_rows_have_the_published_columns_and_three_splits(name, columns):
    rows = read_authored(name)
    assert all(columns <= row.keys() for row in rows)
    assert {row["split"] for row in rows} == {"train", "validation", "test"}


def test_an_unknown_name_is_refused():
    with pytest.raises(DataError, match="'hardset'; allowed: .*hardset-mini, .*topics-mini"):
        read_authored("hardset")
