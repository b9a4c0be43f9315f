"""Tables as numbers with roles for their columns, rendered as tidy CSV, Markdown, LaTeX and HTML.

Numbers are formatted only in `cells`. Rendering is deterministic: the same table gives the same bytes.
"""

import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from zsbench.store.provenance import read_json, write_json, write_text

EMPTY = "–"
DIGITS, MOST_DIGITS = 3, 4
MOST_ROWS = 20  # rows of a long table that the page shows initially
TEMPLATES = Path(__file__).with_name("templates")
# Flag -> mark printed after the value; a flag such as `baseline.unmoved` prints the mark of `unmoved`.
MARKS = {
    "below": "†",
    "seen": "‡",
    "tuned": "‡",
    "supervised": "◇",
    "chosen": "¶",
    "unmoved": "§",
    "differs": "*",
    "checkpoint_differs": "°",
}


@dataclass(frozen=True)
class Column:
    """A printed column of a table.

    Attributes:
        title: heading.
        value: frame column with the value.
        kind: text, count, number, signed (with a plus sign), share (in percent), p, given (as published), or interval
            (only the interval of the value).
        digits: decimals of a number, where 0 stands for `DIGITS`, or `MOST_DIGITS` if the intervals are that narrow;
            decimals of a share, where 0 stands for 1.
        interval: frame columns (low, high), printed after the value.
        plus: frame column with a second count, printed as `value + plus`.
        sets: frame columns (count, total): the number of datasets that the value covers, printed if not all.
        marks: flag columns, see `MARKS`.
        bold: flag column.
        at: for a table with `spread`, the value of the spread column whose rows are shown here.
        status: frame column with the word to show for a missing value ("n/a", "failed"); "" shows a dash.
        volatile: may differ between otherwise equal runs (times, memory).
        extra: left out of Markdown and LaTeX, and hidden by default on the page.
    """

    title: str
    value: str
    kind: str = "text"
    digits: int = 0
    interval: tuple[str, ...] = ()
    plus: str = ""
    sets: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    bold: str = ""
    at: str = ""
    status: str = "status"
    volatile: bool = False
    extra: bool = False


@dataclass(frozen=True)
class Table:
    """Numbers, and how to show them.

    Attributes:
        title: caption.
        frame: tidy numbers, with separate columns for estimates, bounds, p and flags; printed numbers are floats.
        columns: printed columns; the first is the row header.
        keys: frame columns that identify a printed row; by default, every frame row is one.
        spread: frame column whose values are spread over printed columns (`Column.at`).
        group: frame column that divides rows into blocks with a heading each; rows of a block are contiguous.
        notes: footnotes, in whole sentences.
        signature: one line on how the numbers were computed, to be quoted with a number.
        name: file name without extension.
        kind: see `plan.contents.ReportItem`.
        section: section of the page.
    """

    title: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    keys: tuple[str, ...] = ()
    spread: str = ""
    group: str = ""
    notes: tuple[str, ...] = ()
    signature: str = ""
    name: str = ""
    kind: str = ""
    section: str = ""

    def __post_init__(self) -> None:
        shown = [c for c in self.columns if c.kind != "text"]
        numbers = {name for c in shown for name in (c.value, c.plus, *c.interval, *c.sets) if name in self.frame}
        object.__setattr__(self, "frame", self.frame.astype(dict.fromkeys(numbers, float)))


@dataclass(frozen=True)
class Cell:
    """A printed cell: value, additions to it (interval, number of sets), marks, sort key, and frame row."""

    value: str
    beside: str = ""
    marks: str = ""
    bold: bool = False
    sort: float | None = None
    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return f"{self.value} {self.beside}".strip()

    @property
    def shown(self) -> str:
        return f"{self.text} {self.marks}".strip()


def number(value: float, digits: int, signed: bool = False) -> str:
    """Fixed precision, never `-0.000`; a missing value is a dash."""
    if pd.isna(value):
        return EMPTY
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        return text.removeprefix("-")
    return f"+{text}" if signed and value > 0 else text


