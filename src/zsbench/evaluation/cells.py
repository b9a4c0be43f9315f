"""Cells as arrays: the stored scores of one (suite, dataset, system, seed), checked against their card.

Axis legend: n rows, L labels.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from zsbench.evaluation.ties import winners
from zsbench.store.cells import OK, cell_name, read_files, status
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json

SCORE_PREFIX = "score:"


@dataclass(frozen=True)
class Cell:
    """Scores of one system on one dataset.

    Attributes:
        rows_digest: digest of the rows (ids, splits and gold labels in file order); equal digests mean paired rows.
        split: (n,) split of each row.
        gold: (n, L) bool.
        scores: (n, L), finite.
        card: contents of the cell's card, i.e. how the cell was produced.
        sample_ids: (n,) ids of the rows.
        label_names: (L,) names of the score columns.
    """

    suite: str
    dataset: str
    system: str
    seed: int
    rows_digest: str
    split: np.ndarray
    gold: np.ndarray
    scores: np.ndarray
    card: dict[str, Any]
    sample_ids: Sequence[str]
    label_names: Sequence[str]

    @cached_property
    def winners(self) -> np.ndarray:
        """(n,) index of the label with the highest score in each row; ties are broken as in `ties.winners`."""
        return winners(self.scores, self.sample_ids, self.label_names)

    @property
    def name(self) -> str:
        return cell_name(self.suite, self.dataset, self.system, self.seed)


def read_cells(layout: Layout, suite: str, dataset: dict[str, Any], system: dict[str, Any]) -> list[Cell]:
    """One cell per seed of the system, in spec order; an empty list if any of them has no scores.

    A mean over fewer seeds than on other datasets would not be comparable.
    """
    cards = [layout.card(suite, dataset["id"], system["id"], seed) for seed in system["seeds"]]
    if any(status(read_json(card)) != OK for card in cards if card.is_file()):
        return []
    return [read_cell(layout, suite, dataset, system["id"], seed) for seed in system["seeds"]]


def paired_cells(
    layout: Layout, suite: str, dataset: dict[str, Any], systems: list[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], list[Cell]]]:
    """(system, its cells) for every system that has scores for all seeds (see `read_cells`).

    All cells have the same rows, so differences between them are paired.

    Raises:
        IntegrityError: two cells of the dataset have different rows, splits or gold labels.
    """
    first: Cell | None = None
    for system in systems:
        cells = read_cells(layout, suite, dataset, system)
        for cell in cells:
            first = first or cell
            if cell.rows_digest != first.rows_digest:
                raise IntegrityError(
                    f"cells {first.name} and {cell.name} have different rows or gold labels; score both again"
                )
        if cells:
            yield system, cells


def read_cell(layout: Layout, suite: str, dataset: dict[str, Any], system: str, seed: int) -> Cell:
    """Read and check one cell.

    Args:
        dataset: its entry in the analysis spec (`id`, `task`, `label_names` in order).

    Raises:
        IntegrityError: a file is missing, has changed since it was written, or does not match the spec; the message
            names the cell.
    """
    name = cell_name(suite, dataset["id"], system, seed)
    card, table = read_files(layout, (suite, dataset["id"], system, seed))
    columns = [column for column in table.column_names if column.startswith(SCORE_PREFIX)]
    labels = [column.removeprefix(SCORE_PREFIX) for column in columns]
    if labels != list(dataset["label_names"]):
        raise IntegrityError(f"cell {name}: scores are for labels {labels}; expected {dataset['label_names']}")
    if not table.num_rows:
        raise IntegrityError(f"cell {name}: no rows")
    scores = np.column_stack([table[column].to_numpy() for column in columns]).astype(np.float64)
    if not np.isfinite(scores).all():
        raise IntegrityError(f"cell {name}: {int((~np.isfinite(scores)).sum())} non-finite scores")
    gold = _one_hot(table["gold"], len(labels), name)
    if dataset["task"] == "single" and (gold.sum(axis=1) != 1).any():
        raise IntegrityError(f"cell {name}: rows without exactly one gold label, although the task is single-label")
    splits = table["split"].combine_chunks().dictionary_encode()
    split = np.array(splits.dictionary.to_pylist(), dtype=object)[splits.indices.to_numpy()]
    sample_ids = table["sample_id"].to_pylist()
    identity = hashlib.sha256("\n".join(sample_ids).encode())
    identity.update("\n".join(split).encode())
    identity.update(gold.tobytes())
    digest = identity.hexdigest()
    return Cell(suite, dataset["id"], system, seed, digest, split, gold, scores, card, sample_ids, labels)


def _one_hot(column: pa.ChunkedArray, labels: int, name: str) -> np.ndarray:
    """Lists of gold label indices as (n, L) bool."""
    lists = column.combine_chunks()
    counts, values = lists.value_lengths().to_numpy(), lists.flatten().to_numpy()
    if values.size and not (values.min() >= 0 and values.max() < labels):
        raise IntegrityError(f"cell {name}: gold indices outside 0 ... {labels - 1}")
    gold = np.zeros((len(lists), labels), dtype=bool)
    gold[np.repeat(np.arange(len(lists)), counts), values] = True
    return gold
