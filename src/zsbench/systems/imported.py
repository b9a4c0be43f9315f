"""Scores computed elsewhere and imported from a csv: one row per sample, one column per label."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zsbench.data.errors import DataError
from zsbench.data.readers import read_table
from zsbench.store.errors import suggest
from zsbench.store.fields import ID, WORDS
from zsbench.store.integrity import read_frame, write_frame
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json, write_atomic
from zsbench.systems import DatasetRows, UnknownSystemError

SCORE = "score:"  # prefix of score columns here and in cells, so that a label called "sample_id" does not clash


class ScoresFileError(UnknownSystemError):
    """A csv of scores does not match the data set; the message names the file and the problem."""


def import_scores(root: Path, system: str, dataset: str, csv: Path) -> int:
    """Validate a csv against a prepared data set and store it for system `system` (family `imported`).

    Columns: `sample_id` as in the dataset's rows.parquet, and one column per label, either `score:label` for all of
    them or just `label`. With a label called "sample_id", only the first form is possible.

    Returns:
        Number of imported rows.

    Raises:
        ScoresFileError: invalid id, no such file or dataset, not a csv in UTF-8, missing, unknown or duplicate columns,
            duplicate ids or ids that are not in the dataset, or values that are not finite 32-bit floats.
    """
    layout = Layout(Path(root))
    names = _label_names(layout, system, dataset)
    _check_system(layout, system)
    frame = _read(csv)
    columns = _columns(csv, dataset, list(frame.columns), names)
    known = set(pd.read_parquet(layout.dataset(dataset), columns=["sample_id"])["sample_id"])
    samples = frame["sample_id"].tolist()
    unknown = [sample for sample in samples if sample not in known]
    if unknown or frame["sample_id"].duplicated().any():
        bad = unknown[0] if unknown else frame["sample_id"][frame["sample_id"].duplicated()].iloc[0]
        raise ScoresFileError(f"{csv}: sample_id {bad!r} {'is not in ' + repr(dataset) if unknown else 'repeats'}")
    values = _numbers(csv, frame, columns)
    scores = pd.DataFrame(values, columns=[f"{SCORE}{name}" for name in names])
    scores.insert(0, "sample_id", samples)
    write_atomic(layout.imported(system, dataset), lambda path: write_frame(path, scores))
    return len(scores)


def rows_without_scores(layout: Layout, system: str, dataset: str, splits: tuple[str, ...]) -> list[str]:
    """Sample ids of prepared rows without imported scores.

    Raises:
        IntegrityError: the imported file is damaged.
    """
    rows = pd.read_parquet(layout.dataset(dataset), columns=["sample_id", "split"])
    there = set(read_frame(layout.imported(system, dataset), ["sample_id"])["sample_id"])
    return [sample for sample in rows["sample_id"][rows["split"].isin(splits)] if sample not in there]


def _check_system(layout: Layout, system: str) -> None:
    """Reject a system that is not in the run's config, or has another family there."""
    if not layout.config.is_file():
        return  # no config: the rows were prepared without a workflow
    systems = read_json(layout.config)["config"]["systems"]
    known = [name for name, entry in systems.items() if entry["family"] == "imported"]
    if system not in known:
        hint = "" if known else f"; add `{system}: {{family: imported}}` to `systems` and run it with `--target data`"
        raise ScoresFileError(
            f"--system: {system!r} is not an imported system of this run{suggest(system, known)}{hint}"
        )


def _label_names(layout: Layout, system: str, dataset: str) -> list[str]:
    """Label names of a prepared dataset, after checking both ids, because they become parts of a path."""
    for what, name in (("--system", system), ("--dataset", dataset)):
        if not re.fullmatch(ID, name):
            raise ScoresFileError(f"{what}: {name!r} is not an id; allowed: {WORDS[ID]}")
    card = layout.dataset_card(dataset)
    if not card.is_file():
        raise ScoresFileError(
            f"--dataset: {dataset!r} is not prepared ({card} does not exist); run the config with `--target data` first"
        )
    facts = read_json(card)
    return facts.get("label_names", facts["labels"])


def _read(csv: Path) -> pd.DataFrame:
    """Read the file as strings; pandas would convert "True" to 1 and use the first column of long rows as index."""
    if not Path(csv).is_file():
        raise ScoresFileError(f"{csv}: no such file")
    try:
        return read_table(Path(csv), {"type": "table"})
    except DataError as error:
        raise ScoresFileError(f"{csv}: {error}") from error


def _columns(csv: Path, dataset: str, there: list[str], names: list[str]) -> list[str]:
    """The column of each label: `score:label` if all labels have one, else `label`."""
    full = [f"{SCORE}{name}" for name in names]
    columns = full if set(full) <= set(there) or "sample_id" in names else names
    for column, name in [("sample_id", "sample_id"), *zip(columns, names, strict=True)]:
        if column not in there:
            raise ScoresFileError(f"{csv}: no column {name!r}{suggest(name, there)}")
    extra = [column for column in there if column not in ("sample_id", *columns)]
    if extra:
        raise ScoresFileError(f"{csv}: column {extra[0]!r} is not a label of {dataset!r}{suggest(extra[0], names)}")
    return columns


def _numbers(csv: Path, frame: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Scores (n, L) float64."""
    numbers = [pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64) for column in columns]
    values = np.stack(numbers, axis=1)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise ScoresFileError(f"{csv}: scores of sample_id {frame['sample_id'][bad[0]]!r} are not all finite numbers")
    return values


class ImportedSystem:
    """Returns stored scores by sample id."""

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        self.system: str = spec["system"]
        self.layout = layout

    def score_rows(self, rows: DatasetRows) -> np.ndarray:
        """Scores (n, L).

        Raises:
            ScoresFileError: no scores were imported for the dataset, or not for all rows.
        """
        path = self.layout.imported(self.system, rows.dataset)
        options = f"--run {self.layout.root} --system {self.system} --dataset {rows.dataset}"
        how = f"run `zsbench import-scores {options} FILE.csv`"
        if not path.is_file():
            raise ScoresFileError(f"systems.{self.system}: no scores for {rows.dataset!r}; {how}")
        columns = [f"{SCORE}{name}" for name in rows.labels]
        try:
            frame = read_frame(path, ["sample_id", *columns]).set_index("sample_id")
        except IntegrityError as error:
            raise ScoresFileError(f"systems.{self.system}: {error}; {how}") from error
        missing = [sample for sample in rows.sample_ids if sample not in frame.index]
        if missing:
            raise ScoresFileError(
                f"systems.{self.system}: {len(missing)} of {len(rows.sample_ids)} rows of {rows.dataset!r} "
                f"have no scores, first {missing[0]!r}; complete the csv and {how}"
            )
        return frame.loc[rows.sample_ids, columns].to_numpy()
