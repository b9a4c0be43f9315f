"""`zsbench launch`: run a module on leased GPUs, or on the CPU of a machine that has none.

A job with a strategy goes through `accelerate launch` with the strategy's config and a port of its own; any other is
this launcher's child. Imports no model code, so that a launcher that waits for a device costs next to nothing.
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
from zsbench.store.progress import say_for

CONFIGS = WORKFLOW / "accelerate"
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Resident memory of a job on the CPU. oneDNN and PyTorch keep up to 1024 compiled operations each, 1 to 3 MB for every
# shape of bf16 matrices; and glibc, whose threshold for blocks of their own grows with what is freed, spreads the
# tensors of many shapes over a heap that never shrinks. Measured on 60 training steps of MiniLM in bf16: 2130 MB and
# growing without these, 1070 MB and level with them, at the same processor time (huge pages make fresh blocks cheap).
CPU_MEMORY = {
    "LRU_CACHE_CAPACITY": "16",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16",
    "GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={4 << 20}:glibc.malloc.hugetlb=1",
}
GRACE_SECONDS = 30  # between asking a job to stop and killing it


class LaunchError(RuntimeError):
    """A job cannot be started as asked; the message says what to change."""


@dataclass(frozen=True)
class Devices:
    """GPUs this process may use.

    Attributes:
        names: what `CUDA_VISIBLE_DEVICES` calls them -> what they are on this machine (UUID), in order.
        fake: they stand for GPUs in tests; jobs run on the CPU.
    """

    names: dict[str, str]
    fake: bool = False


@dataclass(frozen=True)
class Nodes:
    """Machines that run one job together: how many, which one this is, where the first one listens."""

    count: int = 1
    rank: int = 0
    address: str | None = None
    port: int | None = None


def visible_devices(environment: Mapping[str, str]) -> Devices:
    """The GPUs this process may use, without importing torch.

    A set `CUDA_VISIBLE_DEVICES` (by the user, or by a scheduler for its job) is the whole choice. Inside a SLURM job
    that was given no GPU there are none, whatever the node has. `ZSBENCH_FAKE_GPUS=N` pretends N devices, for tests.
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
    # Leases go by UUID: inside a scheduler's container every job calls its own device 0.
    return Devices({name: known.get(name, name) for name in names})


def _chosen(environment: Mapping[str, str], everything: list[str]) -> list[str]:
    value = environment.get("CUDA_VISIBLE_DEVICES")
    return everything if value is None else [name.strip() for name in value.split(",") if name.strip()]


