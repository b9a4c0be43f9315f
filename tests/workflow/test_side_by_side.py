"""Two runs at the same time: of one config in one folder (the second is refused), of two configs (both work)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.processes import wait_for

from .conftest import REPOSITORY, Project
from .whole_run import CONFIG as TINY

pytestmark = pytest.mark.runs
SLOW = """
from pathlib import Path
from zsbench.jobs.workplace import free_stale_lock
free_stale_lock(Path())
rule slow:
    output: "results/a"
    shell: "echo once >> started; while [ ! -e go ]; do sleep 0.1; done; cat started > {output}"
"""
DATASET = {
    "title": "Mine",
    "task": "single",
    "source": "mine",
    "files": {"test": "rows.csv"},
    "format": {"type": "table"},
    "text": "text",
    "gold": {"column": "label", "values": ["0", "1"]},
    "verbalisations": {"plain": ["bad", "good"]},
    "domain": "test",
    "expected_rows": {"test": 2},
    "licence": "none",
    "citation": "none",
}
ROWS = "datasets/mine/rows.parquet"
CONFIG = TINY | {
    "sources": {"mine": {"kind": "local", "path": "rows.csv"}},
    "datasets": {"mine": DATASET},
    "suites": {"gliclass": {"task": "single", "datasets": ["mine"]}},
    "gliznet": {"base": {}, "variants": {"full": {}}},
    "hybrid": {},
    "statistics": {"draws": 100, "seed": 11, "level": 0.95, "system": "majority"},
    "systems": {"majority": {"family": "control", "control": "majority", "suites": ["gliclass"]}},
}


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {
        "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "PATH": os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_a_second_run_of_the_same_files_is_told_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(SLOW)
    first = start(tmp_path)
    wait_for((tmp_path / "started").exists, first)
    second = start(tmp_path)
    said, _ = second.communicate()
    assert second.returncode == 1 and "Traceback" not in said
    assert "Directory cannot be locked" in said and str(tmp_path) in said and "--unlock" in said, said
    assert first.poll() is None and not (tmp_path / "results" / "a").exists()
    (tmp_path / "go").touch()
    said, _ = first.communicate()
    assert first.returncode == 0, said
    assert (tmp_path / "results" / "a").read_text() == "once\n"
    assert not list((tmp_path / ".snakemake" / "locks").glob("*"))


def test_what_a_killed_run_left_half_made_is_made_again_by_the_same_command(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(SLOW.replace("echo once >> started;", "touch {output} started;"))
    shutil.copytree(REPOSITORY / "profiles", tmp_path / "profiles")
    first = start(tmp_path)
    wait_for((tmp_path / "started").exists, first)
    first.kill()
    first.wait()
    (tmp_path / "go").touch()
    said, _ = start(tmp_path).communicate()
    assert (tmp_path / "results" / "a").exists() and "1 of 1 jobs done" in said, said


def test_labels_longer_than_a_command_line_reach_their_job(project: Project) -> None:
    """Linux limits an argument to 131,072 bytes; with 60 to 100 kB of labels, jobs once failed to start."""
    labels = [f"{i:03d}" * 150 for i in range(200)]
    gold = {"column": "label", "values": [str(i) for i in range(200)]}
    wordy = CONFIG | {"datasets": {"mine": DATASET | {"gold": gold, "verbalisations": {"plain": labels}}}, "run": "one"}
    (project.folder / "one.yaml").write_text(yaml.safe_dump(wordy))
    process = start(project.folder, f"results/one/{ROWS}", "--configfile", "one.yaml")
    said, _ = process.communicate()
    assert process.returncode == 0, said[-2000:]
    card = json.loads((project.folder / "results" / "one" / "datasets" / "mine" / "card.json").read_text())
    assert card["labels"] == labels


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    (tmp_path / "rows.csv").write_text("text,label\na,0\nb,1\n")
    for run in ("one", "two"):
        (tmp_path / f"{run}.yaml").write_text(yaml.safe_dump(CONFIG | {"run": run}))
    return project


def test_a_job_hears_of_its_workflow_only_from_its_own_shell(project: Project) -> None:
    """Environments are copied to other machines (sbatch, srun), where a process id is invalid or someone else's."""
    stand_in = project.folder / "bin" / "zsbench"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\nenv > environment\necho "$@" > words\nexit 1\n')
    stand_in.chmod(0o755)
    process = start(project.folder, f"results/one/{ROWS}", "--configfile", "one.yaml")
    said, _ = process.communicate()
    words = (project.folder / "words").read_text()
    assert words.startswith(f"--end-with {process.pid} job fetch --run one "), said
    environment = (project.folder / "environment").read_text()
    assert not [line for line in environment.splitlines() if line.endswith(f"={process.pid}")]


def test_two_configs_run_at_once_in_one_checkout(project: Project) -> None:
    """Each has its own folders, results/<run> and reports/<run>; nothing is shared."""
    runs = {
        run: start(project.folder, f"results/{run}/{ROWS}", "--configfile", f"{run}.yaml") for run in ("one", "two")
    }
    for process in runs.values():
        said, _ = process.communicate()
        assert process.returncode == 0, said
    kept = []
    for run in runs:
        root = project.folder / "results" / run
        files = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
        kept.append({str(path): (root / path).read_bytes() for path in files if path.suffix == ".parquet"})
        assert {str(path) for path in files} >= {"fetch/mine/manifest.json", "fetch/mine/files/rows.csv", ROWS}
    assert kept[0] == kept[1] and len(kept[0]) == 1
    assert not project.planned(f"results/one/{ROWS}", config="one.yaml"), (
        "and what one made, the other does not make again"
    )
