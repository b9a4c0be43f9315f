"""`zsbench run` and the snakemake process that it starts."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import alive, wait_for

RUN = """
import sys
from zsbench.jobs.workflow import run_workflow
sys.exit(run_workflow([sys.executable, "-c", sys.argv[1]]))
"""
CHILD = "import os, pathlib, time; pathlib.Path('child').write_text(str(os.getpid())); time.sleep(600)"


def test_a_terminated_run_leaves_no_snakemake_behind(tmp_path: Path) -> None:
    run = subprocess.Popen([sys.executable, "-c", RUN, CHILD], cwd=tmp_path)
    file = tmp_path / "child"
    wait_for(lambda: file.is_file() and file.read_text() != "", run)
    run.send_signal(signal.SIGTERM)
    assert run.wait() == 130
    assert not alive(file.read_text())


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_exit_code_is_snakemakes(tmp_path: Path, code: int) -> None:
    command = [sys.executable, "-c", RUN, f"raise SystemExit({code})"]
    assert subprocess.run(command, cwd=tmp_path).returncode == code
