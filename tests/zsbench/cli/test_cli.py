"""The command line: quick to start, errors in one line."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.zsbench.conftest import REPOSITORY
from zsbench.cli.main import JOB_VERBS, RENDER_VERBS, build_parser, main


def test_every_verb_explains_itself() -> None:
    for function in {**JOB_VERBS, **RENDER_VERBS}.values():
        assert function.__doc__ and len(function.__doc__) > 20
    assert "import-scores" in build_parser().format_help()


def test_starting_the_command_line_loads_no_model_library() -> None:
    heavy = "print(sorted({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    code = f"import sys, zsbench.cli.main; zsbench.cli.main.build_parser(); {heavy}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("verb", [["--help"], ["systems"], ["datasets"], ["show", "reports/sample"]])
def test_verbs_without_a_model_start_in_half_a_second(verb: list[str]) -> None:
    """CPU time, so that a busy machine does not fail it."""
    seconds = []
    for _ in range(2):  # the first may have to compile
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "zsbench.cli", *verb], cwd=REPOSITORY, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5


def test_an_error_for_the_user_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = json.dumps({"id": "mine", "kind": "local", "path": str(tmp_path / "none.csv"), "mirror": None})
    assert main(["fetch", "--root", str(tmp_path), "--spec", spec]) == 1
    error = capsys.readouterr().err
    assert error.startswith("zsbench fetch: no file") and error.count("\n") == 1
    assert not (tmp_path / "fetch" / "mine" / "manifest.json").exists()


def test_listing_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # outside the repository
    assert main(["systems"]) == 0
    assert main(["datasets"]) == 0
    printed = capsys.readouterr().out
    assert "biencoder" in printed and "movie-snippets" in printed and "20 labels" in printed


NOWHERE = {  # verbs with a path that is not there or is something else -> words that the one line must hold
    "show reports/nosuch": "no folder reports/nosuch; expected reports/<run>",
    "show empty": "empty has no tables/*.md; expected reports/<run>",
    "show scores.csv": "no folder scores.csv",
    "readme reports/nosuch README.md": "no folder reports/nosuch",
    "same empty nosuch": "no folder nosuch; expected results/<run> or reports/<run>",
    "compare empty empty": "empty has no cells/*; expected results/<run>",
    "compare nosuch nosuch": "no folder nosuch",
    "explain nosuch": "no folder nosuch; expected results/<run>/cells/<suite>",
    "explain scores.csv": "has no card.json; expected results/<run>/cells/<suite>",
    "export btzsc nosuch biencoder": "no folder nosuch",
    "export model-index nosuch biencoder": "no folder nosuch",
    "datasets --resources nosuch": "no folder nosuch; expected the presets",
    "datasets --resources empty": "empty has no sources.yaml; expected the presets",
    "fetch --lock --config nosuch.yaml": "no file nosuch.yaml; expected a config",
    "import-scores --root empty --system a --dataset b scores.csv": "empty has no datasets/*/rows.parquet",
    "score --root results/x --spec @nosuch.json:score:a:b:1": "no file nosuch.json",
}


@pytest.mark.parametrize("words", NOWHERE)
def test_a_wrong_path_is_one_line_that_says_what_was_expected(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "scores.csv").write_text("sample_id\n")
    with pytest.raises(SystemExit) as end:
        main(words.split())
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and NOWHERE[words] in said, said


def test_a_report_without_a_table_that_the_readme_shows_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "other.md").write_text("| a |")
    (tmp_path / "README.md").write_text("<!-- begin:suite -->\n<!-- end:suite -->\n")
    assert main(["readme", str(tmp_path), str(tmp_path / "README.md")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "gliclass_suite" in said


def test_a_spec_can_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"id": "x"}')
    arguments = build_parser().parse_args(["score", "--root", "results/x", "--spec", f"@{tmp_path / 'spec.json'}"])
    assert arguments.spec == [{"id": "x"}]


def test_a_terminal_in_ascii_shows_the_tables() -> None:
    command = [sys.executable, "-m", "zsbench.cli", "show", "reports/sample"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "gliznet-full" in done.stdout, done.stderr
