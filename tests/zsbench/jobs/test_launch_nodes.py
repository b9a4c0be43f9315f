"""One training over several machines: a launcher on each, started by srun (here a stand-in), joined by accelerate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SRUN = """#!/bin/bash
# Two machines that are both this one; a real srun starts one task on each (--ntasks-per-node=1).
shift
export SLURM_STEP_NUM_NODES=2 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=node[1-2]
SLURM_NODEID=0 "$@" & first=$!
SLURM_NODEID=1 "$@" & second=$!
wait $first && wait $second
"""
JOB = """
import json, os, pathlib, sys
import torch
from accelerate import Accelerator
accelerator = Accelerator()
everybody = accelerator.gather(torch.ones(1) * accelerator.process_index).tolist()
facts = {"everybody": everybody, "device": os.environ["CUDA_VISIBLE_DEVICES"], "rank": accelerator.process_index}
pathlib.Path(f"{sys.argv[1]}-{accelerator.process_index}").write_text(json.dumps(facts))
accelerator.end_training()
"""


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """Environment of a SLURM job on two machines with one free fake GPU on each."""
    for name, text in (("srun", SRUN), ("scontrol", "#!/bin/sh\necho localhost\necho localhost\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CUDA_", "SLURM_", "ZSBENCH_"))}
    return kept | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "SLURM_JOB_ID": str(os.getpid()),  # determines the port
        "ZSBENCH_FAKE_GPUS": "2",
        "ZSBENCH_LEASES": str(tmp_path / "leases"),
        "ZSBENCH_STEP": "srun --ntasks-per-node=1",
    }


def test_launchers_on_two_machines_form_one_job(tmp_path: Path, cluster: dict[str, str]) -> None:
    (tmp_path / "job.py").write_text(JOB)
    launch = f"{sys.executable} -m zsbench.cli launch --gpus 2 --strategy ddp -- {tmp_path}/job.py {tmp_path}/out"
    command = ["bash", "-c", f"$ZSBENCH_STEP {launch}"]  # as rule train_model starts it
    done = subprocess.run(command, cwd=ROOT, env=cluster, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    facts = [json.loads((tmp_path / f"out-{rank}").read_text()) for rank in (0, 1)]
    assert [fact["everybody"] for fact in facts] == [[0.0, 1.0]] * 2
    assert {fact["device"] for fact in facts} == {"0", "1"}  # each launcher leased a device of its machine


def test_the_training_rule_starts_as_tested() -> None:
    rule = (ROOT / "workflow" / "rules" / "train.smk").read_text(encoding="utf-8")
    assert '"${{ZSBENCH_STEP:-}} zsbench launch --gpus {resources.gpu}' in rule
