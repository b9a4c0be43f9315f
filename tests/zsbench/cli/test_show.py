"""`zsbench show`: one screen, or tables, on any terminal."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.zsbench.conftest import REPOSITORY
from zsbench.cli.main import main
from zsbench.reporting.render import read_table, write_table
from zsbench.reporting.terminal import WIDTH, summary_screen

SAMPLE = REPOSITORY / "reports" / "sample"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A copy of the sample's tables for a test to change."""
    shutil.copytree(SAMPLE / "tables", tmp_path / "reports" / "mine" / "tables")
    return tmp_path / "reports" / "mine"


def test_the_screen_shows_the_main_results_within_the_width() -> None:
    lines = summary_screen(SAMPLE).splitlines()
    assert all(len(line) <= WIDTH for line in lines if "/" not in line)
    for words in ("Run sample", "A demonstration, not a benchmark result", "gliznet-warm leads", "(held-out on test"):
        assert any(words in line for line in lines), words


def test_a_difference_is_the_row_minus_the_reference() -> None:
    frame = read_table(SAMPLE / "tables", "gliclass_suite").frame
    average = frame[frame["dataset"] == "average"].set_index("system")["value"]
    shown = re.findall(r"^([\w-]+) +\d\.\d{3}[ †°]+([+-]\d\.\d{3}) \[", summary_screen(SAMPLE), re.MULTILINE)
    assert len(shown) >= 5
    for system, delta in shown:
        assert float(delta) == pytest.approx(average[system] - average["gliznet-full"], abs=0.0006)


def test_a_long_table_is_cut_with_a_way_to_the_rest(report: Path) -> None:
    table = read_table(report / "tables", "gliclass_suite")
    one = table.frame[table.frame["system"] == "gliznet-warm"]
    more = [one.assign(system=f"a-system-with-quite-a-long-name-{i}") for i in range(40)]
    write_table(report / "tables", replace(table, frame=pd.concat([table.frame, *more])))
    screen = summary_screen(report)
    assert "... 37 more: zsbench show mine --table gliclass_suite" in screen and "-name-39" not in screen


def test_a_run_without_ablations_or_topics_is_shown(report: Path) -> None:
    for path in (report / "tables").glob("*.*"):
        if path.stem != "gliclass_suite":
            path.unlink()
    assert "Against" not in summary_screen(report) and "gliznet-warm" in summary_screen(report)


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
    assert done.stdout.isascii()
