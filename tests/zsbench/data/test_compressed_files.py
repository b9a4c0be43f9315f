"""Compressed data files: every format with every compression, detected from the content and not from the name."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_bad_files import prepare

from zsbench.data.errors import DataError
from zsbench.data.readers import read_table

ROWS = pd.DataFrame({"text": ["a" * 50, "b" * 50], "g": ["0", "1"]})
RECORDS = ROWS.to_dict("records")
GOOD = (ROWS["text"].tolist(), [[0], [1]])
KINDS = {
    "table": ROWS.to_csv(index=False).encode(),
    "jsonl": "".join(json.dumps(row) + "\n" for row in RECORDS).encode(),
    "json": json.dumps(RECORDS).encode(),
    "parquet": ROWS.to_parquet(),
}


def zipped(content: bytes, *more: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/rows", content)
        for name in more:
            archive.writestr(name, b"more")
    return buffer.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packing", PACK)
def test_every_format_is_read_under_every_compression(tmp_path: Path, kind: str, packing: str) -> None:
    assert prepare(tmp_path, kind, PACK[packing](KINDS[kind])) == GOOD


@pytest.mark.parametrize("packing", PACK)
@example(where=0.5, change=0)
@example(where=0.999, change=0)
@given(where=st.floats(0, 0.999), change=st.integers(0, 255))
@settings(max_examples=40)
def test_a_cut_or_damaged_file_is_named_or_read_whole(tmp_path: Path, packing: str, where: float, change: int) -> None:
    """`change` 0 truncates the file, otherwise a byte is changed; some bytes, such as a time, are irrelevant."""
    content = bytearray(PACK[packing](KINDS["jsonl"]))
    place = int(where * len(content))
    if change:
        content[place] ^= change
    else:
        del content[place:]
    try:
        assert prepare(tmp_path, "jsonl", bytes(content)) == GOOD and change
    except DataError as error:
        assert "a.dat" in str(error) or "mine: found rows {}" in str(error)


def test_an_archive_of_several_files_is_refused_but_not_for_a_macs_notes(tmp_path: Path) -> None:
    notes = ("__MACOSX/folder/._rows", "folder/.DS_Store")
    assert prepare(tmp_path, "jsonl", zipped(KINDS["jsonl"], *notes)) == GOOD
    with pytest.raises(DataError, match="a.dat is not a readable jsonl file: .* 2: folder/rows, other"):
        prepare(tmp_path, "jsonl", zipped(KINDS["jsonl"], "other"))


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.csv.zip", "rows.csv.xz", "rows.csv.bz2", "rows.csv.zst"])
def test_the_name_of_a_compression_means_nothing(tmp_path: Path, name: str) -> None:
    """pandas decides by the name, and raises a different exception for each compression."""
    (tmp_path / name).write_bytes(KINDS["table"])
    assert read_table(tmp_path / name, {"type": "table"})["text"].tolist() == GOOD[0]
    (tmp_path / name).write_bytes(b"\x1f\x8b no such thing")
    with pytest.raises(DataError, match=f"{name} is not a readable table file: the gzip data are damaged"):
        read_table(tmp_path / name, {"type": "table"})
