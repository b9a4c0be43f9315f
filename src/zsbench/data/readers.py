"""Read fetched data files into frames with the columns of the file. One parser per format."""

import bz2
import gzip
import io
import json
import lzma
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import parquet

from zsbench.data.errors import DataError
from zsbench.data.fetched import fetched_file


def _unzip(content: bytes) -> bytes:
    """The only file in a zip archive; files added by macOS are ignored."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [
            name for name in archive.namelist() if not name.endswith(("/", ".DS_Store")) and "__MACOSX" not in name
        ]
        if len(names) != 1:
            raise ValueError(f"the archive must contain exactly one file; it has {len(names)}: {', '.join(names[:20])}")
        return archive.read(names[0])


# Detected by the first bytes of a file: file names can be wrong, and pandas relies on them.
PACKED: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"BZh": ("bzip2", bz2.decompress),
    b"\xfd7zXZ\x00": ("xz", lzma.decompress),
    b"PK\x03\x04": ("zip", _unzip),
}
# Errors of the four decompressors for a damaged or encrypted file.
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, KeyError)


def _content(path: Path) -> bytes:
    """A file's bytes, decompressed.

    Raises:
        ValueError: damaged, truncated, encrypted, or an archive of several files.
    """
    content = path.read_bytes()
    for start, (kind, unpack) in PACKED.items():
        if content.startswith(start):
            try:
                return unpack(content)
            except DAMAGED as error:
                raise ValueError(f"the {kind} data are damaged or truncated ({error})") from error
    return content


def read_files(
    spec: dict[str, Any], folder: Path, files: Mapping[str, str | list[str]], columns: list[str]
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The files of a test set or training set, one by one; the index holds the row numbers in the file, from 0.

    Args:
        spec: `format`, and optionally `split_column`; then only the rows of a file's split are kept.
        folder: the fetched files.
        files: the file or files of each split.
        columns: the columns that each file must have.

    Yields:
        Split, name of the file, and its rows.

    Raises:
        DataError: a file or column is missing, a file cannot be parsed, or a split has no rows.
    """
    by = spec.get("split_column")
    for split, value in files.items():
        names = [value] if isinstance(value, str) else value
        count, splits = 0, set()
        for name in names:
            frame = read_table(fetched_file(folder, name), spec["format"])
            missing = [column for column in (*columns, *([by] if by else [])) if column not in frame.columns]
            if missing:
                raise DataError(f"{name} has no column {missing[0]!r}; it has: {', '.join(map(str, frame.columns))}")
            if by:
                splits |= set(map(str, frame[by]))
                frame = frame[frame[by] == split]
            count += len(frame)
            yield split, name, frame
        if not count and splits:
            found = ", ".join(sorted(splits)[:20])
            raise DataError(f"{', '.join(names)}: no row has {split!r} in column {by!r}; it has: {found}")
        if not count:
            raise DataError(f"{', '.join(names)} has no rows")


