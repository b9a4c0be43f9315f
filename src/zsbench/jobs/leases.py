"""Leases: file locks by which any number of launchers on one machine share GPUs and ports without a server.

A lease is a kernel lock (`flock`) on a small file: it ends with the processes that hold it, however they end, so
nothing is ever left to clean up. A launcher takes the lock of each device; every process of its job joins it. A
device is free only when both are gone, so a launcher that was killed does not hand on a GPU that its job still leaves.
"""

import fcntl
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from zsbench.store.provenance import digest

POLL_SECONDS = 0.1  # how often a waiting launcher looks for a free device
SAY_SECONDS = 30.0  # how often it says what it waits for
PORTS = range(20000, 21000)  # below the ports that kernels hand to outgoing connections


def lease_folder() -> Path:
    """The folder of this machine's lease files: `ZSBENCH_LEASES`, else one that all users share."""
    return Path(os.environ.get("ZSBENCH_LEASES") or Path(tempfile.gettempdir()) / "zsbench-leases")


def _open(path: Path) -> int:
    """Open a lease file for locking; any user may lock a file that another user made."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o1777)
    with suppress(FileExistsError):
        created = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        os.fchmod(created, 0o666)  # whatever the umask says
        return created
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW)


def device_file(folder: Path, device: str) -> Path:
    """Lease file of one device, named by its identity (a UUID, or an index where no UUID is known)."""
    return folder / f"gpu-{''.join(c if c.isalnum() or c == '-' else '_' for c in device)}.lock"


def _try_lease(path: Path) -> int | None:
    """The open file that holds a lease, or None when any process of another job has it."""
    handle = _open(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    # Shared from here on, so that the job's processes can join; only `allocate.lock`'s holder asks for it exclusively.
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = _open(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _try_devices(folder: Path, devices: Sequence[str], count: int) -> dict[str, int]:
    """Lease `count` devices or none at all: {device: open lease file}."""
    held: dict[str, int] = {}
    with _locked(folder / "allocate.lock"):
        for device in devices:
            handle = _try_lease(device_file(folder, device))
            if handle is not None:
                held[device] = handle
            if len(held) == count:
                return held
        for handle in held.values():
            os.close(handle)
    return {}


@contextmanager
def lease_devices(folder: Path, devices: Sequence[str], count: int, say: Callable[[str], None]) -> Iterator[list[str]]:
    """Hold `count` of `devices` while the block runs; waits, in the order of asking, until they are free.

    Launchers that may use the same devices queue behind one another, so that a job that needs two is not passed by
    an endless row of jobs that need one.

    Args:
        folder: the machine's lease folder.
        devices: identities of the devices this job may use; at least `count`.
        count: how many it needs (>= 1).
        say: prints a line while waiting.
    """
    with ExitStack() as stack:
        with _locked(folder / f"queue-{digest(sorted(devices))}.lock"):
            said = time.monotonic()
            while not (held := _try_devices(folder, devices, count)):
                if time.monotonic() - said > SAY_SECONDS:
                    said = time.monotonic()
                    say(f"waiting for {count} of {len(devices)} GPUs; {_holders(folder, devices)}")
                time.sleep(POLL_SECONDS)
        for handle in held.values():
            stack.callback(os.close, handle)
        yield list(held)


def _holders(folder: Path, devices: Sequence[str]) -> str:
    """Who leased which device last, for a waiting message."""
    lines = []
    for device in devices:
        path = device_file(folder, device)
        owner = path.read_text().strip() if path.exists() else ""
        lines.append(f"{device}: process {owner or 'unknown'}")
    return ", ".join(lines)


def join_leases(files: Sequence[str]) -> list[int]:
    """Called by a process of a job: hold the job's device leases too, for as long as this process lives."""
    handles = [_open(Path(file)) for file in files]
    for handle in handles:
        fcntl.flock(handle, fcntl.LOCK_SH)
    return handles


@contextmanager
def lease_port(folder: Path) -> Iterator[int]:
    """Hold a TCP port that is free now and that no other launcher of this machine is given meanwhile.

    Raises:
        OSError: no port in `PORTS` is free.
    """
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        handle = _open(folder / f"port-{port}.lock")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("", port))
        except OSError:
            os.close(handle)
            continue
        try:
            yield port
        finally:
            os.close(handle)
        return
    raise OSError(f"no free port between {PORTS.start} and {PORTS.stop - 1}")
