"""The paper run plans on every profile."""

import importlib.util
import os
import subprocess
import sys

import pytest

from .conftest import REPOSITORY


def plan(tmp_path, *arguments: str) -> str:
    """What a dry run of the paper run prints."""
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--directory", str(tmp_path)]
    command += ["--snakefile", str(REPOSITORY / "Snakefile"), *arguments]
    # --directory keeps the checkout free of locks; what rules declare relative to it is linked.
    for name in ("src", "workflow", "config.yaml"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def test_the_workstation_profile_plans(tmp_path):
    profile = str(REPOSITORY / "workflow" / "profiles" / "workstation")
    plan(tmp_path, "--profile", profile, "--cores", "8", "--resources", "gpu=2")


@pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
    reason="snakemake-executor-plugin-slurm is not installed (pip install zsbench[slurm])",
)
def test_the_slurm_profile_plans(tmp_path):
    plan(tmp_path, "--profile", str(REPOSITORY / "workflow" / "profiles" / "slurm"))