def interval_text(low: float, high: float, digits: int = DIGITS, signed: bool = True) -> str:
    """`[low, high]`."""
    return f"[{number(low, digits, signed)}, {number(high, digits, signed)}]"


def p_text(p: float) -> str:
    """A p value with three decimals, or `<0.001`."""
    return "<0.001" if p < 0.001 else number(p, 3)


def supported_digits(widths: pd.Series) -> int:
    """Decimals that intervals of these widths support: up to the width's second significant digit, 3 to 4."""
    width = widths.median()
    if not width > 0:
        return DIGITS
    return min(MOST_DIGITS, max(DIGITS, 1 - math.floor(math.log10(width))))


def cells(table: Table) -> list[list[Cell]]:
    """The printed rows of a table."""
    digits = [_digits(table.frame, column) for column in table.columns]
    printed = []
    for rows in _printed_rows(table):
        default = rows.get("", {})
        line = []
        for column, precision in zip(table.columns, digits, strict=True):
            line.append(_cell(rows.get(column.at, {}) if column.at else default, column, precision))
        printed.append(line)
    return printed


def _printed_rows(table: Table) -> list[dict[str, dict[str, Any]]]:
    """For each printed row: value of the spread column -> frame row; "" -> the row's first frame row."""
    records = [{str(key): value for key, value in record.items()} for record in table.frame.to_dict("records")]
    if not table.spread:
        return [{"": record} for record in records]
    rows: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for record in records:
        row = rows.setdefault(tuple(record[key] for key in table.keys), {"": record})
        row[record[table.spread]] = record
    return list(rows.values())


def _digits(frame: pd.DataFrame, column: Column) -> int:
    if column.digits or not column.interval:
        return column.digits or DIGITS
    rows = frame[frame[column.value].notna()]
    return supported_digits(rows[column.interval[1]] - rows[column.interval[0]])


def _cell(row: Mapping[str, Any], column: Column, digits: int) -> Cell:
    """The printed cell of one frame row in one column."""
    value = row.get(column.value)
    marks = "".join(dict.fromkeys(MARKS[flag.split(".")[-1]] for flag in column.marks if row.get(flag) is True))
    if column.kind == "text":
        return Cell("" if value is None or pd.isna(value) else str(value), marks=marks, row=row)
    if value is None or pd.isna(value):
        return Cell(str(row.get(column.status) or EMPTY), row=row)
    bounds = tuple(row[name] for name in column.interval)
    beside = []
    if column.kind == "given":
        beside += [f"[{', '.join(f'{bound:g}' for bound in bounds)}]"] if bounds else []
    elif bounds and column.kind != "interval" and not pd.isna(bounds[0]):
        beside.append(interval_text(bounds[0], bounds[1], digits, column.kind == "signed"))
    if column.sets and row[column.sets[0]] != row[column.sets[1]]:
        beside.append(f"({row[column.sets[0]]:.0f} of {row[column.sets[1]]:.0f} sets)")
    words: dict[str, Callable[[], str]] = {
        "count": lambda: f"{value:,.0f}" + (f" + {row[column.plus]:,.0f}" if column.plus else ""),
        "given": lambda: f"{value:g}",
        "share": lambda: f"{value:.{column.digits or 1}%}",
        "p": lambda: p_text(value),
        "interval": lambda: interval_text(bounds[0], bounds[1], digits),
    }
    text = words.get(column.kind, lambda: number(value, digits, column.kind == "signed"))()
    return Cell(text, " ".join(beside), marks, bool(column.bold) and row.get(column.bold) is True, float(value), row)


def trimmed(table: Table, extra: bool = False) -> Table:
    """The table without empty columns, and without extra columns unless `extra`."""
    shown = [column for column in table.columns if extra or not column.extra]
    lines = cells(replace(table, columns=tuple(shown)))
    filled = [
        c for c, column in enumerate(zip(*lines, strict=True)) if any(cell.text not in (EMPTY, "") for cell in column)
    ]
    return replace(table, columns=tuple(shown[c] for c in filled) if lines else tuple(shown))


