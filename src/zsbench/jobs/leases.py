"""Leases: file locks with which any number of launchers on a machine share GPUs and ports without a server.

A lease is a kernel lock (`flock`) on an open file. A launcher passes the open file to its job, so the lease lasts until
both have ended, however they end. There is nothing to clean up, and a killed launcher does not release a GPU that its
job still uses.
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
    """Open a lease file, which any user may lock whoever made it: so neither umask nor O_CREAT may interfere."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o1777)
    with suppress(FileExistsError):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.fchmod(handle, 0o666)
        return handle
    return os.open(path, os.O_RDWR)


def _try_lock(path: Path) -> int | None:
    """The open file that holds the lock, or None where another process has it."""
    handle = _open(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def try_devices(folder: Path, devices: Sequence[str], count: int) -> dict[str, int]:
    """Lease `count` devices or none at all: {device: open lease file}."""
    held: dict[str, int] = {}
    for device in devices:
        name = "".join(c if c.isalnum() or c == "-" else "_" for c in device)
        if (handle := _try_lock(folder / f"gpu-{name}.lock")) is not None:
            held[device] = handle
        if len(held) == count:
            return held
    for handle in held.values():
        os.close(handle)
    return {}


@contextmanager
def lease_devices(
    folder: Path, devices: Sequence[str], count: int, say: Callable[[str], None]
) -> Iterator[dict[str, int]]:
    """Hold `count` of `devices` while the block runs; waits, first come first served, until they are free.

    Launchers that may use the same devices queue behind one another, so that a job that needs two is not overtaken by
    an endless row of jobs that need one.

    Args:
        folder: the machine's lease folder.
        devices: identities of the devices this job may use; at least `count`.
        count: how many it needs (>= 1).
        say: prints a line while waiting.

    Yields:
        The leased devices, each with its open lease file: a process that inherits the file holds the lease too.
    """
    with ExitStack() as stack:
        queue = _open(folder / f"queue-{digest(sorted(devices))}.lock")
        try:
            fcntl.flock(queue, fcntl.LOCK_EX)
            last_message = time.monotonic()
            while not (held := try_devices(folder, devices, count)):
                if time.monotonic() - last_message > SAY_SECONDS:
                    last_message = time.monotonic()
                    say(f"waiting for {count} of {len(devices)} GPUs; other jobs hold their leases in {folder}")
                time.sleep(POLL_SECONDS)
        finally:
            os.close(queue)
        for handle in held.values():
            stack.callback(os.close, handle)
        yield held


@contextmanager
def lease_port(folder: Path) -> Iterator[int]:
    """Hold a TCP port that is free now and that no other launcher of this machine is given meanwhile.

    Raises:
        OSError: no port in `PORTS` is free.
    """
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        handle = _try_lock(folder / f"port-{port}.lock")
        if handle is None:
            continue
        try:
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
