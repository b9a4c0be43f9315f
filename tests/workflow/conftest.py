"""A copy of the workflow whose outputs all exist, so that its plan shows what an edit reruns."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from zsbench.plan.plan import Plan

REPOSITORY = Path(__file__).parents[2]


class Project:
    """A checkout in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(REPOSITORY / name, folder / name)
        for name in ("workflow", "src", "authored", "benchmarks"):
            shutil.copytree(
                REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        (folder / "profiles").symlink_to("workflow/profiles")

    def snakemake(self, *arguments: str, config: str = "workflow/configs/embedded.yaml", refused: bool = False) -> str:
        """Run snakemake on the copy, with the copy's modules; returns its output."""
        command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
        command += ["--configfile", *config.split()] if config else []
        environment = os.environ | {"PYTHONPATH": str(self.folder / "src")}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert (done.returncode != 0) == refused, done.stdout + done.stderr
        return done.stdout + done.stderr

    def planned(self, *arguments: str, config: str = "workflow/configs/embedded.yaml") -> Counter:
        """Numbers of jobs by rule that a dry run plans, without targets, which produce nothing."""
        text = self.snakemake("-n", *arguments, config=config)
        table = re.search(r"^job\s+count\n[-\s]+\n(.*?)\ntotal", text, re.S | re.M)
        if table is None:
            assert "Nothing to be done" in text, text[-2000:]
            return Counter()
        return Counter({name: int(count) for name, count in re.findall(r"^(\S+)\s+(\d+)$", table[1], re.M)})

    def finish(self, config: str = "workflow/configs/embedded.yaml") -> None:
        """Create every output of the plan, and record the current code, params and inputs as its provenance."""
        summary = self.snakemake("--summary", config=config)
        for line in summary.splitlines():
            path = self.folder / line.split("\t")[0]
            if line.startswith(("results/", "reports/")) and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(line.split("\t")[0])
        self.snakemake("--touch", "--forceall", config=config)
        for file in self.folder.glob("results/*/config.json"):
            plan = Plan(**json.loads(file.read_text()))
            for cell in plan.cells:
                path = self.folder / plan.layout.card(*cell)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}")

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def add_code(self, name: str) -> None:
        path = self.folder / name
        path.write_text(path.read_text(encoding="utf-8") + "\nEDITED = 1\n", encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the embedded run with nothing left to do."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.finish()
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A fresh copy of the finished project, to be edited."""
    shutil.copytree(finished.folder, tmp_path / "copy", symlinks=True, copy_function=shutil.copy2)
    copy = object.__new__(Project)
    copy.folder = tmp_path / "copy"
    return copy
