"""How a number was computed: from a cell's card and scores to its metrics, which are recomputed on the way.

Axis legend: n rows, L labels.
"""

from pathlib import Path
from typing import Any

import numpy as np

from zsbench.evaluation.cells import Cell, read_cell
from zsbench.evaluation.measure import DRAWS
from zsbench.plan.suites import RANDOM
from zsbench.store.cells import OK, CellId, cell_name, dataset_card, status
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json

LONGEST = 160  # characters of a fact
CARD_LINES = (
    ("system", "system"),
    ("family", "family"),
    ("settings", "settings"),
    ("seed", "seed"),
    ("model", "weights from"),
    ("licences", "licences"),
    ("weights_sha256", "weights sha256"),
    ("precision", "precision"),
    ("device", "device"),
    ("token_budget", "token budget"),
    ("source", "source digest"),
    ("command", "command"),
)


def explain(cell: Path) -> str:
    """A text that traces each number of a cell back to the settings, rows and scores that produced it.

    The checksum of the scores is verified, and every decision that needs no folds is recomputed from them; numbers that
    cannot be reproduced are reported.

    Args:
        cell: the folder `results/<run>/cells/<suite>/<dataset>/<system>/seed<k>`, or a file in it.

    Raises:
        IntegrityError: not a cell, a file is missing, or the scores do not match the card.
    """
    layout, where = _locate(cell)
    card = read_json(layout.card(*where))
    if status(card) != OK:
        made = f"cell {cell_name(*where)}\n\n{_made_by(card)}"
        return f"{made}\n\n2. No scores: {status(card)}: {card['reason']}\n"
    loaded = open_cell(layout, where)
    metrics_path = layout.metrics(*where)
    if not metrics_path.is_file():
        raise IntegrityError(f"{metrics_path} is missing; zsbench measure writes it")
    parts = [_made_by(card), _rows(layout, where, card, loaded), _scores(loaded, card)]
    parts += [_decision(loaded, block) for block in read_json(metrics_path)["decisions"]]
    return f"cell {loaded.name}\n\n" + "\n\n".join(parts) + "\n"


def open_cell(layout: Layout, where: CellId) -> Cell:
    """Read a cell with labels and task from its own card, for callers without the run's config.

    Raises:
        IntegrityError: see `read_cell`.
    """
    card = read_json(layout.card(*where))
    labels = card.get("label_names", card["labels"])
    entry = {"id": where[1], "task": card["task"], "labels": card["labels"], "label_names": labels}
    return read_cell(layout, where[0], entry, where[2], where[3])


def _locate(cell: Path) -> tuple[Layout, CellId]:
    """Root and (suite, dataset, system, seed) of a cell's folder."""
    cell = Path(cell)
    folder = cell if cell.is_dir() else cell.parent
    parts = folder.absolute().parts
    seed = parts[-1].removeprefix("seed")
    if len(parts) < 6 or parts[-5] != "cells" or not seed.isdigit() or not (folder / "card.json").is_file():
        raise IntegrityError(
            f"{cell} is not a result cell; expected results/<run>/cells/<suite>/<dataset>/<system>/seed<k> with"
            " card.json"
        )
    return Layout(Path(*parts[:-5])), (parts[-4], parts[-3], parts[-2], int(seed))


def _made_by(card: dict[str, Any]) -> str:
    lines = [f"  {words:<15} {_shown(card[key])}" for key, words in CARD_LINES if card.get(key) not in (None, {}, [])]
    return "1. What made the scores (card.json)\n" + "\n".join(lines)


def _shown(value: Any) -> str:
    """A fact on one line; long ones are truncated."""
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… (see card.json)"


def _rows(layout: Layout, where: CellId, card: dict[str, Any], cell: Cell) -> str:
    rows = ", ".join(f"{split} {int((cell.split == split).sum()):,}" for split in dict.fromkeys(cell.split))
    facts = dataset_card(layout, where[1])
    origin = f"{facts['origin']}, " if facts else ""
    same = (
        "the prepared rows are still those"
        if facts.get("rows_sha256") == card["rows_sha256"]
        else ("the prepared rows are gone or were prepared anew since")
    )
    lines = [
        f"  origin          {origin}revision {card['revision']}",
        f"  rows            {rows} (sha256 {card['rows_sha256'][:16]}; {same})",
        f"  labels          {len(card['labels'])}, wording {card['verbalisation']}, digest {card['labels_digest']}",
        f"  seen            {card['seen']} (was the system trained on this dataset?)",
    ]
    return "2. What was scored (the dataset's card)\n" + "\n".join(lines)


