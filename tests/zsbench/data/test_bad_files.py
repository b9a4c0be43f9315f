"""Data files with one fault give an error that names it; odd but valid files give all their rows unchanged."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from zsbench.data.errors import DataError
from zsbench.data.prepare import prepare_dataset
from zsbench.data.training_sets import prepare_training_set
from zsbench.store.provenance import file_sha256, read_json, write_json

NUMBERS = {"column": "g", "values": [0, 1]}
BINS = {"column": "g", "bins": [[-4, -1], [1, 4]]}
LISTS = {"task": "multi", "suite": "topics"}


def keep(folder: Path, content: str | bytes | pd.DataFrame) -> Path:
    """Store a file as if it had been fetched; returns the manifest."""
    path = folder / "files" / "a.dat"
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    listing = [{"name": "a.dat", "sha256": file_sha256(path)}]
    write_json(folder / "manifest.json", {"origin": "t", "revision": "0", "verified": "no", "files": listing})
    return folder / "manifest.json"


def prepare(folder: Path, kind: str, content: str | bytes | pd.DataFrame, **more: Any) -> tuple[list[str], list[list]]:
    spec = {"id": "mine", "title": "t", "suite": "gliclass", "files": {"test": "a.dat"}, "format": {"type": kind}}
    spec |= {"text": "text", "gold": {"column": "g", "values": ["0", "1"]}, "labels": ["bad", "good"]}
    spec |= {"label_names": ["bad", "good"], "verbalisation": "plain", "task": "single", "domain": "d", "rows": None}
    spec |= {"expected_rows": {"test": 2}, "licence": "l", "citation": "c", "sample_seed": 0} | more
    prepare_dataset(spec, keep(folder, content), folder / "rows.parquet", folder / "card.json")
    rows = pd.read_parquet(folder / "rows.parquet").sort_values("text")  # prepared rows have a different order
    return rows["text"].tolist(), [list(gold) for gold in rows["gold"]]


def lines(*rows: str) -> str:
    return "".join(f"{row}\n" for row in rows)


REFUSED = {
    "nothing in it": ("table", "", {}, "a.dat is not a readable table file"),
    "a header alone": ("table", "text,g\n", {"expected_rows": {}}, "a.dat has no rows"),
    "Latin-1": ("table", "text,g\né,0\nb,1\n".encode("latin1"), {}, r"line 2 is not UTF-8 \(byte 0xe9\); save"),
    "UTF-16": ("table", "text,g\na,0\nb,1\n".encode("utf-16"), {}, r"line 1 is not UTF-8 \(byte 0xff\); save"),
    "gold not among the labels": ("table", "text,g\na,0\nb,7\n", {}, "row 2: gold value '7' is not known; .*\"1\"$"),
    "a space in a gold value": ("table", "text,g\na, 0\nb,1\n", {}, "gold value ' 0' is not known"),
    "one row too long": ("table", "text,g\na,0\nb,1,9\n", {}, "Expected 2 fields in line 3, saw 3"),
    "every row too long": ("table", "text,g\na,0,1\nb,1,0\n", {}, "more values than columns; quote texts"),
    "a column twice": ("table", "text,text,g\na,b,0\nb,c,1\n", {}, "the column 'text' is there twice"),
    "an open quote": ("table", 'text,g\n"a,0\nb,1\n', {}, "EOF inside string"),
    "a return inside a text": ("table", "text,g\na\rb,0\nb,1\n", {}, r"the files have \{'test': 3\}"),
    "no gold at all": ("table", "text,g\na,\nb,\n", {}, "no rows left to score"),
    "a column of splits without this one": (
        "table",
        "text,g,s\na,0,Test\nb,1,train\n",
        {"split_column": "s"},
        "a.dat: no row has 'test' in column 's'; it has: Test, train",
    ),
    "no gold in one split": (
        "table",
        "text,g,s\na,0,train\nb,,test\n",
        {"split_column": "s", "files": {"train": "a.dat", "test": "a.dat"}, "expected_rows": {"train": 1, "test": 1}},
        "mine: no rows left to score in split 'test'",
    ),
    "no such column": ("table", "texts,g\na,0\nb,1\n", {}, "no column 'text'; it has: texts, g"),
    "no split column": ("table", "text,g\na,0\nb,1\n", {"split_column": "s"}, "no column 's'"),
    "a rating that is a word": ("table", "text,g\na,x\nb,2\n", {"gold": BINS}, "gold value 'x' is not a finite number"),
    "an infinite rating": ("table", "text,g\na,inf\nb,2\n", {"gold": BINS}, "gold value 'inf' is not a finite number"),
    "text is null": ("jsonl", lines('{"text":null,"g":0}', '{"text":"b","g":1}'), {}, "row 1: None is not text"),
    "text is a number": ("jsonl", lines('{"text":5,"g":0}', '{"text":"b","g":1}'), {}, "row 1: 5 is not text"),
    "text is missing": ("jsonl", lines('{"g":0}', '{"text":"b","g":1}'), {}, "row 1: nan is not text"),
    "text is NaN": ("jsonl", lines('{"text":NaN,"g":0}', '{"text":"b","g":1}'), {}, "row 1: nan is not text"),
    "half of a pair": (
        "jsonl",
        lines(r'{"text":"x\ud800y","g":0}', '{"text":"b","g":1}'),
        {"gold": NUMBERS},
        "row 1: unpaired surrogate",
    ),
    "a comma too few in a later line": (
        "jsonl",
        '{"text":"a","g":0}\n\n{"text":"b" "g":1}\n',
        {},
        "line 3: Expecting ',' delimiter at column 13",
    ),
    "half a line": ("jsonl", '{"text":"a","g":0}\n{"text":"b","g"', {}, "not a readable jsonl file"),
    "a key twice": ("jsonl", lines('{"text":"a","text":"z","g":0}'), {}, "line 1: a key is twice in one row"),
    "rows that are lists": ("jsonl", lines("[1,2]", "[3,4]"), {}, "rows must be JSON objects"),
    "deep nesting": ("jsonl", '{"text":"a","g":' + "[" * 50_000 + "]" * 50_000 + "}", {}, "recursion depth"),
    "columns, not rows": ("json", '{"text":["a","b"],"g":[0,1]}', {}, "JSON objects in one list"),
    "a huge gold": ("jsonl", lines('{"text":"a","g":' + "9" * 30 + "}"), {"gold": NUMBERS}, "gold value 99999999999"),
    "gold is a mapping": ("jsonl", lines('{"text":"a","g":{"x":1}}'), {}, "gold value {'x': 1} is not known"),
    "two golds where one is": ("jsonl", lines('{"text":"a","g":["0","1"]}', '{"text":"b","g":"1"}'), {}, "1: several"),
    "null for no labels": ("jsonl", lines('{"text":"a","g":null}'), LISTS, "row 1: no gold value"),
    "null among labels": ("jsonl", lines('{"text":"a","g":["0",null]}'), LISTS, "gold value None is not known"),
    "a parquet of two bytes": ("parquet", "xx", {}, "not a readable parquet file"),
    "bytes for text": ("parquet", pd.DataFrame({"text": [b"a", b"b"], "g": [0, 1]}), {}, "row 1: b'a'"),
    "None in parquet": ("parquet", pd.DataFrame({"text": ["a", None], "g": ["0", "1"]}), {}, "row 2: nan"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    kind, content, more, message = REFUSED[name]
    if "expected_rows" not in more and kind == "jsonl" and isinstance(content, str):
        more = more | {"expected_rows": {"test": len(content.splitlines())}}
    with pytest.raises(DataError, match=message):
        prepare(tmp_path, kind, content, **more)
    assert not (tmp_path / "rows.parquet").exists() and not (tmp_path / "card.json").exists()


KEPT = [
    "a\x00b",
    "\x01\x0b\x0c\x1c\x1f\x7f",
    "مرحبا \u202e abc \u202c",
    "👩\u200d👩\u200d👧 😀",
    "a\u2028b\u2029c\x85d",
    "[SEP] <<LABEL>> [LAB]",
    "NaN",
    "null",
    "",
    "   ",
    "007",
    "2020-01-01",
    "x" * 10_000_000,
    "\ufeffa",
    'say "yes", please',
]


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "table"])
def test_odd_texts_come_through_as_they_are(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame({"text": KEPT, "g": ["0", "1"] * 7 + ["0"]})
    content: Any = frame
    if kind == "table":
        content = frame.to_csv(index=False)
    elif kind != "parquet":
        rows = frame.to_dict("records")
        content = lines(*(json.dumps(r, ensure_ascii=False) for r in rows)) if kind == "jsonl" else json.dumps(rows)
    texts, gold = prepare(tmp_path, kind, content, expected_rows={"test": len(KEPT)})
    assert list(zip(texts, gold, strict=True)) == sorted((text, [i % 2]) for i, text in enumerate(KEPT))


def test_a_table_may_begin_with_a_byte_order_mark_and_end_lines_as_windows_does(tmp_path: Path) -> None:
    assert prepare(tmp_path, "table", "\ufefftext,g\r\na,0\r\nb,1\r\n") == (["a", "b"], [[0], [1]])


def test_rows_without_gold_are_counted_and_never_a_class(tmp_path: Path) -> None:
    content = lines('{"text":"a","g":null}', '{"text":"b","g":1}', '{"text":"c"}')
    assert prepare(tmp_path, "jsonl", content, gold=NUMBERS, expected_rows={"test": 3}) == (["b"], [[1]])
    assert read_json(tmp_path / "card.json")["quality"]["rows_without_gold"] == 2


def test_a_label_named_twice_in_a_row_counts_once(tmp_path: Path) -> None:
    content = lines('{"text":"a","g":["1","0","1"]}', '{"text":"b","g":[]}')
    assert prepare(tmp_path, "jsonl", content, **LISTS) == (["a", "b"], [[0, 1], []])


def test_a_parquet_may_hold_lists_of_labels(tmp_path: Path) -> None:
    content = pd.DataFrame({"text": ["a", "b", "c"], "g": [["1", "0"], [], ["0"]]})
    rows = prepare(tmp_path, "parquet", content, **LISTS, expected_rows={"test": 3})
    assert rows == (["a", "b", "c"], [[0, 1], [], [0]])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": None}, "column 'text', row 1: None is not text"),
        ({"labels": "money"}, "column 'labels', row 1: 'money' is not a list of labels"),
        ({"labels": None}, "column 'labels', row 1: None is not a list"),
        ({"not_labels": ["a", "a"]}, "column 'not_labels', row 1: .*unique labels"),
        ({"labels": [" "]}, "column 'labels', row 1: .*visible"),
        ({"labels": [5]}, "column 'labels', row 1: .5.; allowed"),
        ({"labels": ["\ud800"]}, "row 1: unpaired surrogate"),
        ({"labels": [{"a": 1}]}, "column 'labels', row 1: "),
        ({"labels": {"a": 1}}, "column 'labels', row 1: {'a': 1} is not a list of labels"),
        ({"labels": ["x"], "not_labels": ["x"]}, "a.dat, row 1: 'x' is both true and false"),
    ],
)
def test_a_training_set_is_held_to_the_same(tmp_path: Path, row: dict, message: str) -> None:
    content = lines(json.dumps({"text": "a", "labels": ["x"], "not_labels": ["y"]} | row))
    spec = {
        "id": "t",
        "title": "t",
        "files": {"train": ["a.dat"]},
        "format": {"type": "jsonl"},
        "licence": "",
        "citation": "",
    }
    with pytest.raises(DataError, match=message):
        prepare_training_set(spec, keep(tmp_path, content), tmp_path / "rows.parquet", tmp_path / "card.json")
