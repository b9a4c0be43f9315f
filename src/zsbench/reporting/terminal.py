"""A report in the terminal: the main results, and full tables wrapped to the terminal width."""

import json
import textwrap
from dataclasses import replace
from pathlib import Path

import pandas as pd

from zsbench.reporting.frames import AVERAGE
from zsbench.reporting.index import SUMMARY
from zsbench.reporting.readme import written_tables
from zsbench.reporting.render import MOST_ROWS, Table, cells, explained
from zsbench.store.provenance import read_json

WIDTH = 100  # columns of a terminal that does not tell its width
MAIN = ("suite", "ablations", "multi")  # kinds of tables of which the screen shows the main columns


def summary_screen(reports: Path, width: int = WIDTH) -> str:
    """The main results: facts of the run, averages per suite, ablations, and where to find more."""
    lines = [f"Run {reports.name}"]
    if (reports / SUMMARY).is_file():
        summary = read_json(reports / SUMMARY)
        facts = "; ".join(f"{name.lower()}: {words}" for name, words in summary["facts"].items())
        for text in (summary["banner"], facts, *summary["answer"]):
            lines += textwrap.wrap(text, width)
    tables = [table for table in written_tables(reports).values() if table.kind in MAIN and len(table.frame)]
    for table in sorted(tables, key=lambda table: MAIN.index(table.kind)):
        lines += ["", table_text(_main(table), width, MOST_ROWS, reports.name)]
    return "\n".join(
        [
            *lines,
            "",
            f"report  {reports / 'index.html'}",
            f"tables  {reports / 'tables'}",
            f"        in the terminal: zsbench show {reports.name} --all, or --table NAME",
        ]
    )


def _main(table: Table) -> Table:
    """The averages of a table over datasets; of a multi-label table, its first metric under its first protocol."""
    shown = [c for c in table.columns if not c.extra and c.at in ("", AVERAGE) and not c.value.startswith("f1:")]
    table = replace(table, columns=tuple(shown))
    if table.kind == "multi":
        first = table.frame["block"].iloc[0]
        table = replace(table, title=f"{table.title} ({first})", frame=table.frame[table.frame["block"] == first])
    return replace(table, notes=explained(table))


def table_text(table: Table, width: int, most: int | None = None, run: str = "") -> str:
    """A table in plain text; columns that do not fit continue below, with the first column repeated.

    Args:
        most: rows to show; None for all.
        run: id of the run, for the command that shows all rows.
    """
    rows = [[cell.shown for cell in row] for row in cells(table)]
    names = pd.Index([row[0] for row in rows[:most]], name=table.columns[0].title)
    frame = pd.DataFrame([row[1:] for row in rows[:most]], names, [column.title for column in table.columns[1:]])
    more = (
        [f"... {len(rows) - most} more: zsbench show {run} --table {table.name}"] if most and len(rows) > most else []
    )
    notes = [line for note in table.notes for line in textwrap.wrap(note, width)]
    body = [line.rstrip() for line in frame.to_string(line_width=width).splitlines()]
    return "\n".join([table.title, "", *body, *more, *notes])


def as_json(tables: dict[str, Table]) -> str:
    """Tables as JSON: name -> rows of tidy numbers."""
    frames = {name: json.loads(table.frame.to_json(orient="records")) for name, table in tables.items()}
    return json.dumps(frames, indent=1, ensure_ascii=False)
