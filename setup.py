"""Adds the workflow to a wheel. Everything else is in pyproject.toml.

A clone keeps Snakefile, workflow/, authored/ and benchmarks/ at its top. A wheel carries copies of them in
`zsbench/project/`, and `zsbench.store.layout.PROJECT` names the one or the other.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PROJECT = ("Snakefile", "config.yaml", "workflow", "profiles", "authored", "benchmarks")


class BuildWithWorkflow(build_py):
    """`build_py`, and the workflow's files (not for an editable install, which has the clone)."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "zsbench" / "project"
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build: a deleted file must not come back
        target.mkdir(parents=True)
        for name in PROJECT:
            if Path(name).is_dir():
                shutil.copytree(name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(name, target / name)


setup(cmdclass={"build_py": BuildWithWorkflow})
