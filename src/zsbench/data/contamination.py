"""Contamination: overlap of all training sets with all test sets of a run."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from zsbench.data.near_duplicates import overlap
from zsbench.store.integrity import check_rows
from zsbench.store.layout import Layout
from zsbench.store.provenance import write_json


def write_overlap(root: Path, training_sets: Sequence[str], datasets: Sequence[str]) -> None:
    """Write `analysis/overlap.json`: for each test set and training set, the overlap of the scored rows with it.

    The training split of a test set, which hybrids are trained on, also counts as a training set, under the id of the
    test set.

    Args:
        training_sets, datasets: ids of the training sets and test sets.
    """
    layout = Layout(root)
    paths = {name: check_rows(layout.training_set(name)) for name in training_sets}
    train = {name: pd.read_parquet(path, columns=["text"])["text"].tolist() for name, path in paths.items()}
    test = {}
    for dataset in datasets:
        rows = pd.read_parquet(check_rows(layout.dataset(dataset)), columns=["text", "split"])
        in_train = rows["split"] == "train"
        test[dataset] = rows.loc[~in_train, "text"].tolist()
        if in_train.any():
            train[dataset] = rows.loc[in_train, "text"].tolist()
    report = {
        name: {other: overlap(texts, rows).card() for other, texts in train.items()} for name, rows in test.items()
    }
    write_json(layout.root / "analysis" / "overlap.json", report)
