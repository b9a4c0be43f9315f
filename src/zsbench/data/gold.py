"""Interpret a gold column: values listed in the preset, ratings in intervals, or multi-hot vectors.

Unknown or ambiguous values are rejected; the message names file, column and row.
"""

import json
import math
from typing import TYPE_CHECKING, Any

from zsbench.data.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def gold_indices(column: "pd.Series", gold: dict[str, Any], n_labels: int, task: str, where: str) -> list[list[int]]:
    """Convert a gold column into label indices; a row without a label gets an empty list.

    Args:
        column: the gold values; the index holds row numbers in the file, from 0; messages count from 1.
        gold: `values` (the value in the file for each label, in label order; a row may hold a list of them), `bins` (an
            inclusive numeric interval per label, in label order), or `encoding: multi-hot` (each row is a list of zeros
            and ones, one per label).
        task: "single" (at most one label per row) or "multi" (a row without labels must hold an empty list).

    Raises:
        DataError: names the first row that cannot be interpreted.
    """
    index = readings(gold.get("values", []))
    rows: list[list[int]] = []
    for row, value, gap in zip(column.index, column.tolist(), column.isna(), strict=True):
        row_name = f"{where}, row {row + 1}"
        value = value.tolist() if hasattr(value, "tolist") else value
        if gap or value == "":
            if task == "multi":
                raise DataError(f"{row_name}: no gold value; if no label applies, use an empty list")
            rows.append([])
            continue
        if "bins" in gold:
            indices = _within(value, gold["bins"], row_name)
        elif "values" in gold:
            indices = _named(value, index, gold["values"], n_labels, row_name)
        else:
            indices = _marked(value, n_labels, row_name)
        if task == "single" and len(indices) > 1:
            raise DataError(f"{row_name}: several gold labels; allowed: one per text (task: single)")
        rows.append(indices)
    return rows


def readings(values: list[str | int | bool]) -> dict[str | int, int]:
    """Map every representation of a value that may occur in a file to the index of the value.

    Strings represent themselves. Numbers may be strings in a table, or floats in a column with missing values; booleans
    may be words, or ones and zeros.

    Raises:
        ValueError: two values share a representation.
    """
    indices: dict[str | int, int] = {}
    for i, value in enumerate(values):
        forms: list[str | int] = [value]
        if isinstance(value, bool):
            forms = [int(value), str(value), str(value).lower(), str(value).upper()]
        elif isinstance(value, int):
            forms = [value, str(value), f"{value}.0"]
        for form in forms:
            if indices.setdefault(form, i) != i:
                raise ValueError(f"{_shown([values[indices[form]], value])} cannot be distinguished in a file")
    return indices


def _shown(values: list[Any]) -> str:
    return json.dumps(values, ensure_ascii=False)[1:-1]


def _named(
    value: Any, index: dict[str | int, int], values: list[str | int | bool], n_labels: int, row_name: str
) -> list[int]:
    """Indices of the labels given by a value or a list of values."""
    items = value if isinstance(value, list) else [value]
    marks = isinstance(value, list) and all(isinstance(item, int | float) and item in (0, 1) for item in items)
    if marks and (len(items) == n_labels or len(set(items)) < len(items)):
        raise DataError(
            f"{row_name}: {value!r:.60} could mean zeros and ones per label, or label values; for the former set "
            "`encoding: multi-hot` instead of `values`, for the latter write the labels as text"
        )
    indices = set()
    for item in items:
        plain = int(item) if isinstance(item, bool) or (isinstance(item, float) and item.is_integer()) else item
        if not isinstance(plain, str | int) or plain not in index:
            raise DataError(f"{row_name}: gold value {item!r:.60} is not known; allowed: {_shown(values[:25])}")
        indices.add(index[plain])
    return sorted(indices)


def _marked(value: Any, n_labels: int, row_name: str) -> list[int]:
    """Indices of the labels marked with a one in a multi-hot list."""
    marks = value if isinstance(value, list) else []
    if len(marks) != n_labels or not all(isinstance(mark, int | float) and mark in (0, 1) for mark in marks):
        raise DataError(
            f"{row_name}: {value!r:.60} is not multi-hot; allowed: a list of {n_labels} zeros and ones, one per label"
        )
    return [i for i, mark in enumerate(marks) if mark]


def _within(rating: Any, bins: list[list[float]], row_name: str) -> list[int]:
    """Index of the interval that contains a rating, as a list; empty if the rating is between intervals."""
    try:
        number = math.inf if isinstance(rating, bool) else float(rating)
    except (TypeError, ValueError):
        number = math.inf
    if not math.isfinite(number):
        raise DataError(f"{row_name}: gold value {rating!r:.60} is not a finite number; allowed: {bins}")
    return [i for i, (low, high) in enumerate(bins) if low <= number <= high]