def explained(table: Table) -> tuple[str, ...]:
    """The notes of a table that explain a mark it prints, i.e. start with that mark."""
    marks = {mark for row in cells(table) for cell in row for mark in cell.marks}
    return tuple(note for note in table.notes if note[0] in marks)


def grouped(table: Table) -> list[tuple[str, list[list[Cell]]]]:
    """The printed rows in blocks: (heading, rows); a single block with heading "" if there is no `group`."""
    blocks = itertools.groupby(cells(table), key=lambda line: str(line[0].row.get(table.group, "")))
    return [(heading, list(lines)) for heading, lines in blocks]


def picked(table: Table, titles: tuple[str, ...]) -> Table:
    """The table with only these printed columns.

    Raises:
        ValueError: the table has no such column.
    """
    by_title = {column.title: column for column in table.columns}
    for title in titles:
        if title not in by_title:
            raise ValueError(f"table {table.name}: no column {title!r}; allowed: {', '.join(by_title)}")
    return replace(table, columns=tuple(replace(by_title[title], extra=False) for title in titles))


def words_table(name: str, title: str, frame: pd.DataFrame) -> Table:
    """A table of a frame with preformatted cells; columns that contain only numbers sort numerically."""
    columns = []
    numeric = frame.copy()
    for column in frame.columns:
        filled = frame[column][frame[column].astype(str) != ""]
        numbers = pd.to_numeric(filled, errors="coerce")
        if len(filled) and numbers.notna().all():
            digits = int(filled.astype(str).str.partition(".")[2].str.len().max())
            numeric[column] = pd.to_numeric(frame[column], errors="coerce")
            columns.append(Column(column, column, "number" if digits else "count", digits))
        else:
            columns.append(Column(column, column))
    return Table(title, numeric, tuple(columns), name=name)


# --- forms ---


def to_csv(table: Table) -> str:
    """The tidy numbers, unrounded."""
    return table.frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def to_markdown(table: Table, short: bool = False) -> str:
    """A Markdown table, followed by notes and signature.

    Args:
        short: leave out the notes, and the blocks of rows after the first `MOST_ROWS` rows.
    """
    table = trimmed(table)
    rows: list[list[str]] = []
    for heading, block in grouped(table):
        if short and len(rows) >= MOST_ROWS:
            break
        rows += [[f"*{escape_markdown(heading)}*", *[""] * (len(table.columns) - 1)]] if heading else []
        rows += [[_markdown_cell(cell) for cell in line] for line in block]
    align = ["left" if column.kind == "text" else "right" for column in table.columns]
    lines = [_pipe_table([column.title for column in table.columns], rows, align)]
    notes = [] if short else [f"- {escape_markdown(note)}" for note in table.notes]
    notes += [f"- `{table.signature}`"] if table.signature else []
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    return f"{f'**{text}**' if cell.bold else text} {escape_markdown(cell.marks)}".strip()


def _pipe_table(titles: Sequence[str], rows: list[list[str]], align: list[str]) -> str:
    frame = pd.DataFrame(rows, columns=list(map(escape_markdown, titles)), dtype=str)
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align if rows else None))


def to_latex(table: Table) -> str:
    """A booktabs tabular with notes below, to be `\\input` inside a table environment."""
    table = trimmed(table)
    lines = [f"% {table.signature}"] if table.signature else []
    lines.append(tabular(table.columns, [column.title for column in table.columns], cells(table)))
    return "\n".join([*lines, *(rf"{{\par\footnotesize {escape_tex(note)}\par}}" for note in table.notes)]) + "\n"


def tabular(columns: Sequence[Column], titles: Sequence[str], rows: list[list[Cell]], edge: str = "") -> str:
    """A booktabs tabular of printed cells; `edge` is put at both ends of the column format."""
    head = list(map(escape_tex, titles))
    lines = [[tex_cell(cell) for cell in row] for row in rows]
    for line in lines:
        line[0] = re.sub(r"^\[", "{}[", line[0])  # after "\\", LaTeX reads "[" as an argument
    align = "".join("l" if column.kind == "text" else "r" for column in columns)
    body = pd.DataFrame(lines).reindex(columns=range(len(head))).style.hide(axis="index")
    latex = body.format_index(head.__getitem__, axis=1).to_latex(hrules=True, column_format=f"{edge}{align}{edge}")
    return str(latex).strip()


