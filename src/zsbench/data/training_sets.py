"""Training sets in the published schema: `text`, `labels` (true), `not_labels` (plausible but false)."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from zsbench.data.errors import DataError
from zsbench.data.fetched import open_fetched
from zsbench.data.label_order import shown_labels
from zsbench.data.near_duplicates import near_pairs
from zsbench.data.readers import check_counts, check_texts, read_files
from zsbench.store.integrity import write_rows
from zsbench.store.provenance import file_sha256, write_atomic, write_json

VALIDATION_ONE_IN = 50  # without a published validation split, one training text in this many becomes validation
VALIDATION_SEED = 13
# Rows that share labels are siblings. A label with more rows than BUNDLE, or than a twentieth of a small set's rows
# (but at least SMALLEST_BUNDLE), is common or part of a task's fixed label set, and is ignored.
BUNDLE, SMALLEST_BUNDLE = 50, 5


def prepare_training_set(spec: dict[str, Any], manifest_path: Path, rows_path: Path, card_path: Path) -> None:
    """Write `rows.parquet` (`split`, `text`, `labels`, `not_labels`, `shown`, `targets`) and `card.json`.

    `shown` holds the labels of a validation or test row in the order in which every model sees them, `targets` whether
    each is true; both are empty for training rows, whose labels are drawn anew at each step.

    If there is no validation split, one in `VALIDATION_ONE_IN` training rows is used for it: whole groups of siblings
    (see `sibling_groups`), drawn with a seed.

    Raises:
        DataError: a column is missing, a split has no rows, a label is both true and false for a text, the number of
            rows differs from `expected_rows`, or no training rows are left.
    """
    folder, manifest = open_fetched(manifest_path)
    files = split_files(spec, folder)
    columns = {"text": "text", "labels": "labels", "not_labels": "not_labels"}
    columns |= {"group": spec["group"]} if "group" in spec else {}
    frames = []
    for split, name, frame in read_files(spec, folder, files, list(columns.values())):
        frame = pd.DataFrame({ours: frame[theirs] for ours, theirs in columns.items()})
        check_texts(frame["text"], f"{name}: column 'text'")
        for column in ("labels", "not_labels"):
            _check_labels(frame[column], f"{name}: column {column!r}")
        for i, true, false in zip(frame.index, frame["labels"], frame["not_labels"], strict=True):
            if both := set(true) & set(false):
                raise DataError(f"{name}, row {i + 1}: {min(both)!r} is both true and false")
        if "group" in frame and (gaps := frame.index[frame["group"].isna()]).size:
            where = f"{name}: column {spec['group']!r}, row {gaps[0] + 1}"
            raise DataError(f"{where}: no value; allowed: the group of each row")
        frames.append(frame.assign(split=split))
    rows = pd.concat(frames, ignore_index=True)
    check_counts("training_sets", rows, spec, manifest)
    validation = "as published"
    if "validation" not in files:
        train = rows.index[rows["split"] == "train"]
        groups = sibling_groups(rows.loc[train])
        rows.loc[train[draw_groups(groups)], "split"] = "validation"
        by = f"column {spec['group']!r}" if "group" in spec else "near-duplicate text or shared labels"
        share = f"one training text in {VALIDATION_ONE_IN}"
        validation = f"{share}, seed {VALIDATION_SEED}, whole groups of {by} ({len(set(groups))} groups)"
    rows = rows.drop(columns="group", errors="ignore")
    if not (rows["split"] == "train").any():
        raise DataError(f"{spec['id']}: no training rows (or they form a single group, which went to validation)")
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
        "rows": rows["split"].value_counts().to_dict(),
        "validation": validation,
        "distinct_labels": len(labels),
        "labels_per_text": round(float(rows["labels"].map(len).mean()), 2),
        "not_labels_per_text": round(float(rows["not_labels"].map(len).mean()), 2),
        "words_per_text": round(float(rows["text"].str.split().map(len).mean()), 1),
        "rows_sha256": file_sha256(rows_path),
    }
    write_json(card_path, card)


def split_files(spec: dict[str, Any], folder: Path) -> dict[str, list[str]]:
    """Files of each split: those named in the preset, else those that the `datasets` library finds in the repository.

    The library uses the repository's README (`configs`) and file names, sharded or not, without network access. Splits
    other than train, validation and test are ignored.

    Args:
        folder: the fetched files, laid out as in the repository.

    Raises:
        DataError: no train split is found.
    """
    if "files" in spec:
        return spec["files"]
    from datasets import load_dataset_builder

    with tempfile.TemporaryDirectory() as cache:
        try:
            data_files = load_dataset_builder(str(folder), cache_dir=cache).config.data_files or {}
        except (ValueError, OSError) as error:
            raise DataError(f"{spec['id']}: `datasets` finds no splits in the repository: {error}") from error
    root = folder.resolve()
    files = {
        str(split): [str(Path(path).resolve().relative_to(root)) for path in paths]
        for split, paths in data_files.items()
        if str(split) in ("train", "validation", "test")
    }
    if "train" not in files:
        raise DataError(f"{spec['id']}: the repository has no train split; found: {', '.join(map(str, data_files))}")
    return files


def with_shown_labels(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the columns `shown` and `targets` to rows (see `zsbench.data.label_order`)."""
    shown = [
        ([], []) if row.split == "train" else shown_labels(row.text, list(row.labels), list(row.not_labels))
        for row in rows.itertuples()
    ]
    return rows.assign(shown=[labels for labels, _ in shown], targets=[targets for _, targets in shown])


