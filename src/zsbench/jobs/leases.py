"""Leases: file locks through which the launchers on a machine share GPUs and ports without a server.

A lease is a kernel lock (`flock`) on an open file. A launcher passes the open file to its job, so the lease lasts until
both have ended, for whatever reason. There is nothing to clean up, and a killed launcher does not release a GPU that
its job still uses.
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

POLL_SECONDS = 0.1  # interval at which a waiting launcher looks for a free device
SAY_SECONDS = 30.0  # interval at which it prints what it waits for
PORTS = range(20000, 21000)  # below the ephemeral ports of the kernel


def lease_folder() -> Path:
    """The folder of this machine's lease files: `ZSBENCH_LEASES`, else one shared by all users."""
    return Path(os.environ.get("ZSBENCH_LEASES") or Path(tempfile.gettempdir()) / "zsbench-leases")


def _open(path: Path) -> int:
    """Open a lease file, which any user may lock.

    The mode is set after creation because of the umask, and an existing file is opened without O_CREAT, which Linux may
    refuse for another user's file in a sticky folder.
    """
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o1777)
    with suppress(FileExistsError):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.fchmod(handle, 0o666)
        return handle
    return os.open(path, os.O_RDWR)


def _try_lock(path: Path) -> int | None:
    """The open file that holds the lock, or None if another process holds it."""
    handle = _open(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def try_devices(folder: Path, devices: Sequence[str], count: int) -> dict[str, int]:
    """Lease `count` devices and return {device: open lease file}; empty if fewer are free."""
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
    """Hold `count` of `devices` while the block runs; waits until they are free, first come, first served.

    Launchers that may use the same devices queue up, so that a job that needs two devices is not starved by jobs that
    need one.

    Args:
        devices: identities of the devices this job may use; at least `count`.
        count: number of devices needed (>= 1).

    Yields:
        {device: open lease file}; a process that inherits the file also holds the lease.
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
    """Hold a free TCP port that no other launcher on this machine can lease at the same time.

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
