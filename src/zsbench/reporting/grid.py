"""Tables as the page shows them: cells with text, a sort value and an optional link."""

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

_NUMBER = re.compile(r"^\[?[+\-−<>≤≥~]?\s*(\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(?=$|[\s,%\]*†‡])", re.IGNORECASE)
_WORDS = re.compile(r"[^\W\d_]{2,}")  # a hash, "250 test": no number, though it may start with one


@dataclass(frozen=True)
class Cell:
    """One table cell; `sort` is what a column is ordered by, when that is not the text."""

    text: str
    href: str = ""
    anchor: str = ""
    bold: bool = False

    @property
    def sort(self) -> float | None:
        """The number the text starts with; None for words."""
        found = _NUMBER.match(self.text)
        if found is None or _WORDS.search(self.text):
            return None
        value = float(found.group(1).replace(",", ""))
        return -value if self.text.lstrip("[")[0] in "-−" else value


@dataclass(frozen=True)
class Grid:
    """A table with one header row; the first column heads its row.

    Attributes:
        name: id in the page.
        title: caption.
        source: relative path of the file with the same numbers, or "".
        notes: footnotes.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[Cell]]
    source: str = ""
    notes: list[str] = field(default_factory=list)
    numeric: list[bool] = field(init=False)

    @property
    def volatile(self) -> list[bool]:
        """Whether a column holds times or memory, which differ between equal runs; the page marks it so."""
        return [column.casefold() in ("seconds", "texts/s", "peak mb") for column in self.columns]

    def __post_init__(self) -> None:
        columns = [[row[place] for row in self.rows] for place in range(len(self.columns))]
        object.__setattr__(self, "numeric", [_is_numeric(column) for column in columns])


def _is_numeric(column: list[Cell]) -> bool:
    """Most filled cells are numbers (some may hold a mark in place of one)."""
    filled = [cell for cell in column if cell.text not in ("", "-", "–", "—", "n/a", "failed")]
    return bool(filled) and sum(cell.sort is not None for cell in filled) * 2 > len(filled)


def grid(name: str, title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Grid:
    """A grid of plain values; a value that is a `Cell` already stays as it is."""
    cells = [[value if isinstance(value, Cell) else Cell(str(value)) for value in row] for row in rows]
    return Grid(name, title, list(columns), cells)


def read_grid(path: Path, title: str, source: str, link: Callable[[dict[str, str], str], str]) -> Grid:
    """A written csv table as a grid.

    Args:
        path: a csv file with a header row; its footnotes are in `<name>.notes.txt`, a line each.
        title: caption of the table.
        source: how the page links to the file. Cells that the md table beside it has in bold are bold.
        link: (row by column title, column title) -> address within the page, or "".

    Raises:
        ValueError: a row that is longer or shorter than the header; names file and line.
    """
    with path.open(encoding="utf-8", newline="") as handle:
        lines = list(csv.reader(handle))
    columns, rows = lines[0], lines[1:]
    for place, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise ValueError(f"{path}, line {place}: {len(row)} cells under {len(columns)} column titles")
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    bold = _bold_cells(path.with_suffix(".md"))
    cells = [
        [Cell(text, link(row, column), bold=(i, j) in bold) for j, (column, text) in enumerate(row.items())]
        for i, row in enumerate(named)
    ]
    notes = path.with_suffix(".notes.txt")
    lines_of_notes = notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else []
    return Grid(path.stem, title, columns, cells, source, lines_of_notes)


def _bold_cells(path: Path) -> set[tuple[int, int]]:
    """(row, column) of the cells in bold of a written md table; none without one."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")][2:]
    return {(i, j) for i, row in enumerate(rows) for j, text in enumerate(row) if text.strip().startswith("**")}