def check_counts(key: str, rows: pd.DataFrame, spec: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Raise DataError unless each split has the preset's `expected_rows`, if there are any.

    Args:
        key: "datasets" or "training_sets".
        rows: all rows, with the column `split`.
        manifest: the source's; a rehearsal's replica files have fewer rows, and their manifest marks them as replicas.
    """
    counts = rows["split"].value_counts(sort=False).to_dict()
    if counts != spec.get("expected_rows", counts) and not manifest.get("replica"):
        raise DataError(
            f"`{key}.{spec['id']}.expected_rows`: {spec['expected_rows']}, and the files have {counts} (revision "
            f"{manifest['revision']}); is it the data that you meant?"
        )


def read_table(path: Path, file_format: dict[str, Any]) -> pd.DataFrame:
    """Read one data file.

    Args:
        path: the file, plain or compressed (gzip, bzip2, xz, or a zip archive of one file).
        file_format: `type` ("table", "jsonl", "json" or "parquet"); for tables also `separator`, `names` (columns, if
            the file has no header), `skip` (0-based line numbers to skip) and `quoted` (whether quotes are syntax).

    Returns:
        One row per record; all values of a table are strings.

    Raises:
        DataError: unknown type, or the file cannot be parsed as that type.
    """
    kind, content = file_format["type"], b""
    try:
        content = _content(path)
        if kind == "table":
            return _table(content, file_format)
        if kind in ("jsonl", "json"):
            return _records(content, lines=kind == "jsonl")
        if kind == "parquet":
            return _parquet(content)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not a readable {kind} file: {_not_utf8(content)}") from error
    except (ValueError, RecursionError, pd.errors.ParserError) as error:
        raise DataError(f"{path.name} is not a readable {kind} file: {error}") from error
    raise DataError(f"unknown format type {kind!r}; allowed: table, jsonl, json, parquet")


def _not_utf8(content: bytes) -> str:
    """Message that names the first line that is not UTF-8, and what to do."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"line {line} is not UTF-8 (byte {content[error.start]:#04x}); save the file as UTF-8"
    raise AssertionError("every line is UTF-8")


def separator_of(path: Path) -> str:
    """The separator of a table: the most frequent of comma, semicolon and tab in its first line."""
    header = _content(path).partition(b"\n")[0]
    return max((",", ";", "\t"), key=lambda sign: header.count(sign.encode()))


def _table(content: bytes, file_format: dict[str, Any]) -> pd.DataFrame:
    """Parse a table of strings. A row may lack values at its end, but not have more values than there are columns."""
    options: dict[str, Any] = {
        "sep": file_format.get("separator", ","),
        "quoting": 0 if file_format.get("quoted", True) else 3,
        "dtype": str,
        "keep_default_na": False,
        "encoding": "utf-8",
        "index_col": False,
        "skiprows": file_format.get("skip", []),
    }
    names = file_format.get("names")
    if names is None:
        header = pd.read_csv(io.BytesIO(content), header=None, nrows=1, **options).iloc[0].tolist()
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the column {twice!r} is there twice")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # the first rows are too long; pandas would cut them
        try:
            return pd.read_csv(io.BytesIO(content), names=names, **options)
        except pd.errors.ParserWarning:
            raise ValueError(
                "the first rows have more values than columns; quote texts that contain the separator"
            ) from None


def _parquet(content: bytes) -> pd.DataFrame:
    """Parse a parquet file; pyarrow raises different errors for damaged files."""
    try:
        table = parquet.read_table(io.BytesIO(content))
        table.validate(full=True)  # otherwise texts that are not UTF-8 raise only when they are used
        return table.to_pandas().reset_index(drop=True)  # number rows, whatever index was saved
    except (OSError, KeyError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _records(content: bytes, lines: bool) -> pd.DataFrame:
    """Parse JSON objects with Python's parser; pandas' drops unpaired surrogates and guesses types."""
    text = content.decode("utf-8-sig")
    if lines:
        rows = [_parsed(line, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    else:
        rows = json.loads(text, object_pairs_hook=_mapping)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("rows must be JSON objects" + ("" if lines else " in one list"))
    return pd.DataFrame(rows, dtype=object)


def _parsed(line: str, number: int) -> Any:
    """The JSON value of a line; its number is part of the message if there is none."""
    try:
        return json.loads(line, object_pairs_hook=_mapping)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}: {error.msg} at column {error.colno}") from None
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError(f"a key is twice in one row: {[key for key, _ in pairs]}")
    return row


def check_texts(texts: pd.Series | Mapping[int, Any], where: str) -> None:
    """Raise unless every value is a string that can be encoded.

    Raises:
        DataError: names the column (`where`) and the first invalid row of the file, counted from 1 without a header.
    """
    for i, text in texts.items():
        if not isinstance(text, str):
            raise DataError(f"{where}, row {i + 1}: {text!r:.60} is not text")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{where}, row {i + 1}: unpaired surrogate, which cannot be encoded ({error})") from error