def tex_cell(cell: Cell) -> str:
    """A printed cell in LaTeX."""
    text = escape_tex(cell.text)
    value = rf"\textbf{{{text}}}" if cell.bold else text
    return f"{value} {escape_tex(cell.marks)}".strip()


def to_html(
    table: Table, link: Callable[[Mapping[str, Any], Column], str] = lambda row, column: "", csv: str = ""
) -> Markup:
    """A table for the page: sortable, with a filter and selectable columns; intervals are below their numbers.

    Args:
        link: (frame row, column) -> URL, or "".
        csv: URL of the tidy CSV, or "".
    """
    table = trimmed(table, extra=True)
    template = environment(True).get_template("table.html")
    return Markup(template.render(table=table, blocks=grouped(table), link=link, csv=csv, most=MOST_ROWS).strip())


def environment(html: bool) -> jinja2.Environment:
    """The template environment: values are escaped if `html`, and an undefined value is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=not html,
        lstrip_blocks=not html,
        keep_trailing_newline=True,
    )


def embedded_json(value: Any) -> Markup:
    """JSON for a `script` element, escaped so that no string in it can close the element."""
    return Markup(json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))


# --- files ---


FORMS: dict[str, Callable[[Table], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
SIDECAR = "json"  # metadata of the CSV


def write_table(folder: Path, table: Table) -> None:
    """Write `<name>.csv` (tidy numbers), `.json` (title, column roles, notes), `.md` and `.tex`."""
    for ending, form in FORMS.items():
        write_text(folder / f"{table.name}.{ending}", form(table))
    facts = {key: value for key, value in vars(table).items() if key not in ("frame", "columns")}
    facts["columns"] = [asdict(column) for column in table.columns]
    facts["types"] = {name: _type(values) for name, values in table.frame.items()}
    write_json(folder / f"{table.name}.{SIDECAR}", facts)


def _type(values: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(values):
        return "bool"
    return "float" if pd.api.types.is_numeric_dtype(values) else "str"


def read_table(folder: Path, name: str) -> Table:
    """Read a table written by `write_table`.

    Raises:
        FileNotFoundError: there is no such table.
    """
    facts = read_json(folder / f"{name}.{SIDECAR}")
    types = facts.pop("types")
    numbers = {column: [""] for column, kind in types.items() if kind == "float"}
    frame = pd.read_csv(
        folder / f"{name}.csv", dtype=types, keep_default_na=False, na_values=numbers, float_precision="round_trip"
    )
    facts["columns"] = [Column(**_tuples(entry)) for entry in facts["columns"]]
    return Table(frame=frame, **_tuples(facts))


def _tuples(facts: dict[str, Any]) -> dict[str, Any]:
    """Lists from JSON converted back to tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}


# --- escapes ---


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
    "−": r"$-$",
    "°": r"$^\circ$",
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
    "\n": " ",
}


def escape_tex(text: str) -> str:
    """Text escaped so that LaTeX prints it literally; straight double quotes become typographic ones."""
    text = re.sub(r'"([^"]*)"', r"``\1''", text)
    escaped = "".join(_TEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


_MARKDOWN = str.maketrans(
    {character: f"\\{character}" for character in "\\`*|~$"} | {"<": "&lt;", ">": "&gt;", "\n": " "}
)


def escape_markdown(text: str) -> str:
    """Text escaped so that Markdown shows it literally, even on hosts that support `$` maths and `~~` strikethrough."""
    escaped = re.sub(r"&(?=[#\w]+;)", "&amp;", text).translate(_MARKDOWN).replace("](", r"]\(")
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", escaped)  # within a word it is not emphasis
