"""Start the workflow from the command line: `zsbench run` calls snakemake with the project's Snakefile and defaults."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from zsbench.jobs.launch import visible_devices
from zsbench.store.layout import PROJECT, WORKFLOW

CPU_JOB_BYTES = 2 << 30  # memory of a job that trains or scores on the CPU; MiniLM in bf16 needs 1.1 GB
DOWNLOADS = 4  # simultaneous downloads


def default_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_gpus(cores: int) -> int:
    """GPU jobs at a time: one per visible GPU; without any, as many as cores and memory allow."""
    if names := visible_devices(os.environ).names:
        return len(names)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores, memory // CPU_JOB_BYTES))


def snakemake_command(
    configs: list[Path], cores: int, gpus: int, dry_run: bool = False, targets: list[str] | None = None
) -> list[str]:
    """The snakemake command, with the defaults of `workflow/profiles/default` as options.

    Options are used because Snakemake prints an extra line for a profile.

    Args:
        configs: config files, later ones override earlier ones.
        cores: number of jobs at a time, except GPU jobs.
        gpus: GPUs that jobs may use at a time.
        targets: targets to build; none for everything.
    """
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(PROJECT / "Snakefile"),
        "--workflow-profile",
        "none",
    ]
    defaults = yaml.safe_load((WORKFLOW / "profiles" / "default" / "config.yaml").read_text(encoding="utf-8"))
    for option, value in defaults.items():
        command += [f"--{option}"] if value is True else [f"--{option}", str(value)]
    command += ["--cores", str(cores), "--resources", f"gpu={gpus}", f"network={DOWNLOADS}"]
    command += ["--dry-run"] if dry_run else []
    command += ["--configfile", *map(str, configs)]
    return [*command, "--", *targets] if targets else command


def run_workflow(command: list[str]) -> int:
    """Run snakemake and return its exit code; 130 after Ctrl-C, which snakemake receives from the terminal.

    A SIGTERM stops snakemake and its jobs immediately; the exit code is 130, too.
    """
    # Rules call `zsbench`, which is in the folder of this Python and may not be on PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    job = subprocess.Popen(command, env=os.environ | {"PATH": path, "ZSBENCH_RUN": "1"})
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True
        if number == signal.SIGTERM:
            job.kill()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = job.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 130 if stopped and code else code
