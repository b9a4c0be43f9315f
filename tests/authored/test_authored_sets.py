"""The authored sets have the columns of the published sets."""

import pytest

from zsbench.data.authored_sets import HARDSET, TOPICS, read_authored


@pytest.mark.parametrize(
    ("name", "columns"), [(HARDSET, {"text", "labels", "not_labels"}), (TOPICS, {"text", "labels"})]
)
def test_rows_have_the_published_columns_and_three_splits(name, columns):
    rows = read_authored(name)
    assert all(columns <= row.keys() for row in rows)
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
