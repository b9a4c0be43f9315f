"""A user's files, which no checksum pins: edited files are fetched again, missing files are reported at once."""

import os
import subprocess
import sys

import pytest
import yaml

from .conftest import Project
from .test_side_by_side import CONFIG


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run on a csv file next to the Snakefile, with nothing left to do."""
    project = Project(tmp_path_factory.mktemp("project"))
    (project.folder / "rows.csv").write_text("text,label\na,0\nb,1\n")
    (project.folder / "one.yaml").write_text(yaml.safe_dump(CONFIG | {"run": "one"}))
    project.finish(config="one.yaml")
    return project


def test_an_edited_file_is_fetched_and_prepared_again_whatever_its_time(project: Project) -> None:
    assert not project.planned(config="one.yaml")
    rows = project.folder / "rows.csv"
    before = rows.stat()
    rows.write_text("text,label\na,1\nb,0\n")
    os.utime(rows, ns=(before.st_atime_ns, before.st_mtime_ns))
    planned = project.planned(config="one.yaml")
    assert planned["fetch"] == planned["prepare"] == 1
    rows.write_text("text,label\na,0\nb,1\n")
    assert not project.planned(config="one.yaml"), "the content counts, not the time"


def test_a_file_that_is_gone_is_said_while_planning(project: Project) -> None:
    (project.folder / "rows.csv").rename(project.folder / "row.csv")
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--configfile", "one.yaml"]
    environment = os.environ | {"PYTHONPATH": str(project.folder / "src")}
    done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True)
    shown = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in shown
    assert "`sources.mine.path`: no file 'rows.csv'; a relative path starts at the folder where" in shown
