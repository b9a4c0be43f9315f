"""The command line: quick to start, exit codes, errors in one sentence."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from tests.zsbench.conftest import REPOSITORY
from tests.zsbench.resolved_config import scoring_config, source_config
from zsbench import __version__
from zsbench.cli.app import app as cli
from zsbench.cli.main import main, run
from zsbench.config.load import ConfigError


def zsbench(*words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zsbench.cli", *words]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, **settings)  # type: ignore[call-overload]


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_help_lists_user_commands_and_hides_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    commands = re.findall(r"^  ([a-z-]+) ", capsys.readouterr().out.partition("Commands:")[2], re.MULTILINE)
    assert {"show", "compare", "explain", "export", "import-scores", "systems", "fetch"} <= set(commands)
    assert "job" not in commands
    assert main(["job", "score", "--help"]) == 0
    assert {"--run", "--system", "--seed"} <= set(re.findall(r"--\w+", capsys.readouterr().out))


def test_starting_the_command_line_loads_no_model_library() -> None:
    heavy = "{'torch', 'transformers', 'pandas', 'numpy'}"
    code = f"import sys, zsbench.cli.app; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def cpu_seconds(*words: str) -> float:
    """CPU time of a Python process: wall time would fail on a busy machine. The first of two may have to compile."""
    seconds = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def test_help_and_listings_take_about_half_a_second() -> None:
    """Which is about what importing pandas takes, on this machine as on any other."""
    pandas = cpu_seconds("-c", "import pandas")
    for word in ("--help", "systems", "datasets"):
        assert cpu_seconds("-m", "zsbench.cli", word) < 2 * pandas, word


def test_completion_knows_options_and_runs(tmp_path: Path) -> None:
    (tmp_path / "results" / "mine").mkdir(parents=True)

    def complete(words: str) -> str:
        asked = {"_ZSBENCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        code = "import sys; from zsbench.cli.app import app; app(prog_name='zsbench')"
        environment = os.environ | asked | {"PYTHONPATH": str(REPOSITORY / "src")}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True).stdout

    assert "mine" in complete("zsbench compare ")
    assert "ddp" in complete("zsbench launch --strategy ")


def test_rules_call_jobs_with_the_options_that_these_have() -> None:
    commands = get_command(cli).commands["job"].commands  # type: ignore[attr-defined]
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    calls = re.findall(r"zsbench(?:\.cli)? job ([\w-]+)((?: --[\w-]+ \S+)*)", rules)
    assert {kind for kind, _ in calls} == set(commands)
    for kind, options in calls:
        allowed = {name: param for param in commands[kind].params for name in param.opts}
        given = [allowed[name] for name in re.findall(r"--[\w-]+", options)]
        assert [param.name for param in commands[kind].params if param.required and param not in given] == [], kind


app = typer.Typer()


@app.command()
def ends(how: str) -> None:
    """A command that ends in the given way."""
    raise {
        "code": typer.Exit(3),
        "config": ConfigError("run: must be a slug"),
        "stopped": KeyboardInterrupt(),
        "bug": ZeroDivisionError("of ours"),
        "leaves": SystemExit("the launcher is gone"),
    }[how]


@pytest.mark.parametrize(
    ("how", "code", "lines", "last"),
    [
        ("code", 3, 0, ""),
        ("config", 1, 1, "Error: run: must be a slug"),
        ("stopped", 130, 1, "stopped; repeat the command to continue"),
        ("leaves", 1, 1, "the launcher is gone"),
        ("bug", 1, None, "Error: of ours"),  # after its traceback
    ],
)
def test_how_commands_end(
    how: str, code: int, lines: int | None, last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(app, "program", [how]) == code
    said = capsys.readouterr().err.splitlines()
    assert said[-1:] == ([last] if last else [])
    assert len(said) == lines if lines is not None else "Traceback" in said[0]


def test_an_error_of_a_job_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source_config(tmp_path, "mine", {"kind": "local", "path": str(tmp_path / "none.csv")})
    assert main(["job", "fetch", "--root", str(tmp_path), "--source", "mine"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "none.csv" in said
    assert not (tmp_path / "fetch" / "mine" / "manifest.json").exists()


def test_listings_work_outside_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["systems"]) == main(["datasets"]) == 0
    printed = capsys.readouterr().out
    assert "biencoder" in printed and "movie-snippets" in printed and "20 labels" in printed


WRONG = [
    "show nosuch",
    "show empty",
    "show scores.csv",
    "readme nosuch README.md",
    "same empty nosuch",
    "same empty empty",
    "same src src",
    "same results/a reports/a",
    "compare empty empty",
    "compare nosuch nosuch",
    "explain nosuch",
    "explain scores.csv",
    "export btzsc nosuch biencoder",
    "datasets --resources nosuch",
    "datasets --resources empty",
    "fetch --lock --config nosuch.yaml",
    "fetch",
    "run nosuch.yaml",
    "run",
    "init nosuch.csv",
    "import-scores --run empty --system a --dataset b scores.csv",
    "job score --run nosuch --system a --seed 1",
    "job score --run empty --system a",
    "launch --strategy dpp -- -m json.tool",
    "nosuch",
    "",
]


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_command_line_is_exit_code_2_with_the_reason_last(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for folder in ("src/one", "results/a/cells/one", "reports/a/tables/one"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "scores.csv").write_text("sample_id\n")
    assert main(words.split()) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("Error: ") if words else "Usage" in said.out + said.err


def test_a_name_that_the_run_does_not_have_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source_config(tmp_path, "mine", {"kind": "local", "path": "rows.csv"})
    assert main(["job", "fetch", "--root", str(tmp_path), "--source", "other"]) == 2
    assert "'other'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("words", ["score --system mine --seed 7", "measure --system mine --seed 7"])
def test_a_seed_that_the_run_does_not_have_is_refused(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scoring_config(tmp_path, "mine", {"family": "control", "control": "oracle", "suites": ["gliclass"]})
    assert main(["job", *words.split(), "--root", str(tmp_path)]) == 2
    assert "7" in capsys.readouterr().err.splitlines()[-1]


def test_a_run_is_named_by_its_id_or_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text,label\na,0\n")
    source_config(tmp_path / "results" / "mine", "rows", {"kind": "local", "path": "rows.csv"})
    for name in ("mine", "results/mine"):
        assert main(["job", "fetch", "--run", name, "--source", "rows"]) == 0
        (tmp_path / "results" / "mine" / "fetch" / "rows" / "manifest.json").unlink()


def test_a_report_without_a_table_that_the_readme_shows_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "other.md").write_text("| a |")
    (tmp_path / "README.md").write_text("<!-- begin:suite -->\n<!-- end:suite -->\n")
    assert main(["readme", str(tmp_path), str(tmp_path / "README.md")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "README.md" in said


def test_a_terminal_in_ascii_gets_every_line() -> None:
    code = "import typer; from zsbench.cli.main import run; app = typer.Typer()\n"
    code += "app.command()(lambda: print('\u0394 0.1')); raise SystemExit(run(app, 'program', []))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "? 0.1\n"), done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = ["bash", "-c", f"{sys.executable} -m zsbench.cli config-keys | true"]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stderr == ""


def test_a_control_is_scored_without_a_model_library() -> None:
    code = "import sys, zsbench.evaluation.scoring, zsbench.systems.controls; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
