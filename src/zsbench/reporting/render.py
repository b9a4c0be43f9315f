"""A table as numbers with the roles of its columns, and its forms: tidy CSV, Markdown, LaTeX, HTML.

Nothing is formatted before `cells`; the same table gives the same bytes.
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
MOST_ROWS = 20  # of a long table that the page shows before it is asked for all
TEMPLATES = Path(__file__).with_name("templates")
# What each flag prints behind a cell; a flag `baseline.unmoved` prints the mark of `unmoved`.
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
    """What one printed column shows of a table's frame.

    Attributes:
        title: heading.
        value: frame column with the value.
        kind: text, count, number, signed (with a plus sign), share (in per cent), p, given (as somebody
            printed it), or interval (of the value alone, no estimate).
        digits: of a number; 0 stands for `DIGITS`, or `MOST_DIGITS` where the intervals are that narrow; of a share,
            where 0 stands for 1.
        interval: frame columns (low, high), printed behind the value.
        plus: frame column of a second count, printed as `value + plus`.
        sets: frame columns (count, total): over how many of the datasets the value is, printed where not over all.
        marks: flag columns, see `MARKS`.
        bold: flag column.
        at: of a table with `spread`, the value of that frame column whose rows are shown here.
        status: frame column with the word that stands for a missing value ("n/a", "failed"); "" shows a dash.
        volatile: whether equal runs may differ in it (times, memory).
        extra: left out of Markdown and LaTeX, and on the page shown by choice alone.
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
    """Numbers, and how they are to be shown.

    Attributes:
        title: caption.
        frame: tidy numbers: estimates, bounds, p and flags in columns of their own; the printed numbers are floats.
        columns: printed columns; the first heads its row. By default every column of the frame under its name.
        keys: frame columns that name a printed row; without them every frame row is one.
        spread: frame column whose values are spread over printed columns (`Column.at`).
        group: frame column that names blocks of rows, each under a heading of its own; its rows lie together.
        notes: footnotes, whole sentences.
        signature: one line that says how the numbers came to be, for copying beside a number.
        name: file name without ending.
        kind: see `plan.contents.ReportItem`.
        section: of the page that shows it.
    """

    title: str
    frame: pd.DataFrame
    columns: tuple[Column, ...] = ()
    keys: tuple[str, ...] = ()
    spread: str = ""
    group: str = ""
    notes: tuple[str, ...] = ()
    signature: str = ""
    name: str = ""
    kind: str = ""
    section: str = ""

    def __post_init__(self) -> None:
        if not self.columns:
            object.__setattr__(self, "columns", tuple(map(_plain_column, self.frame.items())))
        shown = [c for c in self.columns if c.kind != "text"]
        numbers = {name for c in shown for name in (c.value, c.plus, *c.interval, *c.sets) if name in self.frame}
        object.__setattr__(self, "frame", self.frame.astype(dict.fromkeys(numbers, float)))


def _plain_column(named: tuple[Any, pd.Series]) -> Column:
    """A frame column as it is; whole numbers without decimals."""
    name, values = named
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return Column(name, name)
    return Column(name, name, "count" if (values.dropna() % 1 == 0).all() else "number")


@dataclass(frozen=True)
class Cell:
    """A printed cell: a value, what goes with it (interval, number of sets), its marks, and its frame row."""

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
    """A p value in three digits; below them `<0.001`."""
    return "<0.001" if p < 0.001 else number(p, 3)


def supported_digits(widths: pd.Series) -> int:
    """Digits that intervals of these widths support: the width's second significant digit, 3 to 4."""
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
    """Of every printed row: value of the spread column -> frame row; "" -> the row that names it."""
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
    """One frame row as one column shows it."""
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
    """The table without columns that hold nothing but dashes, and without the extra ones unless asked for."""
    shown = [column for column in table.columns if extra or not column.extra]
    lines = cells(replace(table, columns=tuple(shown)))
    filled = [
        c for c, column in enumerate(zip(*lines, strict=True)) if any(cell.text not in (EMPTY, "") for cell in column)
    ]
    return replace(table, columns=tuple(shown[c] for c in filled) if lines else tuple(shown))


