"""`zsbench show`: one screen, or tables, on any terminal."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.zsbench.conftest import REPOSITORY
from zsbench.cli.main import main
from zsbench.reporting.render import read_table, write_table
from zsbench.reporting.terminal import HEIGHT, WIDTH, summary_screen

SAMPLE = REPOSITORY / "reports" / "sample"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A copy of the sample's tables for a test to change."""
    shutil.copytree(SAMPLE / "tables", tmp_path / "reports" / "mine" / "tables")
    return tmp_path / "reports" / "mine"


def test_one_screen_of_a_hundred_columns_in_ascii() -> None:
    lines = summary_screen(SAMPLE).splitlines()
    assert len(lines) <= HEIGHT and all(len(line) <= WIDTH and line.isascii() for line in lines)


def test_rows_are_ranked_and_the_control_stands_at_its_place() -> None:
    lines = summary_screen(SAMPLE).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("gliclass: ")) + 2
    rows = lines[start : next(i for i, line in enumerate(lines) if line.startswith("controls: "))]
    values = [float(re.search(r" (\d\.\d{3}) ", line)[1]) for line in rows]  # type: ignore[index]
    assert values == sorted(values, reverse=True) and len(rows) > 5
    at = next(i for i, line in enumerate(rows) if line.startswith("-- "))
    assert all("below control" in line for line in rows[at + 1 :])
    assert not any("below control" in line for line in rows[:at])


def test_a_difference_is_the_row_minus_the_reference() -> None:
    frame = read_table(SAMPLE / "tables", "gliclass_suite").frame
    average = frame[frame["dataset"] == "average"].set_index("system")["value"]
    shown = dict(re.findall(r"^([\w-]+) +\d\.\d{3}  ([+-]\d\.\d{3}) \[", summary_screen(SAMPLE), re.MULTILINE))
    assert len(shown) >= 5
    for system, delta in shown.items():
        assert float(delta) == pytest.approx(average[system] - average["gliznet-full"], abs=0.0006)


def test_the_first_stands_apart_only_when_it_nearly_always_leads(report: Path) -> None:
    table = read_table(report / "tables", "gliclass_suite")
    for p_best, words in ((0.6, "cannot be told apart from"), (0.99, "is clearly ahead of")):
        table.frame.loc[table.frame["p_best"].notna(), "p_best"] = p_best
        write_table(report / "tables", table)
        assert words in summary_screen(report)


def test_a_mark_is_explained_only_where_it_is_shown(report: Path) -> None:
    assert "* differs from the reference" in summary_screen(report)
    table = read_table(report / "tables", "gliclass_suite")
    table.frame[["differs", "checkpoint_differs"]] = False
    write_table(report / "tables", table)
    assert "* differs from the reference" not in summary_screen(report)


def test_many_systems_still_fit(report: Path) -> None:
    import pandas as pd

    table = read_table(report / "tables", "gliclass_suite")
    one = table.frame[table.frame["system"] == "gliznet-warm"]
    more = [one.assign(system=f"a-system-with-quite-a-long-name-{i}") for i in range(40)]
    from dataclasses import replace

    write_table(report / "tables", replace(table, frame=pd.concat([table.frame, *more])))
    lines = summary_screen(report).splitlines()
    assert len(lines) <= HEIGHT and any("more: zsbench show" in line for line in lines)
    assert lines[-3].startswith("report")


def test_a_run_without_ablations_or_topics_is_shown(report: Path) -> None:
    for path in (report / "tables").glob("*.*"):
        if path.stem != "gliclass_suite":
            path.unlink()
    assert "Ablations" not in summary_screen(report)


def test_tables_take_the_width_of_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    for columns in ("60", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        assert main(["show", str(SAMPLE), "--table", "gliclass_suite"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= int(columns)
        parts = sum(line.startswith("biencoder-mini") for line in lines)
        assert parts > 3 if columns == "60" else parts <= 2


def test_json_holds_the_tidy_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(SAMPLE), "--table", "ablations", "--json"]) == 0
    (rows,) = json.loads(capsys.readouterr().out).values()
    frame = read_table(SAMPLE / "tables", "ablations").frame
    assert len(rows) == len(frame) and rows[0]["delta"] == pytest.approx(frame["delta"].iloc[0])
    assert main(["show", str(SAMPLE), "--all"]) == 0
    assert "Macro-F1 of every system" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["nosuch"], [str(SAMPLE), "--table", "nosuch"], [str(REPOSITORY / "docs")]])
def test_no_run_or_table_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", *words]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("Error: ")


def test_a_run_that_is_not_here_is_told_which_are(
    report: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, told in ((report.parents[1], "did you mean 'mine'? allowed: mine"), (report, "no other in reports/")):
        monkeypatch.chdir(folder)
        assert main(["show", "mien"]) == 2
        assert told in capsys.readouterr().err.splitlines()[-1]


def test_a_pipe_that_closes_and_an_ascii_terminal_are_no_errors() -> None:
    command = f"{sys.executable} -m zsbench.cli show {SAMPLE} --all"
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(["bash", "-c", f"{command} | head -40"], env=environment, capture_output=True, text=True)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 40
    assert done.stdout.isascii() and "?" not in done.stdout
