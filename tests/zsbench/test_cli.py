"""The command line: quick to start, errors in one line."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from zsbench.cli import JOB_VERBS, RENDER_VERBS, build_parser, main
from zsbench.provenance import write_json

from .conftest import REPOSITORY
from .speed.made_up_record import record


def test_every_verb_explains_itself() -> None:
    for function in {**JOB_VERBS, **RENDER_VERBS}.values():
        assert function.__doc__ and len(function.__doc__) > 20
    assert "rehearse-mirror" in build_parser().format_help()


def test_starting_the_command_line_loads_no_model_library() -> None:
    heavy = "print(sorted({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    code = f"import sys, zsbench.cli; zsbench.cli.build_parser(); {heavy}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("verb", [["--help"], ["systems"], ["datasets"], ["show", "reports/none"]])
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


@pytest.mark.parametrize("option", [["check", "--against"], ["results", "--root"]])
def test_a_path_that_is_no_run_is_refused(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "typo", tmp_path):
        with pytest.raises(SystemExit, match="2"):
            main(["data", *option, str(path)])
        assert f"under {path}; allowed: results/<run>" in capsys.readouterr().err.splitlines()[-1]


def test_listing_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systems"]) == 0
    assert main(["datasets", "--resources", str(REPOSITORY / "workflow" / "resources")]) == 0
    printed = capsys.readouterr().out
    assert "biencoder" in printed and "movie-snippets" in printed and "20 labels" in printed


def test_the_speed_page_is_written_from_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(tmp_path / "speed.json", record())
    assert main(["speed-page", str(tmp_path / "speed.json"), "--out", str(tmp_path / "page")]) == 0
    assert str(tmp_path / "page" / "speed.md") in capsys.readouterr().out
    assert (tmp_path / "page" / "speed.md").read_text(encoding="utf-8").startswith("# Speed")
    assert main(["speed-page", str(tmp_path / "none.json"), "--out", str(tmp_path / "page")]) == 1
    assert "`snakemake speed` measures one" in capsys.readouterr().err


def test_a_spec_can_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"id": "x"}')
    arguments = build_parser().parse_args(["score", "--root", "results/x", "--spec", f"@{tmp_path / 'spec.json'}"])
    assert arguments.spec == [{"id": "x"}]
