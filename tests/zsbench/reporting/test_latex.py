"""LaTeX floats: columns by id, short names, a width that fits; compiled by LaTeX if it is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from zsbench.cli.main import main
from zsbench.reporting.latex import _under, column_ids, select, to_float
from zsbench.reporting.readme import written_tables
from zsbench.reporting.render import Column, Table, cells, escape_tex
from zsbench.store.errors import ConfigError

PAPER = r"""\documentclass[twocolumn]{article}
\usepackage[utf8]{inputenc}
\usepackage{booktabs,graphicx}
\begin{document}
%s
\typeout{size after: \csname f@size\endcsname}
Text after the tables has its own size.
\end{document}
"""
CHOICES = {  # table: columns, protocol
    "ablations": ("average,interval,p", ""),
    "gliclass_suite": ("20,reuters,movie,product,average,delta,p-adjusted", ""),
    "topics": ("system,macro-f1,macro-p,macro-r", "held-out"),
    "peers": ("average,p", ""),
}


def has_latex() -> bool:
    """With its package for tables, which the smallest installation lacks."""
    words = ["kpsewhich", "booktabs.sty"]
    return shutil.which("pdflatex") is not None and subprocess.run(words, capture_output=True).returncode == 0


@pytest.fixture
def tables(report: Path) -> dict[str, Table]:
    return written_tables(report)


def test_columns_are_chosen_by_the_start_of_their_title(tables: dict[str, Table]) -> None:
    chosen = select(tables["ablations"], ["average", "interval", "p"])
    assert [c.title for c in chosen.columns] == ["System", "Average Δ", "Interval", "p (adjusted)"]
    whole = {row[0].text: row for row in cells(select(tables["ablations"], ["average"]))}
    for system, delta, interval, _ in cells(chosen):
        assert whole[system.text][1].text == f"{delta.text} {interval.text}"


def test_columns_that_tell_rows_apart_stay(tables: dict[str, Table]) -> None:
    frame = pd.DataFrame({"system": ["a", "a"], "baseline": ["b", "c"], "delta": [0.1, 0.2]})
    columns = (Column("System", "system"), Column("Against", "baseline"), Column("Δ", "delta", "signed"))
    table = Table("", frame, columns, ("system", "baseline"))
    assert [column.title for column in select(table, ["delta"]).columns] == ["System", "Against", "Δ"]
    one = Table("", frame.head(1), columns, ("system", "baseline"))
    assert [column.title for column in select(one, ["delta"]).columns] == ["System", "Δ"]


@pytest.mark.parametrize("columns", [["nothing"], ["needs"], ["interval"], ["p", "interval"]])
def test_columns_that_are_not_there_are_refused(tables: dict[str, Table], columns: list[str]) -> None:
    table = tables["ablations"]
    needs = Column("Needs rows again", "needs_rows", "count")
    twice = Table(table.title, table.frame, (*table.columns, needs), table.keys, table.spread)
    with pytest.raises(ConfigError, match=r"columns: .*allowed"):
        select(twice, columns)


def test_a_table_that_nobody_could_read_is_refused(tables: dict[str, Table]) -> None:
    table = tables["ablations"]
    wide = Table(table.title, table.frame, table.columns * 3, table.keys, table.spread, name="wide")
    with pytest.raises(ConfigError, match=r"columns: .*pages wide"):
        to_float(wide, "run")


def test_short_names_leave_out_what_is_shared(tables: dict[str, Table]) -> None:
    long, short = (to_float(tables["ablations"], "run", ["average"], short_names=one) for one in (False, True))
    assert "gliznet-no-bce" in long and re.search(r"^no-bce &", short, re.MULTILINE)
    suite = to_float(tables["gliclass_suite"], "run", ["reuters", "movie"], short_names=True)
    assert "Reuters-21578 R8 &" in suite and "biencoder" in suite and "gliznet-full" in suite  # two families


def test_marks_that_are_printed_are_explained_below(tables: dict[str, Table]) -> None:
    table = tables["gliclass_suite"]
    marks = {mark for row in cells(select(table, ["20", "reuters", "average"])) for cell in row for mark in cell.marks}
    below = to_float(table, "run", ["20", "reuters", "average"]).partition(r"\end{tabular}")[2]
    assert marks and all(escape_tex(mark) in below for mark in marks)
    assert r"\footnotesize" not in to_float(tables["ablations"], "run", ["mde"])


def test_a_protocol_is_chosen(tables: dict[str, Table]) -> None:
    with pytest.raises(ConfigError, match="rows: .*--protocol"):
        to_float(tables["topics"], "run", ["macro-f1"])
    chosen = select(_under(tables["topics"], "held-out"), ["system", "macro-f1"])
    assert {row.row["protocol"] for row, _ in cells(chosen)} == {"held-out"} and len(cells(chosen)) < 20
    chosen_float = to_float(tables["topics"], "run", ["macro-f1"], protocol="held-out")
    assert r"protocol held-out}" in chosen_float and "by protocol" not in chosen_float
    with pytest.raises(ConfigError, match="protocol: 'argmax'"):
        to_float(tables["topics"], "run", protocol="argmax")


def test_quotes_are_typographic() -> None:
    assert escape_tex('a "b" and "c_d", 5"') == """a ``b'' and ``c\\_d'', 5\""""


def test_ids_of_columns_are_unique(tables: dict[str, Table]) -> None:
    for table in tables.values():
        assert len(column_ids(table)) == len(table.columns), table.name


def test_the_command_names_the_tables(report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ablations.tex"
    arguments = ["export", "latex", str(report), "ablations", "--columns", "average,interval", "--out", str(out)]
    assert main(arguments) == 0 and r"\label{tab:synthetic-ablations}" in out.read_text()
    assert main(["export", "latex", str(report), "ablation"]) == 2
    assert "allowed: ablations" in " ".join(capsys.readouterr().err.split()).replace("│ ", "")


@pytest.mark.skipif(not has_latex(), reason="no pdflatex with booktabs; apt-get install texlive-latex-recommended")
def test_a_paper_compiles_with_tables_that_fit(tables: dict[str, Table], tmp_path: Path) -> None:
    floats = [
        to_float(tables[name], "run", columns.split(","), True, protocol)
        for name, (columns, protocol) in CHOICES.items()
    ]
    assert [r"\begin{table*}" in text for text in floats] == [False, True, False, False]
    (tmp_path / "paper.tex").write_text(PAPER % "\n".join(floats), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout[-2000:]
    log = (tmp_path / "paper.log").read_text(encoding="latin-1")
    assert "Overfull" not in log and "Missing character" not in log
    assert "size after: 10" in log
