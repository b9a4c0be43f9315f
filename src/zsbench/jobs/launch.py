"""`zsbench launch`: run a module on leased GPUs, or on the CPU if there is no GPU.

A job with a strategy is started by `accelerate launch` with the strategy's config and a port of its own; any other job
is a plain child process. No model code is imported here, so a launcher that waits for a device uses few resources.
"""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from zsbench.jobs.leases import lease_devices, lease_folder, lease_port
from zsbench.jobs.worker import LAUNCHER, die_with_parent
from zsbench.recipe import Strategy
from zsbench.store.layout import WORKFLOW
from zsbench.store.progress import progress_logger

CONFIGS = WORKFLOW / "accelerate"
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Settings that limit the memory of a CPU job. oneDNN and PyTorch each cache up to 1024 compiled operations, 1 to 3 MB
# per shape of bf16 matrices; and glibc raises its mmap threshold as blocks are freed, so tensors of many shapes
# fragment a heap that never shrinks. Measured on 60 training steps of MiniLM in bf16: 2130 MB and growing without these
# settings, 1070 MB and constant with them, at the same CPU time (huge pages make new blocks cheap).
CPU_MEMORY = {
    "LRU_CACHE_CAPACITY": "16",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16",
    "GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={4 << 20}:glibc.malloc.hugetlb=1",
}
SHARDED = ("zero2", "fsdp")  # strategies that accelerate supports only on GPUs
GRACE_SECONDS = 30  # between asking a job to stop and killing it


class LaunchError(RuntimeError):
    """A job cannot be started as requested; the message says what to change."""


@dataclass(frozen=True)
class Devices:
    """GPUs this process may use.

    Attributes:
        names: name in `CUDA_VISIBLE_DEVICES` -> UUID of the device, in order.
        fake: fake GPUs for tests; jobs run on the CPU.
    """

    names: dict[str, str]
    fake: bool = False


@dataclass(frozen=True)
class Nodes:
    """The nodes of a job: their number, the rank of this one, and the address of the first."""

    count: int = 1
    rank: int = 0
    address: str | None = None
    port: int | None = None


def visible_devices(environment: Mapping[str, str]) -> Devices:
    """The GPUs this process may use, without importing torch.

    `CUDA_VISIBLE_DEVICES`, if set (by the user or a scheduler), determines the devices. A SLURM job without allocated
    GPUs has none, even if the node does. `ZSBENCH_FAKE_GPUS=N` simulates N devices for tests.
    """
    if "ZSBENCH_FAKE_GPUS" in environment:
        fakes = [str(i) for i in range(int(environment["ZSBENCH_FAKE_GPUS"]))]
        return Devices({name: f"fake-{name}" for name in _chosen(environment, fakes)}, fake=True)
    if environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1", "NoDevFiles"):
        return Devices({})
    if "SLURM_JOB_ID" in environment and "CUDA_VISIBLE_DEVICES" not in environment:
        return Devices({})
    known = machine_devices()
    names = _chosen(environment, list(known) if known else [])
    # Leases use UUIDs, because inside a scheduler's container every job sees its device as 0.
    return Devices({name: known.get(name, name) for name in names})


def too_few_gpus(wanted: int, limit: int | None = None) -> str | None:
    """Message if there are GPUs, but fewer than a training requires; else None. Without any GPU, it runs on the CPU.

    Args:
        limit: GPUs that the run may use at a time; None for all visible ones.
    """
    visible = len(visible_devices(os.environ).names)
    usable = visible if limit is None else min(visible, limit)
    if not visible or usable >= wanted:
        return None
    more = "or more GPUs for the run (--gpus or --resources gpu=N, CUDA_VISIBLE_DEVICES)"
    return f"`recipe.gpus`: asks for {wanted} GPUs, this run has {usable}; allowed: up to {usable}, {more}"


def _chosen(environment: Mapping[str, str], everything: list[str]) -> list[str]:
    value = environment.get("CUDA_VISIBLE_DEVICES")
    return everything if value is None else [name.strip() for name in value.split(",") if name.strip()]


