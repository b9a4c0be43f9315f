"""From a fetched file to a frame with `text` and `gold`. One reader a format, parsing left to pandas."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from zsbench.data.errors import DataError


def read_frame(path: Path, file_format: dict[str, Any]) -> pd.DataFrame:
    """Read one data file as strings.

    Args:
        path: the file.
        file_format: `type` ("table", "jsonl", "json" or "parquet"); for tables `separator`, `names` (columns, when
            the file has no header), `skip` (0-based line numbers to leave out) and `quoted` (are quotes syntax).

    Raises:
        DataError: unknown type, or the file cannot be parsed as that type.
    """
    kind = file_format["type"]
    try:
        if kind == "table":
            return _table(path, file_format)
        if kind in ("jsonl", "json"):
            return _records(path, lines=kind == "jsonl")
        if kind == "parquet":
            return _parquet(path)
    except (ValueError, RecursionError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataError(f"{path.name} is not a readable {kind} file: {error}") from error
    raise DataError(f"format type {kind!r} is not known; allowed: table, jsonl, json, parquet")


def _table(path: Path, file_format: dict[str, Any]) -> pd.DataFrame:
    """A table of strings whose rows are as long as its header; pandas would shift longer ones by a column."""
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
        header = pd.read_csv(path, header=None, nrows=1, **options).iloc[0].tolist()
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the column {twice!r} stands there twice")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(path, names=names, **options)


def _parquet(path: Path) -> pd.DataFrame:
    """A parquet file; pyarrow has several errors for a damaged one, one of them an OSError that no system raised."""
    try:
        return pd.read_parquet(path)
    except (OSError, KeyError, TypeError, NotImplementedError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _records(path: Path, lines: bool) -> pd.DataFrame:
    """Rows of JSON objects, by Python's own reader: pandas' drops halves of surrogate pairs and guesses types."""
    text = path.read_text(encoding="utf-8-sig")
    parts = [line for line in text.split("\n") if line.strip()] if lines else [text]
    rows = [json.loads(part, object_pairs_hook=_mapping) for part in parts]
    rows = rows if lines else rows[0]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("its rows must be JSON objects" + ("" if lines else ", in one list"))
    return pd.DataFrame(rows, dtype=object)


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key stands twice in one row: {[key for key, _ in pairs]}")
    return found


def check_texts(texts: pd.Series, where: str) -> None:
    """Raise unless every value is a text that an encoding has.

    Raises:
        DataError: names the column (`where`) and the first row, counted from 0.
    """
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{where} holds values that are not text: {text!r:.60} in row {i}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{where}, row {i}: half of a surrogate pair, which no encoding has ({error})") from error


def gold_indices(column: pd.Series, gold: dict[str, Any], n_labels: int) -> list[list[int]]:
    """Turn a file's gold column into label indices; a row whose value means no label gets an empty list.

    Args:
        column: the gold values.
        gold: either `values` (the file's value of each label, in label order) or `bins` (an inclusive numeric
            interval of each label, in label order); a column of lists is read as multi-label by `values`.
        n_labels: number of labels of the preset.

    Raises:
        DataError: the preset does not describe as many values as labels, or the file holds a value it does not know.
    """
    described = gold.get("values", gold.get("bins", []))
    if len(described) != n_labels:
        raise DataError(f"the preset has {n_labels} labels but describes {len(described)} gold values")
    if "bins" in gold:
        return [_within(rating, described) for rating in column]
    index = {value: i for i, value in enumerate(described)}
    rows = [[] if is_missing(value) else _values(value) for value in column]
    unknown = sorted({repr(value) for row in rows for value in row if repr(value) == "nan" or not _among(value, index)})
    if unknown:
        raise DataError(f"gold values {', '.join(unknown[:5])} are not among the preset's {list(index)[:25]}")
    return [sorted({index[value] for value in row}) for row in rows]


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) or hasattr(value, "tolist") else [value]


def is_missing(value: Any) -> bool:
    """Whether a gold value says nothing: null, NaN or an empty text."""
    if isinstance(value, str):
        return value == ""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _among(value: Any, index: dict[Any, int]) -> bool:
    try:
        return value in index
    except TypeError:  # a mapping or a list
        return False


def _within(rating: Any, bins: list[list[float]]) -> list[int]:
    """Index of the interval a rating lies in; none for a missing rating and for one between the intervals."""
    if is_missing(rating):
        return []
    try:
        number = float(rating)
    except (TypeError, ValueError):
        number = math.inf
    if not math.isfinite(number):
        raise DataError(f"gold value {rating!r:.60} is no finite number; the preset describes {bins}")
    return [i for i, (low, high) in enumerate(bins) if low <= number <= high]
