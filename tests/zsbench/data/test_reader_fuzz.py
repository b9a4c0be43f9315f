"""Random data files: read like an independent reader does, or refused by name; never a crash.

`@example` lines are regressions: each of these used to crash or was accepted.
"""

import copy
import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.zsbench.config.test_config_fuzz import VALUES
from zsbench.config.load import ConfigError, load_yaml
from zsbench.config.published import PUBLISHED, load_published
from zsbench.data.errors import DataError
from zsbench.data.prepare import prepare_dataset
from zsbench.reporting.frames import RunData
from zsbench.reporting.render import cells
from zsbench.reporting.tables.published import published_table
from zsbench.store.integrity import write_rows
from zsbench.store.layout import Layout
from zsbench.store.provenance import file_sha256, write_json
from zsbench.systems.imported import ScoresFileError, import_scores

LABELS = ["money", "chips"]
SPEC = {
    "id": "mine",
    "title": "t",
    "suite": "topics",
    "task": "multi",
    "files": {"test": "a.dat"},
    "text": "text",
    "gold": {"column": "g", "values": ["0", "1"]},
    "labels": LABELS,
    "label_names": LABELS,
    "verbalisation": "plain",
    "domain": "d",
    "rows": None,
    "licence": "l",
    "citation": "c",
    "sample_seed": 0,
}


def prepared(kind: str, content: bytes, rows: int) -> list[str] | None:
    """Texts of a fetched file as prepared by the workflow; None if it refuses the file."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "files").mkdir()
        (root / "files" / "a.dat").write_bytes(content)
        listing = [{"name": "a.dat", "sha256": file_sha256(root / "files" / "a.dat")}]
        facts = {"origin": "t", "revision": "0", "verified": "no", "files": listing}
        write_json(root / "manifest.json", facts)
        spec = SPEC | {"format": {"type": kind}, "expected_rows": {"test": rows}}
        try:
            prepare_dataset(spec, root / "manifest.json", root / "rows.parquet", root / "card.json")
        except DataError as error:
            assert "a.dat" in str(error) or "mine" in str(error)
            assert not (root / "rows.parquet").exists() and not (root / "card.json").exists()
            return None
        return pd.read_parquet(root / "rows.parquet")["text"].tolist()


CELLS = st.text(alphabet='ab0",\n\r\t \x00é\ufeff\x85\u2028', max_size=6)
TABLES = st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=4)


def table_of(rows: list[list[str]]) -> bytes:
    return ("text,g\n" + "\n".join(",".join(row) for row in rows)).encode()


@example(rows=[["a", "0"], ["", ""], ["b", "1"]])
@example(rows=[['"a""b"', "0"], ['"c\nd"', "1"]])
@example(rows=[["a", "0", "1"], ["b", "1"]])
@given(rows=TABLES)
@settings(max_examples=60)
def test_a_table_is_read_as_the_standard_library_reads_it(rows: list[list[str]]) -> None:
    content = table_of(rows)
    try:
        found = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))[1:]
    except csv.Error:
        found = []
    kept = [row for row in found if row]  # both skip blank lines
    texts = prepared("table", content, len(kept))
    assert texts is None or texts == [row[0] for row in kept]


@example(rows=[["é", "0"], ["b", "1"]])
@given(
    rows=st.lists(
        st.tuples(st.text(max_size=8).filter(lambda text: text.isprintable()), st.sampled_from("01")), max_size=8
    )
)
@settings(max_examples=25)
def test_a_well_written_table_is_never_refused(rows: list[tuple[str, str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([("text", "g"), *rows])
    texts = prepared("table", buffer.getvalue().encode(), len(rows))
    assert not rows or (texts is not None and sorted(texts) == sorted(text for text, _ in rows))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["0", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.fixed_dictionaries({}, optional={"text": JSON | st.text(max_size=5), "g": JSON, "more": JSON}) | JSON


@example(rows=[{"text": "a", "g": [["0"]]}])
@example(rows=[{"text": "a", "g": {"0": "1"}}])
@example(rows=[{"text": "a", "g": float("nan")}])
@example(rows=[{"text": "\ud800", "g": "0"}])
@example(rows=[{"text": "a", "g": True}])
@example(rows=[{"text": "a", "g": [None]}])
@example(rows=[{"text": "a", "g": [""]}])
@given(rows=st.lists(OBJECTS, min_size=1, max_size=4))
@settings(max_examples=80)
def test_json_lines_are_read_whole_or_refused(rows: list[Any]) -> None:
    content = "\n".join(json.dumps(row) for row in rows).encode()
    texts = prepared("jsonl", content, len(rows))
    assert texts is None or texts == [row["text"] for row in rows]
    for row in rows if texts is not None else ():
        gold = row.get("g")
        assert all(value in ("0", "1") for value in (gold if isinstance(gold, list) else [gold] if gold else []))


@example(content=b"\xef\xbb\xbf")
@example(content=b"[" * 3000)
@example(content=b'{"text": "a", "g": ' + b"9" * 5000 + b"}")
@given(content=st.binary(max_size=40) | st.text(alphabet='{}[]",:textg01 \n\\u', max_size=40).map(str.encode))
@settings(max_examples=60)
@pytest.mark.parametrize("kind", ["table", "jsonl", "json", "parquet"])
def test_any_bytes_are_rows_or_refused(kind: str, content: bytes) -> None:
    prepared(kind, content, 1)


def parquet_of(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


SMALL = parquet_of(pd.DataFrame({"text": ["a", "b"], "g": ["0", "1"]}))
FLIPS = st.tuples(st.integers(0, len(SMALL) - 1), st.integers(1, 255))


@example(flips=[(4, 1)])
@example(flips=[(24, 128)])  # a text that is not UTF-8
@given(flips=st.lists(FLIPS, min_size=1, max_size=3))
@settings(max_examples=80)
def test_a_damaged_parquet_is_refused_or_has_all_its_rows(flips: list[tuple[int, int]]) -> None:
    content = bytearray(SMALL)
    for place, change in flips:
        content[place] ^= change
    texts = prepared("parquet", bytes(content), 2)
    assert texts is None or len(texts) == 2


COLUMNS = st.sampled_from([["a", "b"], [1, 2], [1.5, None], [b"x", b"y"], [["0"], ["1", "0"]], [{"k": 1}, {"k": 2}]])
MORE = st.sampled_from([["0", "1"], [None, "1"], [True, False], [np.datetime64("2020"), np.datetime64("2021")]])


@example(text=["a", "b"], gold=[["0"], ["1", "0"]])
@given(text=COLUMNS | MORE, gold=COLUMNS | MORE)
@settings(max_examples=40)
def test_a_parquet_of_other_types_is_refused_or_read_whole(text: list, gold: list) -> None:
    texts = prepared("parquet", parquet_of(pd.DataFrame({"text": text, "g": gold})), 2)
    assert texts is None or sorted(texts) == sorted(text)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A prepared set of three rows."""
    layout = Layout(tmp_path_factory.mktemp("fuzz") / "run")
    layout.dataset("odd").parent.mkdir(parents=True)
    write_rows(layout.dataset("odd"), pd.DataFrame({"sample_id": ["s0", "s1", "s2"], "split": "test", "text": "a"}))
    write_json(layout.dataset_card("odd"), {"labels": LABELS})
    return layout