def _scores(cell: Cell, card: dict[str, Any]) -> str:
    n, L = cell.scores.shape
    low, high = cell.scores.min(), cell.scores.max()
    return (
        f"3. Scores (scores.parquet, sha256 {card['scores_sha256'][:16]}, verified)\n"
        f"  {n:,} rows x {L} labels, from {low:.4f} to {high:.4f}; first row: {cell.scores[0].round(4).tolist()[:8]}"
    )


def _decision(cell: Cell, block: dict[str, Any]) -> str:
    """One protocol: how labels were chosen, counts per label, and metrics, recomputed if the scores are sufficient."""
    title = f"Protocol {block['protocol']}, split {block['split']}, {block['rows']:,} rows"
    fitted = block["thresholds_fitted_on"]
    rows = np.flatnonzero(cell.split == block["split"])
    if block["protocol"] == "argmax":
        how = "  each row gets the label with the highest score (ties are broken by a hash of sample id and label)"
        taken = np.zeros_like(cell.gold)
        taken[np.arange(len(taken)), cell.winners] = True
    else:
        thresholds = np.array([block["labels"][name]["threshold"] for name in _names(cell)])
        how = f"  a label is predicted if its score reaches its threshold; thresholds fitted on: {fitted or 'nothing'}"
        taken = cell.scores >= thresholds
    lines = [how]
    if cell.card["settings"].get("control") in RANDOM:
        lines.append(
            f"  (a random control: the numbers are means over {DRAWS} draws, of which the scores above are one)"
        )
        lines += [f"    {name:<28} {_numbers(values)}" for name, values in block["labels"].items()]
    elif block["protocol"] == "cv":
        lines.append("  (each fold is decided with thresholds of the other folds; the thresholds' mean is printed)")
        lines += [f"    {name:<28} {_numbers(block['labels'][name])}" for name in _names(cell)]
    else:
        lines += _counts(cell, rows, taken[rows], block)
    lines += [f"  {name:<18} {value:.6f}" for name, value in block["metrics"].items()]
    return f"4. {title}\n" + "\n".join(lines)


def _names(cell: Cell) -> list[str]:
    """Label names in the order of the score columns."""
    return cell.card.get("label_names", cell.card["labels"])


def _numbers(values: dict[str, float]) -> str:
    return "  ".join(f"{key} {value:.4f}" for key, value in values.items() if value is not None)


def _counts(cell: Cell, rows: np.ndarray, taken: np.ndarray, block: dict[str, Any]) -> list[str]:
    """One line per label with its counts and F1, and a line with the macro-F1 computed from them."""
    gold = cell.gold[rows]
    hits, given, positive = (taken & gold).sum(0), taken.sum(0), gold.sum(0)
    total = given + positive
    f1 = np.divide(2.0 * hits, total, out=np.zeros(len(total)), where=total > 0)
    names = _names(cell)
    cuts = [block["labels"].get(name, {}).get("threshold") for name in names]
    lines = [
        f"    {'label':<28} {'gold':>6} {'given':>6} {'right':>6} {'F1':>8}"
        + (" threshold" if cuts[0] is not None else "")
    ]
    for name, *counts, value, cut in zip(names, positive, given, hits, f1, cuts, strict=True):
        numbers = " ".join(f"{count:>6,}" for count in counts)
        lines.append(f"    {name[:28]:<28} {numbers} {value:>8.4f}" + ("" if cut is None else f" {cut:>9.4f}"))
    counted = total > 0 if block["protocol"] == "argmax" else np.ones(len(total), dtype=bool)
    macro = float(f1[counted].mean())
    stored = block["metrics"]["macro_f1"]
    verdict = "as stored" if abs(macro - stored) < 1e-9 else f"NOT the stored {stored:.6f}: measure the cell again"
    return [*lines, f"  macro-F1 = mean of F1 over {int(counted.sum())} labels = {macro:.6f} ({verdict})"]
