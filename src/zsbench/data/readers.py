"""From a fetched file to a frame with `text` and `gold`. One reader a format, parsing left to pandas."""

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
            return pd.read_csv(
                path,
                sep=file_format.get("separator", ","),
                names=file_format.get("names"),
                skiprows=file_format.get("skip", []),
                quoting=0 if file_format.get("quoted", True) else 3,
                dtype=str,
                keep_default_na=False,
                skip_blank_lines=True,
                encoding="utf-8",
            )
        if kind in ("jsonl", "json"):
            return pd.read_json(path, lines=kind == "jsonl", dtype=False)
        if kind == "parquet":
            return pd.read_parquet(path)
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path.name} is not a readable {kind} file: {error}") from error
    raise DataError(f"format type {kind!r} is not known; allowed: table, jsonl, json, parquet")


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
        ratings = pd.to_numeric(column)
        return [[i for i, (low, high) in enumerate(described) if low <= rating <= high] for rating in ratings]
    index = {value: i for i, value in enumerate(described)}
    rows = [list(value) if isinstance(value, list | tuple) or hasattr(value, "tolist") else [value] for value in column]
    unknown = sorted({str(value) for row in rows for value in row if value not in index and value not in ("", None)})
    if unknown:
        raise DataError(f"gold values {unknown[:5]} are not among the preset's {list(index)[:25]}")
    return [sorted(index[value] for value in row if value in index) for row in rows]
