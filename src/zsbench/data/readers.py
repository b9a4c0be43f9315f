"""Read a fetched file into a frame with `text` and `gold`. One reader per format; parsing is done by pandas."""

import bz2
import gzip
import io
import json
import lzma
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from zsbench.data.errors import DataError


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


def read_frame(path: Path, file_format: dict[str, Any]) -> pd.DataFrame:
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
    except (ValueError, RecursionError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
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
    """Parse a table of strings. Rows must be as long as the header, because pandas would shift longer ones."""
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
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(io.BytesIO(content), names=names, **options)


def _parquet(content: bytes) -> pd.DataFrame:
    """Parse a parquet file; pyarrow raises different errors for damaged files."""
    try:
        return pd.read_parquet(io.BytesIO(content)).reset_index(drop=True)  # number rows, whatever index was saved
    except (OSError, KeyError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _records(content: bytes, lines: bool) -> pd.DataFrame:
    """Parse JSON objects with Python's parser; pandas' drops unpaired surrogates and guesses types."""
    text = content.decode("utf-8-sig")
    documents = [line for line in text.split("\n") if line.strip()] if lines else [text]
    rows = [json.loads(document, object_pairs_hook=_mapping) for document in documents]
    rows = rows if lines else rows[0]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("rows must be JSON objects" + ("" if lines else " in one list"))
    return pd.DataFrame(rows, dtype=object)


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError(f"a key is twice in one row: {[key for key, _ in pairs]}")
    return row


def check_texts(texts: pd.Series, where: str) -> None:
    """Raise unless every value is a string that can be encoded.

    Raises:
        DataError: names the column (`where`) and the first invalid row, by its 0-based number in the file.
    """
    for i, text in texts.items():
        if not isinstance(text, str):
            raise DataError(f"{where}, row {i}: {text!r:.60} is not text")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{where}, row {i}: unpaired surrogate, which cannot be encoded ({error})") from error