def grouped(table: Table) -> list[tuple[str, list[list[Cell]]]]:
    """The printed rows in their blocks: (heading, rows); one block without a heading where there is no `group`."""
    blocks = itertools.groupby(cells(table), key=lambda line: str(line[0].row.get(table.group, "")))
    return [(heading, list(lines)) for heading, lines in blocks]


def picked(table: Table, titles: tuple[str, ...]) -> Table:
    """The table with these printed columns alone.

    Raises:
        ValueError: it has no such column.
    """
    by_title = {column.title: column for column in table.columns}
    for title in titles:
        if title not in by_title:
            raise ValueError(f"table {table.name}: no column {title!r}; allowed: {', '.join(by_title)}")
    return replace(table, columns=tuple(replace(by_title[title], extra=False) for title in titles))


def words_table(name: str, title: str, frame: pd.DataFrame) -> Table:
    """A table of a frame whose cells are shown as they are; columns that hold numbers alone are sorted as such."""
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
    """A Markdown table, then notes and signature.

    Args:
        short: leave out the notes, and the blocks of rows behind the first `MOST_ROWS`.
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
    rows = [
        [escape_tex(cell.shown) if not cell.bold else _bold_tex(cell) for cell in row] for row in cells(table)
    ]  # after "\\" a "[" is an argument
    frame = pd.DataFrame([[f"{{}}{line[0]}" if line[0].startswith("[") else line[0], *line[1:]] for line in rows])
    titles = [escape_tex(column.title) for column in table.columns]
    body = frame.reindex(columns=range(len(titles))).style.hide(axis="index").format_index(titles.__getitem__, axis=1)
    align = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    lines = [f"% {table.signature}"] if table.signature else []
    lines.append(body.to_latex(hrules=True, column_format=align).strip())
    return "\n".join([*lines, *(rf"{{\par\footnotesize {escape_tex(note)}\par}}" for note in table.notes)]) + "\n"


def _bold_tex(cell: Cell) -> str:
    return f"\\textbf{{{escape_tex(cell.text)}}} {escape_tex(cell.marks)}".strip()


def to_html(
    table: Table, link: Callable[[Mapping[str, Any], Column], str] = lambda row, column: "", csv: str = ""
) -> str:
    """A table of the page: sortable, with a filter and a choice of columns; an interval stands below its number.

    Args:
        link: (frame row, column) -> address, or "".
        csv: address of the tidy CSV, or "".
    """
    table = trimmed(table, extra=True)
    blocks = [
        (
            heading,
            [
                [(c, column, link(c.row, column)) for c, column in zip(line, table.columns, strict=True)]
                for line in lines
            ],
        )
        for heading, lines in grouped(table)
    ]
    count = sum(len(lines) for _, lines in blocks)
    return (
        environment(True)
        .get_template("table.html")
        .render(table=table, blocks=blocks, count=count, csv=csv, most=MOST_ROWS)
        .strip()
    )


def environment(html: bool) -> jinja2.Environment:
    """Templates with every value escaped in HTML, and an error for a value that is missing."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=not html,
        lstrip_blocks=not html,
        keep_trailing_newline=True,
    )


def embedded_json(value: Any) -> Markup:
    """JSON for a `script` element, which no text in it can end."""
    return Markup(json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))


# --- files ---


FORMS: dict[str, Callable[[Table], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
SIDECAR = "json"  # what the CSV alone does not say


def write_table(folder: Path, table: Table) -> None:
    """`<name>.csv` (tidy numbers), `.json` (title, columns' roles, notes), `.md` and `.tex`."""
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
    """What `write_table` wrote.

    Raises:
        FileNotFoundError: not written.
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
    """JSON's lists as the tuples that they were."""
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
    """Text that LaTeX prints as it stands; straight double quotes become typographic ones."""
    text = re.sub(r'"([^"]*)"', r"``\1''", text)
    escaped = "".join(_TEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


_MARKDOWN = str.maketrans(
    {character: f"\\{character}" for character in "\\`*|~$"} | {"<": "&lt;", ">": "&gt;", "\n": " "}
)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it stands, also on hosts that read `$` as mathematics and `~~` as struck out."""
    escaped = re.sub(r"&(?=[#\w]+;)", "&amp;", text).translate(_MARKDOWN).replace("](", r"]\(")
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", escaped)  # inside a word it is no emphasis
