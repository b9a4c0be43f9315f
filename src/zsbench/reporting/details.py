"""Details behind each number on the page: confusion matrix, F1 per label, and a sample of misclassified texts."""

from typing import Any

import numpy as np
import pandas as pd

from zsbench.evaluation.cells import Cell
from zsbench.evaluation.protocols import Decision, representative_decision
from zsbench.reporting.explain import open_cell
from zsbench.reporting.frames import RunData
from zsbench.store.cells import CellId

SAMPLE, CHARACTERS, SCORES = 6, 400, 3  # per cell: misclassified texts; per text: characters, scores shown
HASH = 12  # hex digits shown
FACTS = {
    "seed": "seed",
    "rows scored": "rows",
    "texts cut": "truncated_texts",
    "labels cut": "truncated_labels",
    "trained on this set": "seen",
    "wording": "verbalisation",
    "precision": "precision",
    "device": "device",
    "weights": "weights_sha256",
    "scores": "scores_sha256",
}


def key_of(suite: str, dataset: str, system: str) -> str:
    """Key of a cell in the page's URL fragment: `#cell/<key>`."""
    return f"{suite}/{dataset}/{system}"


def details(run: RunData) -> dict[str, Any]:
    """Details of every system on every dataset, for the first seed.

    Returns:
        `cells`: key -> title, facts, labels (counts, F1, threshold), confusion matrix (L, L) of gold by prediction
        (single-label only), misclassified rows (id, gold, predicted, highest scores).
        `texts`: dataset -> sample id -> text; datasets whose licence forbids showing their texts are left out.
    """
    cells: dict[str, Any] = {}
    wanted: dict[str, set[str]] = {}
    for where in run.cells():
        if where[3] == run.seeds(where[2])[0]:
            shown = _detail(run, where)
            cells[key_of(*where[:3])] = shown
            wanted.setdefault(where[1], set()).update(row[0] for row in shown["wrong"])
    texts = {dataset: _texts(run, dataset, ids) for dataset, ids in wanted.items()}
    return {"cells": cells, "texts": {dataset: by_id for dataset, by_id in texts.items() if by_id}}


def _detail(run: RunData, where: CellId) -> dict[str, Any]:
    cell = open_cell(run.layout, where)
    decision = representative_decision(run.layout, cell)
    gold, given = cell.gold[decision.rows], decision.predictions
    wrong = np.flatnonzero((gold != given).any(axis=1))
    facts = {name: cell.card.get(key) for name, key in FACTS.items()} | {
        "decided": f"{decision.protocol} on {decision.split}"
        + (f", first of {len(decision.partitions)} partitions" if len(decision.partitions) > 1 else "")
    }
    single = cell.card["task"] == "single"
    return {
        "title": f"{cell.system} on {run.titles[cell.dataset]}",
        "dataset": cell.dataset,
        "facts": [[name, _shown(value)] for name, value in facts.items() if value not in (None, "")],
        "labels": _labels(cell, decision),
        "confusion": (gold.astype(int).T @ given.astype(int)).tolist() if single else None,
        "rows": len(gold),
        "errors": len(wrong),
        # Rows are sorted by hash of text, so the first errors are a random sample, in the same order for all systems.
        "wrong": [_wrong(cell, int(decision.rows[row]), given[row]) for row in wrong[:SAMPLE]],
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {split}" for split, count in value.items())
    return value[:HASH] if isinstance(value, str) and len(value) == 64 else str(value)


def _labels(cell: Cell, decision: Decision) -> list[dict[str, Any]]:
    """Counts and F1 of each label; F1 is None for a label that is neither gold nor predicted."""
    gold, given = cell.gold[decision.rows], decision.predictions
    counts = zip(cell.label_names, gold.sum(0), given.sum(0), (gold & given).sum(0), strict=True)
    cuts = decision.thresholds if decision.thresholds is not None else [None] * gold.shape[1]
    return [
        {
            "name": name,
            **{key: int(count) for key, count in (("gold", positive), ("given", taken), ("right", hits))},
            "f1": float(2 * hits / (positive + taken)) if positive + taken else None,
            "threshold": None if cut is None else float(cut),
        }
        for (name, positive, taken, hits), cut in zip(counts, cuts, strict=True)
    ]


def _wrong(cell: Cell, row: int, given: np.ndarray) -> list[Any]:
    """(id, gold labels, predicted labels, [label, score] of the highest scores) of one row."""
    best = np.argsort(-cell.scores[row], kind="stable")[:SCORES]
    scores = [[int(label), f"{cell.scores[row, label]:.3f}"] for label in best]
    return [cell.sample_ids[row], np.flatnonzero(cell.gold[row]).tolist(), np.flatnonzero(given).tolist(), scores]


def _texts(run: RunData, dataset: str, ids: set[str]) -> dict[str, str]:
    """Truncated texts of these rows; {} if the card forbids showing them, or the prepared rows are missing."""
    path = run.layout.dataset(dataset)
    if not ids or not path.is_file() or not run.dataset_card(dataset).get("redistribute", True):
        return {}
    rows = pd.read_parquet(path, columns=["sample_id", "text"], filters=[("sample_id", "in", sorted(ids))])
    cut = [f"{text[:CHARACTERS]}…" if len(text) > CHARACTERS else text for text in rows["text"]]
    return dict(sorted(zip(rows["sample_id"], cut, strict=True)))
