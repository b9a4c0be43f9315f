"""Stored files are checked when they are read."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zsbench.store.integrity import check_listed, check_rows, listing, read_frame, write_frame
from zsbench.store.provenance import IntegrityError, file_sha256, write_json

COLUMNS = ["system", "label", "seed", "value", "p"]


@pytest.fixture
def frame() -> pd.DataFrame:
    values = np.random.default_rng(0).random(60)
    rows = {"system": [f"system-{i % 4}" for i in range(60)], "label": "", "seed": np.arange(60) % 3, "value": values}
    return pd.DataFrame(rows).assign(p=[None if i % 5 else 0.5 for i in range(60)]).astype({"p": float})


def test_whatever_bit_of_a_frame_is_flipped_it_reads_the_same_or_is_refused(
    tmp_path: Path, frame: pd.DataFrame
) -> None:
    path, place, refusals = tmp_path / "metrics.parquet", random.Random(1), 0
    write_frame(path, frame)
    raw = path.read_bytes()
    for _ in range(400):
        damaged = bytearray(raw)
        damaged[place.randrange(len(raw))] ^= 1 << place.randrange(8)
        path.write_bytes(damaged)
        try:
            pd.testing.assert_frame_equal(read_frame(path, COLUMNS)[COLUMNS], frame)
        except IntegrityError as error:
            refusals += 1
            assert "metrics.parquet" in str(error)
    assert refusals > 100


def test_a_frame_that_was_cut_short_is_refused(tmp_path: Path, frame: pd.DataFrame) -> None:
    path = tmp_path / "metrics.parquet"
    write_frame(path, frame)
    raw = path.read_bytes()
    for size in (0, 3, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:size])
        with pytest.raises(IntegrityError, match="is damaged"):
            read_frame(path, COLUMNS)


def test_listed_files_must_be_there_unchanged(tmp_path: Path) -> None:
    folder, record = tmp_path / "files", tmp_path / "manifest.json"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.txt").write_text("a")
    entries = listing(folder)
    assert [entry["name"] for entry in entries] == ["inner/a.txt"]
    check_listed(folder, entries, record)
    for damage in (lambda path: path.write_text("b"), lambda path: path.unlink()):
        damage(folder / "inner" / "a.txt")
        with pytest.raises(IntegrityError, match=r"a\.txt is missing or changed .* delete .*manifest\.json"):
            check_listed(folder, entries, record)


def test_rows_are_those_of_their_card(tmp_path: Path) -> None:
    rows = tmp_path / "rows.parquet"
    rows.write_bytes(b"rows")
    write_json(tmp_path / "card.json", {"rows_sha256": file_sha256(rows)})
    assert check_rows(rows) == rows
    rows.write_bytes(b"rowz")
    with pytest.raises(IntegrityError, match="rows.parquet was changed since it was prepared"):
        check_rows(rows)
