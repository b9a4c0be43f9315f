"""Write and verify the files of a cell, i.e. the scores of one (suite, dataset, system, seed).

A cell consists of `scores.parquet` and `card.json`, which is written last and marks the cell as complete. Its `key` is
a digest of everything that affects the scores, so a cell with a matching key is never scored again.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zsbench.store.integrity import read_intact
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, file_sha256, read_json, write_atomic, write_json
from zsbench.store.secrets import mask_all

# Values of a card's `status`. A cell that is not ok has no scores, and its card gives the `reason`.
OK = "ok"
NOT_APPLICABLE = "not-applicable"  # the system cannot handle the label set; not retried
FAILED = "failed"  # the system raised an error or returned unusable scores; the next command retries

CellId = tuple[str, str, str, int]  # suite, dataset, system, seed


def status(card: dict[str, Any]) -> str:
    """Status of the cell with this card."""
    return str(card.get("status", OK))


def state(layout: Layout, cell: CellId) -> str | None:
    """Status of a stored cell; None if its card is missing or damaged."""
    card = read_intact(layout.card(*cell))
    return None if card is None else status(card)


def cell_name(suite: str, dataset: str, system: str, seed: int) -> str:
    """Name of a cell in messages: its folder below `cells/`."""
    return f"{suite}/{dataset}/{system}/seed{seed}"


def cell_ids(root: Path, suite: str = "*", system: str = "*") -> list[CellId]:
    """Ids of the stored cells of `results/<run>`, sorted; `suite` and `system` are glob patterns."""
    folders = sorted(path.parts[-5:-1] for path in (root / "cells").glob(f"{suite}/*/{system}/seed*/card.json"))
    return [(*names, int(seed.removeprefix("seed"))) for *names, seed in folders]  # type: ignore[misc]


def dataset_card(layout: Layout, dataset: str) -> dict[str, Any]:
    """The card of a prepared dataset; {} if it was not prepared here."""
    path = layout.dataset_card(dataset)
    return read_json(path) if path.is_file() else {}


def write_scores(layout: Layout, cell: CellId, write: Callable[[Path], object]) -> str:
    """Let `write` create the cell's scores file; return its SHA-256. The cell is incomplete until its card exists."""
    layout.card(*cell).unlink(missing_ok=True)
    write_atomic(layout.scores(*cell), write)
    return file_sha256(layout.scores(*cell))


def write_card(layout: Layout, cell: CellId, card: dict[str, Any]) -> None:
    """Write the card, which completes the cell."""
    write_json(layout.card(*cell), mask_all(card))


def scored_card(layout: Layout, cell: CellId, key: str) -> dict[str, Any] | None:
    """The card of a complete cell with this key; None if the cell is missing, damaged, without scores or outdated."""
    card, scores = read_intact(layout.card(*cell)), layout.scores(*cell)
    current = card is not None and status(card) == OK and card["key"] == key
    return card if current and scores.is_file() and file_sha256(scores) == card["scores_sha256"] else None


def read_files(layout: Layout, cell: CellId) -> tuple[dict[str, Any], pa.Table]:
    """Card and scores of a cell, after checking the scores against the card.

    Raises:
        IntegrityError: a file is missing or has changed since it was written.
    """
    scores_path, card_path = layout.scores(*cell), layout.card(*cell)
    remedy = f"delete {layout.scored(*cell[2:])} and run again"
    for path in (scores_path, card_path):
        if not path.is_file():
            raise IntegrityError(f"cell {cell_name(*cell)} is incomplete: {path} is missing; {remedy}")
    card = read_json(card_path)
    content = scores_path.read_bytes()
    if hashlib.sha256(content).hexdigest() != card.get("scores_sha256"):
        raise IntegrityError(f"cell {cell_name(*cell)} is damaged: {scores_path} does not match its card; {remedy}")
    return card, pq.read_table(pa.BufferReader(content))
