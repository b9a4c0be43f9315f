"""Gold columns of every type and spelling are read as intended, or the error names the row."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bad_files import LISTS, lines, prepare

from zsbench.data.errors import DataError

QUIET = settings(max_examples=40)


def spec(values: list, **more: Any) -> dict[str, Any]:
    labels = [f"label {i}" for i in range(len(values))]
    return {"gold": {"column": "g", "values": values}, "labels": labels, "label_names": labels} | more


def json_lines(rows: list) -> str:
    return lines(*(json.dumps({"text": f"t{i}", "g": row}) for i, row in enumerate(rows)))


def table(rows: list) -> str:
    return "text,g\n" + lines(*(f"t{i},{'' if row is None else row}" for i, row in enumerate(rows)))


def typed(dtype: Any) -> Any:
    return lambda rows: pd.DataFrame({"text": [f"t{i}" for i in range(len(rows))], "g": pd.array(rows, dtype=dtype)})


# Ways to store a column of 0, 1, 2 and gaps.
NUMBERS = {
    "csv": ("table", table),
    "csv that pandas wrote of numbers with gaps": (
        "table",
        lambda rows: table([None if row is None else float(row) for row in rows]),
    ),
    "jsonl": ("jsonl", json_lines),
    "jsonl of fractions": ("jsonl", lambda rows: json_lines([None if row is None else float(row) for row in rows])),
    "jsonl of texts": ("jsonl", lambda rows: json_lines([None if row is None else str(row) for row in rows])),
    "Int64": ("parquet", typed("Int64")),
    "float": ("parquet", typed("float64")),
    "category": ("parquet", lambda rows: typed("Int64")(rows).astype({"g": "category"})),
    "category of texts": (
        "parquet",
        lambda rows: typed("object")([None if row is None else str(row) for row in rows]).astype({"g": "category"}),
    ),
}


@pytest.mark.parametrize("stored", NUMBERS)
@given(rows=st.lists(st.sampled_from([0, 1, 2, None]), min_size=1, max_size=6).filter(any))
@QUIET
def test_numbers_come_out_however_they_are_stored(tmp_path: Path, stored: str, rows: list) -> None:
    kind, write = NUMBERS[stored]
    found = prepare(tmp_path, kind, write(rows), **spec([0, 1, 2], expected_rows={"test": len(rows)}))
    assert found[1] == [[row] for row in rows if row is not None]


@pytest.mark.parametrize("words", [("False", "True"), ("false", "true"), ("FALSE", "TRUE")])
def test_truth_is_written_in_three_ways(tmp_path: Path, words: tuple[str, str]) -> None:
    assert prepare(tmp_path, "table", table(list(words)), **spec([False, True]))[1] == [[0], [1]]


@pytest.mark.parametrize("values", [[False, True], [0, 1]])
def test_a_column_of_truths_is_one_of_zeros_and_ones(tmp_path: Path, values: list) -> None:
    for column in ([False, True], pd.array([False, True], dtype="boolean")):
        frame = pd.DataFrame({"text": ["a", "b"], "g": column})
        assert prepare(tmp_path, "parquet", frame, **spec(values))[1] == [[0], [1]]
    assert prepare(tmp_path, "jsonl", json_lines([False, True]), **spec(values))[1] == [[0], [1]]


@pytest.mark.parametrize(
    ("kind", "rows", "values", "message"),
    [
        ("table", [0, "01"], [0, 1], "a.dat: column 'g', row 2: gold value '01' is not known; allowed: 0, 1$"),
        ("table", [0, " 1"], [0, 1], "row 2: gold value ' 1' is not known"),
        ("table", ["no", "yes"], [False, True], "row 1: gold value 'no' is not known; allowed: false, true$"),
        ("table", [0, 1], [False, True], "row 1: gold value '0' is not known"),
        ("jsonl", [0, 0.5], [0, 1], "row 2: gold value 0.5 is not known"),
        ("jsonl", ["0", 1], ["0", "1"], "row 2: gold value 1 is not known; allowed: \"0\", \"1\"$"),
        ("jsonl", [0, {"a": 1}], [0, 1], "row 2: gold value {'a': 1} is not known"),
    ],
)  # fmt: skip
def test_another_spelling_is_refused_by_file_column_and_row(
    tmp_path: Path, kind: str, rows: list, values: list, message: str
) -> None:
    content = table(rows) if kind == "table" else json_lines(rows)
    with pytest.raises(DataError, match=message):
        prepare(tmp_path, kind, content, **spec(values))


def test_a_row_is_counted_in_its_file_not_in_its_split(tmp_path: Path) -> None:
    content = "text,g,s\na,0,train\nb,1,train\nc,0,test\nd,7,test\n"
    with pytest.raises(DataError, match="row 4: gold value '7'"):
        prepare(tmp_path, "table", content, split_column="s")


def hot(sets: list[set[int]], n: int) -> list[list[int]]:
    return [[int(i in row) for i in range(n)] for row in sets]


@st.composite
def label_sets(draw: st.DrawFn) -> tuple[int, list[set[int]]]:
    n = draw(st.integers(2, 4))
    return n, draw(st.lists(st.sets(st.integers(0, n - 1)), min_size=1, max_size=4))


@given(case=label_sets(), kind=st.sampled_from(["jsonl", "parquet"]), of=st.sampled_from([int, float, bool]))
@QUIET
def test_rows_of_zeros_and_ones_are_read_when_named_and_refused_else(
    tmp_path: Path, case: tuple[int, list[set[int]]], kind: str, of: type
) -> None:
    n, sets = case
    rows = [[of(mark) for mark in row] for row in hot(sets, n)]
    content = json_lines(rows) if kind == "jsonl" else pd.DataFrame({"text": map(str, range(len(rows))), "g": rows})
    more = spec(list(range(n)), **LISTS, expected_rows={"test": len(rows)})
    with pytest.raises(DataError, match="row 1: .*`encoding: multi-hot`"):
        prepare(tmp_path, kind, content, **more)
    more["gold"] = {"column": "g", "encoding": "multi-hot"}
    assert prepare(tmp_path, kind, content, **more)[1] == [sorted(row) for row in sets]


@given(case=label_sets(), of=st.sampled_from([int, str]))
@QUIET
def test_lists_of_label_values_are_read_or_refused(tmp_path: Path, case: tuple[int, list[set[int]]], of: type) -> None:
    """Only ambiguous lists are refused: with two labels, [0, 1] may mean both labels or the second one."""
    n, sets = case
    more = spec([of(i) for i in range(n)], **LISTS, expected_rows={"test": len(sets)})
    content = json_lines([[of(i) for i in sorted(row)] for row in sets])
    if of is int and n == 2 and {0, 1} in sets:
        with pytest.raises(DataError, match="`encoding: multi-hot`"):
            prepare(tmp_path, "jsonl", content, **more)
    else:
        assert prepare(tmp_path, "jsonl", content, **more)[1] == [sorted(row) for row in sets]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0, 1], r"row 2: \[0, 1\] is not multi-hot; .* 3 zeros and ones, one per label"),
        ([0, 1, 2], "row 2: .* is not multi-hot"),
        ([0, 1, None], "row 2: .* is not multi-hot"),
        ("010", "row 2: '010' is not multi-hot"),
        (None, "row 2: no gold value"),
    ],
)
def test_multi_hot_rows_have_one_mark_per_label(tmp_path: Path, row: Any, message: str) -> None:
    more = spec([0, 1, 2], **LISTS) | {"gold": {"column": "g", "encoding": "multi-hot"}}
    with pytest.raises(DataError, match=message):
        prepare(tmp_path, "jsonl", json_lines([[0, 1, 0], row]), **more)


def test_zeros_and_ones_of_another_length_are_no_label_values(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1: \[0, 1, 0\] .* `encoding: multi-hot`"):
        prepare(tmp_path, "jsonl", json_lines([[0, 1, 0], [1]]), **spec([0, 1, 2, 3], **LISTS))


def test_a_truth_is_no_rating(tmp_path: Path) -> None:
    bins = {"column": "g", "bins": [[-4, 0], [1, 4]]}
    with pytest.raises(DataError, match="row 2: gold value True is not a finite number"):
        prepare(tmp_path, "jsonl", json_lines([2, True]), gold=bins)


def test_a_gap_in_a_column_of_ratings_is_a_row_without_gold(tmp_path: Path) -> None:
    bins = {"column": "g", "bins": [[-4, 0], [1, 4]]}
    frame = pd.DataFrame({"text": ["a", "b"], "g": pd.array([2, None], dtype="Int64")})
    assert prepare(tmp_path, "parquet", frame, gold=bins) == (["a"], [[1]])
