"""The page's own tables: cells with the facts of their cards, datasets, trained models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from zsbench.reporting.frames import RunData
from zsbench.reporting.grid import Cell, Grid, grid
from zsbench.reporting.marks import UNMOVED, plain
from zsbench.store.provenance import read_json

SHORT = 12  # hex digits of a hash that a page shows


def anchor(suite: str, dataset: str, system: str) -> str:
    """Id of a cell's row in the page (its first seed's)."""
    return f"cell-{suite}-{dataset}-{system}"


def linker(run: RunData) -> Callable[[dict[str, str], str], str]:
    """Links from written tables to cells: (row by column title, column title) -> address in the page, or "".

    A number under a dataset's title belongs to the system of its row; in a table with a column "Dataset" the system's
    own name is the link.
    """
    known = {(dataset, system): anchor(suite, dataset, system) for suite, dataset, system, _ in run.cells()}
    datasets: dict[str, str] = {}
    for suite in run.spec["suites"]:
        for name, entry in run.datasets(suite).items():
            datasets |= {name: name, entry["title"]: name}

    def link(row: dict[str, str], column: str) -> str:
        if "Against" in row:  # a difference belongs to two cells
            return ""
        title = row.get("Dataset", "") if column == "System" else column
        found = known.get((datasets.get(title, ""), plain(row.get("System", ""))))
        return f"#{found}" if found else ""

    return link


@dataclass(frozen=True)
class CardGroup:
    """Cells of one dataset: what they share, then a row each."""

    title: str
    shared: str
    grid: Grid


COLUMNS = ["system", "seed", "macro-F1", "seen", "dtype", "device", "texts/s", "peak MB", "cut texts", "cut labels"]


def card_groups(run: RunData) -> list[CardGroup]:
    """The main facts of every cell's card, by dataset."""
    metric = run.main_metric()
    groups: dict[tuple[str, str], list[tuple[str, int, dict[str, Any]]]] = {}
    for suite, dataset, system, seed in run.cells():
        card = read_json(run.layout.card(suite, dataset, system, seed))
        groups.setdefault((suite, dataset), []).append((system, seed, card))
    found = []
    for (suite, dataset), cells in groups.items():
        first, rows = cells[0][2], []
        for place, (system, seed, card) in enumerate(cells):
            new = place == 0 or cells[place - 1][0] != system
            name = Cell(system, anchor=anchor(suite, dataset, system) if new else "")
            value = metric.get((suite, dataset, system, seed))
            rows.append([name, seed, "" if value is None else f"{value:.3f}", *_facts(card)])
        title = run.datasets(suite)[dataset]["title"]
        columns = [*COLUMNS, "weights", "scores", "key"]
        labels = f"{len(first['labels'])} labels ({first['verbalisation']}, digest {first['labels_digest'][:SHORT]})"
        shared = f"{title}: revision {first['revision']}, {labels}."
        table = grid(f"cells-{suite}-{dataset}", f"Cells on {title}", columns, rows)
        found.append(CardGroup(title, shared, table))
    return found


def _facts(card: dict[str, Any]) -> list[str]:
    """The columns after the metric, from a card; a fact that the card lacks stays empty."""
    plain = ("seen", "dtype", "device", "texts_per_second", "peak_memory_mb", "truncated_texts", "truncated_labels")
    values = [card.get(key) for key in plain]
    shown = [f"{value:.1f}" if isinstance(value, float) else str("" if value is None else value) for value in values]
    return [*shown, *(str(card.get(key) or "")[:SHORT] for key in ("weights_sha256", "scores_sha256", "key"))]


@dataclass(frozen=True)
class DatasetCard:
    """A dataset as the page describes it."""

    title: str
    facts: list[tuple[str, str]]


def dataset_cards(run: RunData) -> list[DatasetCard]:
    """Origin, rows, anomalies and licence of every dataset."""
    cards = []
    for suite in run.spec["suites"]:
        for name in run.datasets(suite):
            path = run.layout.dataset_card(name)
            if path.is_file():
                cards.append(_dataset_card(read_json(path)))
    return cards


def _dataset_card(card: dict[str, Any]) -> DatasetCard:
    quality = card["quality"]
    rows = ", ".join(f"{split} {count:,}" for split, count in card["rows"].items())
    sample = card.get("sample")
    drawn = f" (a stratified sample, seed {sample['seed']}, of {quality['rows']:,})" if sample else ""
    odd = [
        f"{quality['empty_texts']:,} empty texts",
        f"{quality['duplicate_texts']:,} duplicate texts",
        f"{quality['rows_without_gold']:,} rows without a gold label",
    ]
    facts = [
        ("rows scored", rows + drawn),
        ("anomalies in the whole set", ", ".join(odd)),
        ("words a text", f"mean {quality['words_mean']}, 95th percentile {quality['words_p95']}"),
        ("labels", f"{len(card['labels'])}, wording {card['verbalisation']}: {', '.join(card['labels'])}"),
        ("origin", f"{card['origin']}, revision {card['revision']}"),
        ("licence", card["licence"]),
        ("citation", card["citation"]),
        ("note", card.get("note", "")),
    ]
    return DatasetCard(card["title"], [(key, value) for key, value in facts if value])


def missing_grid(run: RunData) -> Grid | None:
    """One row a system and dataset without a number; None where there is none."""
    rows = [
        [system, run.datasets(suite)[dataset]["title"], ", ".join(map(str, cell.seeds)), cell.word, cell.reason]
        for (suite, dataset, system), cell in run.missing.items()
    ]
    if not rows:
        return None
    title = "Without numbers: n/a, the system cannot take the label set; failed, the same command tries again"
    return grid("missing", title, ["System", "Dataset", "Seeds", "Cell", "Why"], rows)


def training_grid(run: RunData) -> Grid | None:
    """One row a trained model and seed."""
    rows = []
    for (model, seed), record in run.trainings().items():
        best = record["best"]
        rows.append(
            [
                f"{model} {UNMOVED}" if record.get("selection_never_moved") else model,
                seed,
                f"{best['validation']:.4f}",
                best["step"],
                f"{record['seconds']:,.0f}",
                f"{record['parameters']:,}",
                record["device"],
                record["weights_sha256"][:SHORT],
            ]
        )
    if not rows:
        return None
    columns = ["model", "seed", "best validation", "at step or epoch", "seconds", "parameters", "device", "weights"]
    return grid("trainings", "Trained models", columns, rows)


def newest(run: RunData) -> str:
    """Time of the run's newest card, UTC; "" for a run without cells. The clock of the rendering is never read."""
    times = [run.layout.card(*cell).stat().st_mtime for cell in run.cells()]
    return pd.Timestamp(max(times), unit="s").strftime("%Y-%m-%d %H:%M UTC") if times else ""
