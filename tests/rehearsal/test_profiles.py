"""The paper run can be planned with every profile."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from zsbench.config.load import load_yaml

from .conftest import REPOSITORY


def plan(tmp_path, *arguments: str) -> str:
    """The output of a dry run of the paper run."""
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--directory", str(tmp_path)]
    command += ["--snakefile", str(REPOSITORY / "Snakefile"), *arguments]
    # --directory keeps the checkout free of locks; paths that rules declare relative to it are linked.
    for name in ("src", "workflow", "config.yaml"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def test_every_job_with_a_model_has_its_resources(tmp_path):
    """A rule that a profile omits would get the resources of a small job, and be killed on a cluster."""
    rules = {word for word in plan(tmp_path, "--list-rules", "--cores", "1").split() if re.fullmatch(r"[a-z_]+", word)}
    heavy = {name for name in rules if name.startswith("train_") or name in ("score", "measure_speed")}
    assert len(heavy) >= 4
    for profile in ("workstation", "slurm"):
        named = load_yaml(REPOSITORY / "workflow" / "profiles" / profile / "config.yaml")["set-resources"]
        assert heavy <= set(named) <= rules, profile


def test_the_workstation_profile_plans(tmp_path):
    profile = str(REPOSITORY / "workflow" / "profiles" / "workstation")
    plan(tmp_path, "--profile", profile, "--cores", "8", "--resources", "gpu=2")


needs_slurm = pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
    reason="snakemake-executor-plugin-slurm is not installed (pip install zsbench[slurm])",
)
SLURM = str(REPOSITORY / "workflow" / "profiles" / "slurm")


@needs_slurm
def test_the_slurm_profile_plans(tmp_path):
    plan(tmp_path, "--profile", SLURM)


def resources(tmp_path, partition: str, *arguments: str) -> set[str]:
    """The resources that a job of a small rule requests from SLURM with the profile."""
    (tmp_path / "Snakefile").write_text("rule small:\n    output: 'x'\n    shell: 'touch {output}'\n")
    command = [sys.executable, "-m", "snakemake", "-n", "--profile", SLURM, *arguments]
    environment = os.environ | {"SBATCH_PARTITION": partition, "SBATCH_ACCOUNT": "lab"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    line = re.search("resources: (.*)", done.stdout + done.stderr)
    assert line, done.stderr[-2000:]
    return set(line[1].split(", "))


@needs_slurm
def test_account_and_partition_leave_the_profiles_memory_time_and_cpus(tmp_path):
    """As documented. `--default-resources slurm_partition=...`, which the docs used to recommend, drops all three."""
    asked = {"mem_mb=8000", "runtime=60", "cpus_per_task=2"}
    assert asked | {"slurm_partition=elsewhere", "slurm_account=lab"} <= resources(tmp_path, "elsewhere")
    assert not asked & resources(tmp_path, "", "--default-resources", "slurm_partition=elsewhere")
