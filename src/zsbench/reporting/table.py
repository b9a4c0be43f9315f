"""A table as values, and the same table as csv, Markdown and LaTeX. The same table gives the same bytes."""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zsbench.store.provenance import write_text

EMPTY = "–"
NO_NUMBER = ("", EMPTY, "n/a", "failed")  # cells that do not make a column one of words
DIGITS = 4  # of a metric, as the published tables have them


@dataclass(frozen=True)
class Table:
    """Rendered cells under column titles.

    Attributes:
        name: file name without ending.
        columns: titles; the first column heads its row.
        rows: texts, each row as long as `columns`.
        notes: footnotes, whole sentences.
        signature: one line that says how the numbers came to be, for copying beside a number.
        best: (row, column) of cells to print bold; csv has no bold.

    Raises:
        ValueError: a row is shorter or longer than the columns.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    signature: str = ""
    best: frozenset[tuple[int, int]] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        for place, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.name}, row {place}: {len(row)} cells under {len(self.columns)} columns")


def number(value: float | None, digits: int = DIGITS) -> str:
    """Fixed precision, never `-0.0000`; a missing value is a dash."""
    if value is None or math.isnan(value):
        return EMPTY
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def signed(value: float | None, digits: int = DIGITS) -> str:
    """Like `number`, with a plus sign."""
    text = number(value, digits)
    return text if text == EMPTY or text.startswith("-") or float(text) == 0 else f"+{text}"


def interval(low: float, high: float) -> str:
    """`[low, high]` with signs."""
    return f"[{signed(low)}, {signed(high)}]"


def p_value(value: float | None) -> str:
    """Four digits; a missing value (a comparison that is not tested) is a dash."""
    return number(value, 4)


def csv_text(table: Table) -> str:
    """Header and rows; notes stay out, so that a reader of csv needs no rule to skip them."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([table.columns, *table.rows])
    return buffer.getvalue()


def markdown_text(table: Table) -> str:
    """A Markdown table with aligned columns, then notes and signature."""
    rows = [
        [_bold(_escape_markdown(text), "**", "**", (i, j) in table.best) for j, text in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]
    lines = [[_escape_markdown(title) for title in table.columns], *rows]
    widths = [max(3, *(len(row[j]) for row in lines)) for j in range(len(table.columns))]
    right = _numeric_columns(table)
    lines.insert(1, ["-" * (width - 1) + ":" if r else "-" * width for width, r in zip(widths, right, strict=True)])
    body = []
    for row in lines:
        padded = [text.rjust(w) if r else text.ljust(w) for text, w, r in zip(row, widths, right, strict=True)]
        body.append("| " + " | ".join(padded) + " |")
    notes = [f"- {_escape_markdown(note)}" for note in table.notes]
    notes += [f"- `{table.signature}`"] if table.signature else []
    return "\n".join([*body, *([""] if notes else []), *notes]) + "\n"


def tex_text(table: Table) -> str:
    """A booktabs tabular with notes below, to be `\\input` inside a table environment."""
    right = _numeric_columns(table)
    lines = [f"% {table.signature}"] if table.signature else []
    lines += [
        r"\begin{tabular}{" + "".join("r" if r else "l" for r in right) + "}",
        r"\toprule",
        " & ".join(map(escape_tex, table.columns)) + r" \\",
        r"\midrule",
    ]
    for i, row in enumerate(table.rows):
        shown = [_bold(escape_tex(text), r"\textbf{", "}", (i, j) in table.best) for j, text in enumerate(row)]
        line = " & ".join(shown)
        lines.append(f"{'{}' if line.startswith('[') else ''}{line}" + r" \\")  # after "\\" a "[" is an argument
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {escape_tex(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def _bold(text: str, before: str, after: str, bold: bool) -> str:
    """The number bold, its marks not."""
    head, space, marks = text.partition(" ")
    return f"{before}{head}{after}{space}{marks}" if bold else text


RENDERERS = {"csv": csv_text, "md": markdown_text, "tex": tex_text}


def write_table(folder: Path, table: Table) -> None:
    """`<name>.csv`, `.md`, `.tex`, and `.notes.txt` (the footnotes, a line each, for pages that show the csv)."""
    for ending, render in RENDERERS.items():
        write_text(folder / f"{table.name}.{ending}", render(table))
    notes = [*table.notes, *([table.signature] if table.signature else [])]
    write_text(folder / f"{table.name}.notes.txt", "".join(f"{note}\n" for note in notes))


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "§": r"\S{}",
    "¶": r"\P{}",
    "◇": r"$^\diamond$",
    "–": "--",
    "Δ": r"$\Delta$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "<": r"$<$",
    ">": r"$>$",
}


def escape_tex(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    escaped = "".join(_TEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


_MARKDOWN = str.maketrans(
    {character: f"\\{character}" for character in "\\`*|~$"} | {"<": "&lt;", ">": "&gt;", "\n": " "}
)


def _escape_markdown(text: str) -> str:
    """Text that Markdown shows as it stands, also on hosts that read `$` as mathematics and `~~` as struck out."""
    escaped = re.sub(r"&(?=[#\w]+;)", "&amp;", text).translate(_MARKDOWN).replace("](", r"]\(")
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", escaped)  # inside a word it is no emphasis


def _numeric_columns(table: Table) -> list[bool]:
    """Columns whose filled cells all start like a number (or an interval) are set flush right."""
    columns = [[row[j] for row in table.rows if row[j] not in NO_NUMBER] for j in range(len(table.columns))]
    return [bool(column) and all(text.lstrip("+-[")[:1].isdigit() for text in column) for column in columns]