HEADERS = st.permutations(["sample_id", "money", "chips"]).map(",".join) | st.lists(
    st.sampled_from(["sample_id", "money", "chips", "score:money", "score:chips", "", '"', "x\n"]), max_size=5
).map(",".join)
FIELDS = st.sampled_from(
    ["s0", "s1", "s2", "0", "1.5", "-1e-300", "1e39", "nan", "inf", "True", "0x1", "", " 1", '"', "\x00"]
)


@example(header="sample_id,money,chips", rows=[["s0", "1e39", "0"]])
@example(header="sample_id,money,chips", rows=[["s0", "True", "0"]])
@example(header="sample_id,money,chips", rows=[["x", "s0", "1", "0"], ["x", "s1", "1", "0"]])
@example(header="sample_id,money,money,chips", rows=[["s0", "1", "2", "0"]])
@example(header="sample_id,money,score:money,chips", rows=[["s0", "1", "2", "0"]])
@example(header="", rows=[])
@given(header=HEADERS, rows=st.lists(st.lists(FIELDS, min_size=1, max_size=4), max_size=3))
@settings(max_examples=100)
def test_a_csv_of_scores_is_kept_as_it_reads_or_refused(
    ready: Layout, tmp_path: Path, header: str, rows: list[list[str]]
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("\n".join([header, *map(",".join, rows)]))
    try:
        import_scores(ready.root, "mine", "odd", path)
    except ScoresFileError as error:
        assert str(path) in str(error)
        return
    kept = pd.read_parquet(ready.imported("mine", "odd"))
    names, *lines = (line for line in csv.reader(io.StringIO(path.read_text(), newline="")) if line)
    assert kept["sample_id"].tolist() == [line[names.index("sample_id")] for line in lines]
    for label in LABELS:
        column = next(i for i, name in enumerate(names) if name in (label, f"score:{label}"))
        assert kept[f"score:{label}"].tolist() == [float(line[column]) for line in lines]


REPORTED = load_yaml(PUBLISHED)


# Keys contain dots and colons, so locations are paths.
def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths of all nested entries of a value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, entry in entries for place in ((*path, name), *places(entry, (*path, name)))]


@example(path=("publications", "P1", "systems", "GliZNet"), value={"values": [0.5] * 10})
@example(path=("publications", "P4", "datasets"), value=["topics-published", "cr"])
@example(path=("publications", "P1", "datasets", 0), value="no-such-set")
@example(path=("publications", "P4", "systems", "HybridNLI v2 (val-tuned)", "thresholds"), value=[0.1])
@example(path=("publications", "P1", "systems", "GliZNet", "average"), value=float("nan"))
@example(path=("publications", "P1", "systems", "GliZNet", "values", 0), value="0.5")
@example(path=("publications", "P1"), value=None)
@example(path=("throughput", "P5", "systems", "GLiClass-edge"), value=3)
@given(path=st.sampled_from(places(REPORTED)), value=VALUES)
@settings(max_examples=30)
def test_changed_publications_make_a_table_or_are_refused(tmp_path: Path, path: tuple, value: Any) -> None:
    changed: Any = copy.deepcopy(REPORTED)
    *parents, last = path
    at = changed
    for name in parents:
        at = at[name]
    at[last] = value
    file = tmp_path / "published.yaml"
    file.write_text(yaml.safe_dump(changed), encoding="utf-8")
    try:
        reported = load_published(file)
    except ConfigError as error:
        assert str(file) in str(error)
        return
    table = published_table(RunData(tmp_path / "none", {"suites": {}, "systems": []}), reported)
    assert len(cells(table)) == len(table.frame)
