"""Training sets in the published schema: `text`, `labels` (true), `not_labels` (plausible and false)."""

from pathlib import Path
from typing import Any

import pandas as pd

from zsbench.data.errors import DataError
from zsbench.data.fetched import fetched_file, open_fetched
from zsbench.data.label_order import shown_labels
from zsbench.data.readers import check_texts, read_frame
from zsbench.integrity import write_rows
from zsbench.provenance import file_sha256, write_atomic, write_json

VALIDATION_SHARE = 50  # a set published without a validation split gives up one training text in this many


def prepare_training_set(spec: dict[str, Any], manifest_path: Path, rows_path: Path, card_path: Path) -> None:
    """Write `rows.parquet` (`split`, `text`, `labels`, `not_labels`, `shown`, `targets`) and `card.json`.

    `shown` holds the labels of a validation or test row in the order in which every model sees them, `targets` their
    truth; both are empty for training rows, whose labels are drawn anew for each step.

    A set without a validation split gets one from its training rows: every `VALIDATION_SHARE`th, by position.

    Raises:
        DataError: a column is missing, a label is both true and false of a text, or no training rows are left.
    """
    folder, manifest = open_fetched(manifest_path)
    frames = []
    for split, name in spec["files"].items():
        frame = read_frame(fetched_file(folder, name), spec["format"])
        wanted = {"text", "labels", "not_labels", *([spec["split_column"]] if "split_column" in spec else [])}
        missing = wanted - set(frame.columns)
        if missing:
            raise DataError(f"{name} lacks columns {sorted(missing)}; its preset asks for {sorted(wanted)}")
        if "split_column" in spec:
            frame = frame[frame[spec["split_column"]] == split]
        check_texts(frame["text"], f"{name}: column 'text'")
        for column in ("labels", "not_labels"):
            _check_labels(frame[column], f"{name}: column {column!r}")
        frames.append(frame[["text", "labels", "not_labels"]].assign(split=split))
    rows = pd.concat(frames, ignore_index=True)
    both = [i for i, row in enumerate(rows.itertuples()) if set(row.labels) & set(row.not_labels)]
    if both:
        raise DataError(f"{spec['id']}: {len(both)} rows have a label that is both true and false, first row {both[0]}")
    if "validation" not in spec["files"]:
        train = rows.index[rows["split"] == "train"]
        rows.loc[train[::VALIDATION_SHARE], "split"] = "validation"
    if not (rows["split"] == "train").any():
        raise DataError(f"{spec['id']}: no training rows")
    rows = with_shown_labels(rows)
    write_atomic(rows_path, lambda path: write_rows(path, rows))
    labels = {label for column in ("labels", "not_labels") for row in rows[column] for label in row}
    card = {
        "id": spec["id"],
        "title": spec["title"],
        "origin": manifest["origin"],
        "revision": manifest["revision"],
        "licence": spec["licence"],
        "citation": spec["citation"],
        "rows": {split: int(count) for split, count in rows["split"].value_counts().items()},
        "distinct_labels": len(labels),
        "labels_per_text": round(float(rows["labels"].map(len).mean()), 2),
        "not_labels_per_text": round(float(rows["not_labels"].map(len).mean()), 2),
        "words_per_text": round(float(rows["text"].str.split().map(len).mean()), 1),
        "rows_sha256": file_sha256(rows_path),
    }
    write_json(card_path, card)


def with_shown_labels(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with columns `shown` and `targets` (see `zsbench.data.label_order`)."""
    shown = [
        ([], []) if row.split == "train" else shown_labels(row.text, list(row.labels), list(row.not_labels))
        for row in rows.itertuples()
    ]
    return rows.assign(shown=[labels for labels, _ in shown], targets=[targets for _, targets in shown])


def _check_labels(column: pd.Series, where: str) -> None:
    """Raise unless every value is a list of visible texts, none twice."""
    for i, labels in column.items():
        if isinstance(labels, str) or not hasattr(labels, "__iter__"):
            raise DataError(f"{where}, row {i}: {labels!r:.60} is no list of labels")
        row = list(labels)
        odd = [label for label in row if not isinstance(label, str) or not label.strip()]
        if odd or len(set(row)) < len(row):
            raise DataError(f"{where}, row {i}: {row!r:.120}; labels must be texts with a visible letter, each once")
        check_texts(pd.Series(row, dtype=object), f"{where}, labels of row {i}")
