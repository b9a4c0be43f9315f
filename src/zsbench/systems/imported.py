"""Scores that somebody else computed, from a csv: one row a sample, one column a label."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zsbench.config import suggest
from zsbench.layout import Layout
from zsbench.provenance import digest, file_sha256, read_json, write_atomic
from zsbench.systems import UnknownSystemError
from zsbench.systems.base import Rows


class ScoresFileError(UnknownSystemError):
    """A csv of scores that does not fit the dataset; the message names the file and what is wrong."""


def import_scores(root: Path, system: str, dataset: str, csv: Path) -> int:
    """Check a csv against a prepared dataset and keep it for the system `system` (family `imported`).

    Columns: `sample_id` as in the dataset's rows.parquet, and one column a label (`label` or `score:label`).

    Args:
        root: `results/<run>`.
        system: id of the system in the config.
        dataset: id of the prepared dataset.
        csv: the file.

    Returns:
        Rows kept.

    Raises:
        ScoresFileError: columns missing or unknown, ids that repeat or are not in the dataset, values not finite.
    """
    layout = Layout(Path(root))
    facts = read_json(layout.dataset_card(dataset))
    names: list[str] = facts.get("label_names", facts["labels"])
    frame = pd.read_csv(csv, dtype={"sample_id": str}).rename(columns=lambda name: str(name).removeprefix("score:"))
    wanted = ["sample_id", *names]
    for column in wanted:
        if column not in frame:
            raise ScoresFileError(f"{csv}: no column {column!r}{suggest(column, frame.columns)}")
    extra = [column for column in frame if column not in wanted]
    if extra:
        raise ScoresFileError(f"{csv}: column {extra[0]!r} is no label of {dataset!r}{suggest(extra[0], wanted)}")
    known = set(pd.read_parquet(layout.dataset(dataset), columns=["sample_id"])["sample_id"])
    strange = [sample for sample in frame["sample_id"] if sample not in known]
    if strange or frame["sample_id"].duplicated().any():
        bad = strange[0] if strange else frame["sample_id"][frame["sample_id"].duplicated()].iloc[0]
        raise ScoresFileError(f"{csv}: sample_id {bad!r} {'is not in ' + repr(dataset) if strange else 'repeats'}")
    values = frame[names].apply(pd.to_numeric, errors="coerce")
    if not np.isfinite(values.to_numpy(dtype=float)).all():
        row = int(np.flatnonzero(~np.isfinite(values.to_numpy(dtype=float)).all(axis=1))[0])
        raise ScoresFileError(f"{csv}: scores of sample_id {frame['sample_id'][row]!r} are not all finite numbers")
    kept = pd.concat([frame[["sample_id"]], values.astype(np.float32)], axis=1)
    target = layout.imported(system, dataset)
    write_atomic(target, lambda path: kept.to_parquet(path, index=False))
    return len(kept)


def source_of(spec: dict[str, Any], layout: Layout) -> str:
    """Identity of all stored scores of a system."""
    files = [layout.imported(spec["system"], dataset) for dataset in spec["datasets"]]
    return digest([(file.name, file_sha256(file)) for file in files if file.is_file()])


class ImportedScores:
    """Hands out stored scores by sample id."""

    def __init__(self, system: str, layout: Layout) -> None:
        self.system, self.layout = system, layout

    def score_rows(self, rows: Rows) -> np.ndarray:
        """Scores (n, L).

        Raises:
            ScoresFileError: nothing was imported for the dataset, or not for all rows.
        """
        path = self.layout.imported(self.system, rows.dataset)
        how = f"run `zsbench import-scores --system {self.system} --dataset {rows.dataset} FILE.csv`"
        if not path.is_file():
            raise ScoresFileError(f"systems.{self.system}: no scores for {rows.dataset!r}; {how}")
        frame = pd.read_parquet(path).set_index("sample_id")
        missing = [sample for sample in rows.sample_ids if sample not in frame.index]
        if missing:
            raise ScoresFileError(
                f"systems.{self.system}: {len(missing)} of {len(rows.sample_ids)} rows of {rows.dataset!r} "
                f"have no scores, first {missing[0]!r}; complete the csv and {how}"
            )
        return frame.loc[rows.sample_ids, rows.labels].to_numpy()


def build(spec: dict[str, Any], layout: Layout) -> ImportedScores:
    """The stored scores of the system that the spec names."""
    return ImportedScores(spec["system"], layout)
