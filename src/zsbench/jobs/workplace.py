"""Cleanup after killed runs, and messages for disk errors. In both cases, the same command can be run again."""

import errno
import fcntl
import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

LIVE: list[int] = []  # this process's open lock file; closing it would release the lock


def free_stale_lock(folder: Path) -> None:
    """Remove Snakemake's lock if a killed process left it behind. Called when a workflow starts.

    Snakemake's lock is a plain file and outlives the process. Therefore every live workflow also holds a shared kernel
    lock on `.snakemake/live`, which ends with the process. If no process holds that lock and this machine was the last
    to work here (some shared file systems hide kernel locks of other machines), Snakemake's lock is stale.
    """
    notes, host = folder / ".snakemake", socket.gethostname()
    notes.mkdir(exist_ok=True)
    handle = os.open(notes / "live", os.O_RDWR | os.O_CREAT)
    LIVE.append(handle)
    with suppress(OSError):  # held by another workflow, or a file system without kernel locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locks, last = notes / "locks", (notes / "live").read_text()
        if last == host:
            shutil.rmtree(locks, ignore_errors=True)
        elif not any(locks.glob("*")):
            (notes / "live").write_text(host)
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_SH)


def cannot_write(error: BaseException | None) -> str | None:
    """A sentence that explains a full disk or missing permissions and what to do; None for any other error.

    Libraries wrap system errors in their own, so causes and messages are also examined.
    """
    while error is not None:
        number, text = getattr(error, "errno", None), str(error)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or "StorageFull" in text:
            return "no space left on the disk: make room and run the same command again; finished files are kept"
        if number in (errno.EROFS, errno.EACCES, errno.EPERM):
            return f"{text}: no permission to read or write; change the permissions or work in a copy"
        error = error.__cause__ or error.__context__
    return None
