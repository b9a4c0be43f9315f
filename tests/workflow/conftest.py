"""A copy of the workflow whose outputs all exist, so that its plan shows what an edit reruns."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from zsbench.plan.plan import Plan

REPOSITORY = Path(__file__).parents[2]


# `python -m snakemake`, as often as asked, without importing Snakemake each time: that is a third of a dry run.
SERVER = """
import json, os, sys
import docutils.core, jinja2, requests, rich.progress, smart_open, yte
import snakemake.cli
for line in sys.stdin:
    folder, arguments, environment, said = json.loads(line)
    if not (child := os.fork()):
        for number, name in enumerate(("/dev/null", *said)):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment | {"PYTHONPATH": folder + "/src"})
        sys.path[:1] = [folder, folder + "/src"]
        sys.argv[1:] = arguments
        snakemake.cli.main()
    _, status, used = os.wait4(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime]), flush=True)
"""


@cache
def _server() -> subprocess.Popen:
    command = [sys.executable, "-c", SERVER]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def warm_snakemake(request: str) -> tuple[int, float]:
    """Exit code and CPU seconds of one run of Snakemake."""
    server = _server()
    assert server.stdin and server.stdout
    server.stdin.write(request + "\n")
    server.stdin.flush()
    code, seconds = json.loads(server.stdout.readline())
    return code, seconds


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
        """Run snakemake on the copy, with the copy's own modules; returns all it printed."""
        words = ["--cores", "1", *arguments, *(["--configfile", *config.split()] if config else [])]
        said = [self.folder.with_name(f"{self.folder.name}-{stream}") for stream in ("out", "err")]
        request = [str(self.folder), words, dict(os.environ), [str(path) for path in said]]
        code, self.cpu_seconds = warm_snakemake(json.dumps(request))
        text = "".join(path.read_text(encoding="utf-8") for path in said)
        assert (code != 0) == refused, text
        return text

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
        self.plan_seconds = self.cpu_seconds
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
    copy.folder, copy.plan_seconds = tmp_path / "copy", finished.plan_seconds
    return copy
