"""The workflow on a real SLURM cluster, at the smallest size; `make test-slurm` starts it on the login node.

There are no real GPUs, so trainings run on CPUs (gloo) with as many processes as SLURM allocated GPUs.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from ..workflow.whole_run import CONFIG, KINDS, RECIPE, REPOSITORY, WholeRun, write_mirror

pytestmark = [
    pytest.mark.skipif("ZSBENCH_TEST_CLUSTER" not in os.environ, reason="no throwaway cluster (make test-slurm)"),
    pytest.mark.timeout(600),
]
PROFILE = Path("workflow/profiles/slurm")
# As documented for a site without accounting; this cluster is fast, so poll often.
SITE = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "5"]
TRAINING = "results/tiny/models/gliznet-full/seed1/training.json"


class SlurmRun(WholeRun):
    """The tiny run, submitted from the login node."""

    def __init__(self, folder: Path, mirror: Path, **recipe: object) -> None:
        super().__init__(folder, mirror)
        recipe = RECIPE | {"steps": 12, "patience": 12} | recipe  # long enough to be interrupted
        (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG | {"hybrid": {}, "recipe": recipe}))
        # The folder of leases, local to each node.
        self.environment |= {
            "SBATCH_PARTITION": "gpu",
            "SBATCH_ACCOUNT": "lab",
            "ZSBENCH_LEASES": os.environ["ZSBENCH_LEASES"],
        }

    def submit(self, target: str) -> subprocess.Popen:
        """The one command of these tests."""
        command = ["snakemake", "--profile", str(PROFILE), *SITE, target, "--configfile", "tiny.yaml"]
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)

    def exit_code(self, workflow: subprocess.Popen) -> int:
        """Wait until the workflow has ended; if it does not, show where SLURM's jobs are."""
        try:
            return workflow.wait(timeout=400)
        except subprocess.TimeoutExpired:
            workflow.kill()
            steps = subprocess.run(["scontrol", "show", "step"], capture_output=True, text=True).stdout
            pytest.fail(f"the workflow does not end\n{self.jobs()}\n{steps}\n{self.log()}")

    def jobs(self) -> dict[str, dict[str, str]]:
        """SLURM's records of this run's recent jobs, by id."""
        shown = subprocess.run(["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True).stdout
        jobs = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in shown.splitlines()]
        return {job["JobId"]: job for job in jobs if job.get("WorkDir") == str(self.folder)}

    def trainers(self) -> list[psutil.Process]:
        """The training processes on all nodes."""
        wanted, other = KINDS["trainer"]
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            words = " ".join(process.info["cmdline"] or ())
            if process.info["cwd"] == str(self.folder) and all(word in words for word in wanted):
                found += [process] if not any(word in words for word in other) else []
        return found

    def freeze_training(self) -> str:
        """Wait until the training has saved a state, then pause its processes, so that it is alive when killed.

        Returns:
            The id of its job.
        """
        wait_until((self.folder / TRAINING).with_name("work").joinpath("state").exists)
        for process in self.trainers():
            process.send_signal(signal.SIGSTOP)
        (job,) = (id for id, job in self.jobs().items() if "train_model" in job["Comment"])
        return job

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def assert_continued(self, processes: int) -> None:
        """Assert that the training continued from its saved state with this many processes."""
        assert "continuing after step" in (self.results / "logs" / "train-gliznet-full-seed1.log").read_text()
        assert yaml.safe_load((self.folder / TRAINING).read_text())["world_size"] == processes


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def step_daemons(job: str) -> list[psutil.Process]:
    """SLURM's processes that manage the job's steps, on all nodes."""
    daemons = psutil.process_iter(["cmdline"])
    return [process for process in daemons if f"slurmstepd: [{job}." in " ".join(process.info["cmdline"] or ())]


def kill_jobs(node: str) -> None:
    """Kill all processes of SLURM's jobs on a node, as a power failure does."""
    daemons = psutil.process_iter(["cmdline"])
    (daemon,) = (process for process in daemons if process.info["cmdline"] == ["slurmd", "-D", "-N", node])
    for process in daemon.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def scontrol(*words: str) -> None:
    subprocess.run(["scontrol", *words], check=True)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Replicas of what the run fetches."""
    return write_mirror(tmp_path_factory.mktemp("replicas"))


def test_fetch_to_tables_with_a_training_that_scancel_ended(tmp_path: Path, mirror: Path) -> None:
    run = SlurmRun(tmp_path / "run", mirror)
    first = run.submit("tables")
    subprocess.run(["scancel", run.freeze_training()], check=True)
    assert run.exit_code(first) == 1, run.log()
    assert run.exit_code(run.submit("tables")) == 0, run.log()
    run.assert_continued(processes=1)
    assert (run.reports / "tables" / "topics.md").is_file()

    rules = {job["Comment"].removeprefix("rule_").split("_wildcards")[0]: job for job in run.jobs().values()}
    assert {"prepare", "train_model", "score", "measure", "compare", "write_tables"} <= set(rules)
    assert "fetch" not in rules, "it stays on the submitting node, which has a network"
    shape = [rules["train_model"][key] for key in ("TresPerJob", "NumCPUs", "MinMemoryNode", "TimeLimit")]
    assert shape == ["gres:gpu:1", "8", "48000M", "12:00:00"], "as the profile has it"
    assert {(job["Account"], job["Partition"]) for job in run.jobs().values()} == {("lab", "gpu")}


def test_two_gpus_of_one_node_and_a_time_limit(tmp_path: Path, mirror: Path) -> None:
    run = SlurmRun(tmp_path / "run", mirror, strategy="ddp", gpus=2)
    first = run.submit(TRAINING)
    job = run.freeze_training()
    scontrol("update", f"jobid={job}", "EndTime=now")
    assert run.exit_code(first) == 1, run.log()
    assert run.jobs()[job]["JobState"] == "TIMEOUT"
    assert run.exit_code(run.submit(TRAINING)) == 0, run.log()
    run.assert_continued(processes=2)


def test_two_nodes_and_one_that_goes_down(tmp_path: Path, mirror: Path) -> None:
    """With the profile and ZSBENCH_STEP of the docs: SLURM requeues the job, and the workflow waits for it."""
    run = SlurmRun(tmp_path / "run", mirror, strategy="ddp", gpus=2)
    docs = (REPOSITORY / "docs" / "machines.md").read_text(encoding="utf-8")
    profile = yaml.safe_load((run.folder / PROFILE / "config.yaml").read_text())
    profile["set-resources"] |= yaml.safe_load(re.search(r"```yaml\n(set-resources:.*?)```", docs, re.S)[1])[
        "set-resources"
    ]
    (run.folder / PROFILE / "config.yaml").write_text(yaml.safe_dump(profile))
    run.environment["ZSBENCH_STEP"] = re.search(r'export ZSBENCH_STEP="(.+)"', docs)[1]

    workflow = run.submit(TRAINING)
    job = run.freeze_training()
    assert run.jobs()[job]["NumNodes"] == "2"
    scontrol("update", "nodename=n2", "state=drain", "reason=test")
    assert run.jobs()[job]["JobState"] == "RUNNING", "a node that is drained finishes what it has"
    scontrol("update", "nodename=n2", "state=down", "reason=test")
    kill_jobs("n2")
    wait_until(lambda: run.jobs()[job]["JobState"] == "PENDING")
    # The job would wait forever if the node came back, or the job started, while a process of the old step was alive.
    wait_until(lambda: not run.trainers() and not step_daemons(job))
    scontrol("update", "nodename=n2", "state=resume")
    scontrol("update", f"jobid={job}", "StartTime=now")  # SLURM would wait two minutes
    assert run.exit_code(workflow) == 0, run.log()
    assert run.jobs()[job]["Restarts"] == "1"
    run.assert_continued(processes=2)