def machine_devices() -> dict[str, str]:
    """Index -> UUID of every NVIDIA GPU listed by `nvidia-smi -L`; empty if there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    listing = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=60)
    return dict(re.findall(r"^GPU (\d+):.*\(UUID: ([^)]+)\)", listing.stdout, flags=re.MULTILINE))


def slurm_nodes(environment: Mapping[str, str]) -> Nodes:
    """The nodes of a job: several if a SLURM step runs a launcher on each (`srun --nodes=2 --ntasks-per-node=1 ...`).

    Otherwise a single node.
    """
    count = int(environment.get("SLURM_STEP_NUM_NODES", "1"))
    if count == 1 or environment.get("SLURM_STEP_NUM_TASKS") != str(count):
        return Nodes()
    shown = subprocess.run(
        ["scontrol", "show", "hostnames", environment["SLURM_STEP_NODELIST"]],
        capture_output=True,
        text=True,
        check=True,
    )
    # Every node derives the port from the job id, without contacting the first node.
    port = 30000 + int(environment["SLURM_JOB_ID"]) % 2000
    return Nodes(count, int(environment["SLURM_NODEID"]), shown.stdout.split()[0], port)


def accelerate_command(strategy: Strategy, processes: int, nodes: Nodes, port: int, configs: Path) -> list[str]:
    """The `accelerate launch` command up to the worker module, which makes each process end with the launcher.

    Raises:
        LaunchError: the strategy has no config, or needs a package that is not installed.
    """
    if processes * nodes.count == 1 and strategy == "ddp":
        strategy = "single"
    config = configs / f"{strategy}.yaml"
    if not config.is_file():
        raise LaunchError(f"strategy {strategy!r}: no launch config {config}")
    if "DEEPSPEED" in config.read_text(encoding="utf-8") and importlib.util.find_spec("deepspeed") is None:
        raise LaunchError(f"strategy {strategy!r} needs the package deepspeed; install it, or use ddp or fsdp")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    command += ["--quiet", "--num_processes", str(processes * nodes.count), "--num_machines", str(nodes.count)]
    command += ["--machine_rank", str(nodes.rank), "--main_process_port", str(port)]
    if nodes.address:
        command += ["--main_process_ip", nodes.address]
    return [*command, "-m", "zsbench.jobs.worker"]


def launch(
    gpus: int,
    strategy: Strategy | None,
    command: list[str],
    leases: Path | None = None,
    configs: Path = CONFIGS,
    cpu: bool = False,
) -> int:
    """Run a module on leased GPUs and return its exit code.

    Args:
        gpus: GPUs of the job over all nodes, one process each. Without any GPU, the job is a single process on the CPU
            (the effective batch size is the same, because accumulation depends on the number of processes).
        strategy: accelerate strategy; None for a single plain process.
        command: `["-m", "package.module", ...]` or `["script.py", ...]`.
        configs: folder of accelerate's launch configs, one per strategy.
        cpu: use the CPU with `gpus` processes (gloo), even if there are GPUs.

    Returns:
        The exit code of the job; 128 + n if signal n ended it.

    Raises:
        LaunchError: more GPUs requested than available, or an incompatible strategy.
    """
    say, leases = progress_logger("launch"), leases or lease_folder()
    devices = Devices({}) if cpu else visible_devices(os.environ)
    processes, nodes = job_shape(gpus, strategy, devices, slurm_nodes(os.environ), cpu)
    if processes * nodes.count < gpus:
        say(f"no GPU on this machine; running one process on the CPU instead of {gpus} on GPUs")
    environment = dict(os.environ) | {LAUNCHER: str(os.getpid()), "CUDA_VISIBLE_DEVICES": ""}
    environment["HF_HUB_OFFLINE"] = "1"  # only fetch opens connections
    on_cpu = devices.fake or not devices.names
    if on_cpu:
        environment["ACCELERATE_USE_CPU"] = "true"
        environment = CPU_MEMORY | environment  # the user's settings take precedence
    if on_cpu and strategy in SHARDED:
        say(f"sharding is not supported on the CPU; using ddp with {processes} processes instead of {strategy}")
        strategy = "ddp"
    with ExitStack() as stack:
        held: dict[str, int] = {}
        if devices.names:
            held = stack.enter_context(lease_devices(leases, list(devices.names.values()), processes, say))
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(name for name, uuid in devices.names.items() if uuid in held)
            # Number devices like nvidia-smi, from which the UUIDs in leases come.
            environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        if strategy is None or (on_cpu and processes * nodes.count == 1):
            program = [sys.executable]  # avoids accelerate's launcher, whose imports take seconds
        else:
            port = nodes.port or stack.enter_context(lease_port(leases))
            program = accelerate_command(strategy, processes, nodes, port, configs)
        return run_job([*program, *command], environment, held.values())


def job_shape(gpus: int, strategy: Strategy | None, devices: Devices, nodes: Nodes, cpu: bool) -> tuple[int, Nodes]:
    """Number of processes on this machine, and the nodes of the job; arguments as in `launch`.

    Raises:
        LaunchError: incompatible numbers; the message says what is allowed.
    """
    if gpus < 1 or (strategy in (None, "single") and gpus != 1):
        raise LaunchError(f"gpus: {gpus} with strategy {strategy}; allowed: 1, or more with ddp, zero2 or fsdp")
    if gpus % nodes.count:
        raise LaunchError(
            f"gpus: {gpus} cannot be split evenly over {nodes.count} machines; allowed: a multiple of {nodes.count}"
        )
    here = gpus // nodes.count
    if cpu:
        return here, nodes
    if not devices.names:
        return 1, Nodes()
    if here > len(devices.names):
        raise LaunchError(
            f"the job needs {here} GPUs, but this process can use only {len(devices.names)} "
            f"({', '.join(devices.names)}); "
            "request fewer (the effective batch stays the same) or extend CUDA_VISIBLE_DEVICES"
        )
    return here, nodes


def run_job(command: list[str], environment: dict[str, str], leases: Collection[int] = ()) -> int:
    """Run a job in its own process group; it receives this process's signals, holds its leases and ends with it.

    Args:
        leases: open lease files, which the job inherits.

    Returns:
        The exit code; 128 + n if signal n ended it.
    """
    job = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        process_group=0,
        pass_fds=tuple(leases),
        preexec_fn=die_with_parent,
    )

    def pass_on(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL if number == signal.SIGALRM else number)
        signal.alarm(GRACE_SECONDS)

    before = {number: signal.signal(number, pass_on) for number in (*FORWARDED, signal.SIGALRM)}
    try:
        code = job.wait()
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(job.pid, signal.SIGKILL)  # processes that a finished job left behind
    return 128 - code if code < 0 else code