def machine_devices() -> dict[str, str]:
    """Index -> UUID of every NVIDIA GPU that this process can see, from `nvidia-smi -L`; {} where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    listing = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=60)
    return dict(re.findall(r"^GPU (\d+):.*\(UUID: ([^)]+)\)", listing.stdout, flags=re.MULTILINE))


def slurm_nodes(environment: Mapping[str, str]) -> Nodes:
    """Several machines when a SLURM step runs one launcher on each (`srun --nodes=2 --ntasks-per-node=1 ...`)."""
    count = int(environment.get("SLURM_STEP_NUM_NODES", "1"))
    if count == 1 or environment.get("SLURM_STEP_NUM_TASKS") != str(count):
        return Nodes()
    shown = subprocess.run(
        ["scontrol", "show", "hostnames", environment["SLURM_STEP_NODELIST"]],
        capture_output=True,
        text=True,
        check=True,
    )
    # Every node has to know the port without talking to the first one: it follows from the job's number.
    port = 30000 + int(environment["SLURM_JOB_ID"]) % 2000
    return Nodes(count, int(environment["SLURM_NODEID"]), shown.stdout.split()[0], port)


def accelerate_command(strategy: Strategy, processes: int, nodes: Nodes, port: int, configs: Path) -> list[str]:
    """`accelerate launch` up to and including the worker module, which ties each process to the launcher.

    Raises:
        LaunchError: the strategy has no config, or needs a package that is not installed.
    """
    if processes * nodes.count == 1 and strategy == "ddp":
        strategy = "single"
    config = configs / f"{strategy}.yaml"
    if not config.is_file():
        raise LaunchError(f"strategy {strategy!r} needs its launch config {config}, which does not exist")
    if "DEEPSPEED" in config.read_text(encoding="utf-8") and importlib.util.find_spec("deepspeed") is None:
        raise LaunchError(f"strategy {strategy!r} needs the package deepspeed: install it, or choose ddp or fsdp")
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
        gpus: GPUs of the job, over all its machines; one process each. On a machine without a GPU the job is one
            process on the CPU (the effective batch stays: accumulation follows from the number of processes).
        strategy: how accelerate starts the job's processes; None for a job of one plain process.
        command: `["-m", "package.module", ...]` or `["script.py", ...]`.
        leases: the lease folder; None for the machine's (`zsbench.jobs.leases.lease_folder()`).
        configs: folder of accelerate's launch configs, one per strategy.
        cpu: stay on the CPU with `gpus` processes (gloo), also where there are GPUs.

    Returns:
        The job's exit code; 128 + n when signal n ended it.

    Raises:
        LaunchError: more GPUs asked for than there are, or a strategy that does not fit.
    """
    say, leases = say_for("launch"), leases or lease_folder()
    devices = Devices({}) if cpu else visible_devices(os.environ)
    processes, nodes = job_shape(gpus, strategy, devices, slurm_nodes(os.environ), cpu)
    if processes * nodes.count < gpus:
        say(f"no GPU on this machine: one process on the CPU instead of {gpus} on GPUs")
    environment = dict(os.environ) | {LAUNCHER: str(os.getpid()), "CUDA_VISIBLE_DEVICES": ""}
    environment["HF_HUB_OFFLINE"] = "1"  # only fetch opens connections
    on_cpu = devices.fake or not devices.names
    if on_cpu:
        environment["ACCELERATE_USE_CPU"] = "true"
        environment = CPU_MEMORY | environment  # the user's own settings win
    with ExitStack() as stack:
        held: dict[str, int] = {}
        if devices.names:
            held = stack.enter_context(lease_devices(leases, list(devices.names.values()), processes, say))
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(name for name, uuid in devices.names.items() if uuid in held)
            # Indices mean what nvidia-smi numbers, from which the leases' identities come.
            environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        if strategy is None or (on_cpu and processes * nodes.count == 1):
            program = [sys.executable]  # needs nothing of accelerate's launcher, whose imports cost seconds
        else:
            port = nodes.port or stack.enter_context(lease_port(leases))
            program = accelerate_command(strategy, processes, nodes, port, configs)
        return run_job([*program, *command], environment, held.values())


def job_shape(gpus: int, strategy: Strategy | None, devices: Devices, nodes: Nodes, cpu: bool) -> tuple[int, Nodes]:
    """Processes on this machine, and the machines of the job.

    Raises:
        LaunchError: the numbers do not fit; the message says what does.
    """
    if gpus < 1 or (strategy in (None, "single") and gpus != 1):
        raise LaunchError(f"gpus: {gpus} with strategy {strategy}; allowed: 1, or more with ddp, zero2 or fsdp")
    if gpus % nodes.count:
        raise LaunchError(f"{gpus} GPUs cannot be shared evenly by {nodes.count} machines; choose a multiple of them")
    here = gpus // nodes.count
    if cpu:
        return here, nodes
    if not devices.names:
        return 1, Nodes()
    if here > len(devices.names):
        raise LaunchError(
            f"the job needs {here} GPUs, and this process may use {len(devices.names)} ({', '.join(devices.names)}): "
            "ask for fewer (the effective batch stays the same) or widen CUDA_VISIBLE_DEVICES"
        )
    return here, nodes


def run_job(command: list[str], environment: dict[str, str], leases: Collection[int] = ()) -> int:
    """Run a job in its own process group. It is sent this process's signals, holds its leases and ends with it.

    Returns:
        Its exit code; 128 + n when signal n ended it.
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
        os.killpg(job.pid, signal.SIGKILL)  # what a finished job left in its group
    return 128 - code if code < 0 else code