def sibling_groups(rows: pd.DataFrame) -> np.ndarray:
    """Group index of each row, (N,): rows of the same group must be in the same split.

    The column `group`, if present. Otherwise, rows are in the same group if their texts are near duplicates, or if they
    share at least two labels (true or false) and at least half of the labels of the row with fewer. Labels of many rows
    (see `BUNDLE`) are ignored.
    """
    if "group" in rows:
        return rows["group"].astype(str).factorize()[0]
    codes: dict[str, int] = {}
    entries = [
        (i, codes.setdefault(label, len(codes)))
        for i, row in enumerate(rows.itertuples())
        for label in {*row.labels, *row.not_labels}
    ]
    row, label = np.array(entries, dtype=int).reshape(-1, 2).T
    rare = np.bincount(label)[label] <= min(BUNDLE, max(SMALLEST_BUNDLE, len(rows) // 20))
    holds = csr_matrix((np.ones(rare.sum(), np.int32), (row[rare], label[rare])), (len(rows), len(codes)))
    sizes, shared = holds.getnnz(axis=1), (holds @ holds.T).tocoo()
    siblings = (shared.data >= 2) & (2 * shared.data >= np.minimum(sizes[shared.row], sizes[shared.col]))
    i, j = np.array(near_pairs(rows["text"].to_list()), dtype=int).reshape(-1, 2).T
    i, j = np.append(i, shared.row[siblings]), np.append(j, shared.col[siblings])
    return connected_components(coo_matrix((np.ones(len(i)), (i, j)), (len(rows), len(rows))), directed=False)[1]


def draw_groups(groups: np.ndarray) -> np.ndarray:
    """Bool (N,): which rows become validation. Groups are taken in a seeded order if they still fit into the share.

    If none fits, the smallest group is taken.
    """
    sizes = np.bincount(groups)
    budget = max(1, round(len(groups) / VALIDATION_ONE_IN))
    chosen = []
    order = np.random.default_rng(VALIDATION_SEED).permutation(len(sizes))
    for group in order:
        if sizes[group] <= budget:
            chosen.append(group)
            budget -= sizes[group]
    return np.isin(groups, chosen or [order[np.argmin(sizes[order])]])


def _check_labels(column: pd.Series, where: str) -> None:
    """Raise DataError unless every value is a list of distinct, visible strings."""
    for i, labels in column.items():
        if isinstance(labels, str | dict) or not hasattr(labels, "__iter__"):
            raise DataError(f"{where}, row {i + 1}: {labels!r:.60} is not a list of labels")
        row = list(labels)
        odd = [label for label in row if not isinstance(label, str) or not label.strip()]
        if odd or len(set(row)) < len(row):
            raise DataError(f"{where}, row {i + 1}: {row!r:.120}; allowed: unique labels with a visible character")
        for label in row:
            check_texts({i: label}, where)
