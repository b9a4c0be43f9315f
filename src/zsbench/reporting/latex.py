r"""A report table as a LaTeX float for a paper: chosen columns, short names, never wider than the page.

LaTeX itself measures the tabular and scales it down if it is wider than the line. A table that would become unreadable
is refused here, based on an estimate of its width from the number of characters.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from zsbench.reporting.frames import AVERAGE
from zsbench.reporting.render import Cell, Column, Table, cells, escape_tex, explained, tabular
from zsbench.store.errors import ConfigError, suggest

INTERVAL = "interval"  # the column of the interval of the column before it
PACKAGES = "booktabs, graphicx"
CHARACTER, GAP = 4.6, 12.0  # points at \small: mean character width, space between columns
ONE_COLUMN, TWO_COLUMNS = 240.0, 500.0  # points: \columnwidth and \textwidth of a two-column page
FLOAT_ROWS = 50  # most rows of a float
SMALLEST = 0.65  # smallest scale: about 6 of \small's 9 points


def to_float(table: Table, run: str, columns: Sequence[str] = (), short_names: bool = False, protocol: str = "") -> str:
    r"""A `table` environment with caption and label, or `table*` if it needs the width of both columns.

    Notes that explain a printed mark are below the tabular; other notes and the signature are LaTeX comments.

    Args:
        run: id of the run, for the label `tab:<run>-<table>`.
        columns: column ids (see `column_ids`) in the desired order; by default all. The first column always comes
            first, followed by the key columns needed to tell rows apart. `interval` puts the interval of the preceding
            column into a separate column; by default, intervals are printed after their values.
        short_names: drop the prefix that all systems share (`gliznet-`) and the parenthesised part of dataset titles.
        protocol: print only the rows of this protocol (multi-label tables); by default all.

    Raises:
        ConfigError: no such column or protocol; or the table would be too small to read, or longer than a page.
    """
    table = _under(table, protocol) if protocol else table
    chosen = select(table, columns)
    printed = cells(chosen)
    if len(printed) > FLOAT_ROWS:
        raise ConfigError(f"rows: {len(printed)} do not fit on a page; allowed: at most {FLOAT_ROWS}, see --protocol")
    titles = [column.title for column in chosen.columns]
    if short_names:
        titles = [_short_title(chosen, column) for column in chosen.columns]
        printed = _short_systems(chosen, printed)
    body = [titles, *([cell.shown for cell in row] for row in printed)]
    width = _width(body)
    if width * SMALLEST > TWO_COLUMNS:
        raise ConfigError(
            f"columns: {len(titles)} columns are about {width / TWO_COLUMNS:.1f} pages wide;"
            f" allowed: fewer of {', '.join(column_ids(table))}"
        )
    star = "*" if width * 0.85 > ONE_COLUMN else ""
    below = explained(chosen)
    lines = [
        f"% Packages: {PACKAGES}. {'Spans both columns of a two-column page.' if star else 'Fits one column.'}",
        *(f"% {line}" for line in [*(note for note in table.notes if note not in below), table.signature] if line),
        rf"\begin{{table{star}}}[t]",
        r"\centering",
        rf"\caption{{{escape_tex(table.title)}}}\medskip",
        rf"\label{{tab:{run}-{table.name.replace('_', '-')}}}",
        r"\sbox0{\small%",
        f"{tabular(chosen.columns, titles, printed, '@{}')}%",
        r"}\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
        *([rf"\par\medskip{{\footnotesize\raggedright {' '.join(map(escape_tex, below))}\par}}"] if below else []),
        rf"\end{{table{star}}}",
    ]
    return "\n".join(lines) + "\n"


def _under(table: Table, protocol: str) -> Table:
    known = list(table.frame["protocol"].unique()) if "protocol" in table.frame else []
    if protocol not in known:
        raise ConfigError(f"protocol: {protocol!r} is not in table {table.name}{suggest(protocol, known)}")
    title = f"{table.title.removesuffix(', by protocol')}, protocol {protocol}"
    return replace(table, title=title, frame=table.frame[table.frame["protocol"] == protocol])


def column_ids(table: Table) -> dict[str, Column]:
    """The printed columns by id, which is the title in lower case with hyphens.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"delta": [0.1], "p": [0.5]})
    >>> list(column_ids(Table("", frame, (Column("Average Δ", "delta", "signed"), Column("p (adjusted)", "p", "p")))))
    ['average-delta', 'p-adjusted']
    """
    words = [re.findall(r"\w+", column.title.replace("Δ", "delta").lower()) for column in table.columns]
    return dict(zip(map("-".join, words), table.columns, strict=True))


def select(table: Table, columns: Sequence[str]) -> Table:
    """The table with the row's name, the other columns needed to tell rows apart, and the chosen columns.

    An unambiguous prefix of an id is enough: `average` for `average-delta`. Whole words take precedence: `p` means
    `p-adjusted`, even if there is a `product-reviews`. Column names of the table's CSV (`delta`) also work.

    Raises:
        ConfigError: no column or several columns match; or `interval` follows a column without an interval.
    """
    if not columns:
        return table
    picked: list[Column] = []
    for name in columns:
        if name == INTERVAL:
            picked[-1:] = _apart(table, picked[-1] if picked else None)
        else:
            picked.append(_column(table, name))
    heads = [c for c in table.columns if c.kind == "text" and c.value in (table.keys or table.frame)]
    named = [table.columns[0], *(column for column in picked if column in heads)]
    for head in heads:  # until row names are unique
        rows = table.frame.drop_duplicates(list(table.keys)) if table.keys else table.frame
        if not rows.duplicated([column.value for column in named]).any():
            break
        named += [head] if head not in named else []
    shown = [column for column in named if column not in picked] + picked
    return replace(table, columns=tuple(shown))


def _column(table: Table, name: str) -> Column:
    known = column_ids(table)
    whole_words = [one for one in known if one.startswith(f"{name}-")]
    matches = [name] if name in known else whole_words or [one for one in known if one.startswith(name)]
    matches = matches or [one for one, column in known.items() if column.value == name]
    if len(matches) != 1:
        problem = "begins the name of several columns" if matches else "is not a column"
        raise ConfigError(f"columns: {name!r} {problem}{suggest(name, known)}")
    return known[matches[0]]


def _apart(table: Table, column: Column | None) -> list[Column]:
    """Split a column into value and interval."""
    if column is None or not column.interval or column.kind == "interval":
        having = [name for name, one in column_ids(table).items() if one.interval and one.kind != "interval"]
        after = f"allowed: behind one of {', '.join(having)}" if having else "no column of this table has one"
        raise ConfigError(f"columns: {INTERVAL!r} follows a column without an interval; {after}")
    bounds = Column("Interval", column.interval[0], "interval", column.digits, column.interval, at=column.at, status="")
    return [replace(column, interval=()), bounds]


def _short_title(table: Table, column: Column) -> str:
    of_dataset = column.at not in ("", AVERAGE) and table.spread == "dataset"
    return re.sub(r"\s*\([^)]*\)", "", column.title) if of_dataset else column.title


def _short_systems(table: Table, printed: list[list[Cell]]) -> list[list[Cell]]:
    """The rows without the prefix (family) that all system names share."""
    positions = [k for k, column in enumerate(table.columns) if column.value in ("system", "baseline")]
    names = {row[k].text for row in printed for k in positions}
    families = {name.partition("-")[0] for name in names if "-" in name}
    if len(families) != 1 or not all("-" in name for name in names):
        return printed
    prefix = f"{families.pop()}-"
    return [
        [replace(cell, value=cell.value.removeprefix(prefix)) if k in positions else cell for k, cell in enumerate(row)]
        for row in printed
    ]


def _width(body: list[list[str]]) -> float:
    """Estimated width of a tabular with these rows, in points."""
    longest = [max(map(len, column)) for column in zip(*body, strict=True)]
    return sum(longest) * CHARACTER + (len(longest) - 1) * GAP
