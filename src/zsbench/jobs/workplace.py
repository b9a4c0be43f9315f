"""Cleanup after killed runs, and messages for disk errors; in both cases the same command can be repeated."""

import errno
import fcntl
import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

LIVE: list[int] = []  # this process's open lock file; closing it would give the lock up


def free_stale_lock(folder: Path) -> None:
    """Called when a workflow starts: remove Snakemake's lock where a `kill -9` left it behind.

    Snakemake's lock is a plain file and outlives the process. So every live workflow also shares a kernel lock on
    `.snakemake/live`, which ends with it. Where nobody holds that one, and this machine was the last to work here
    (some shared file systems hide the kernel locks of other machines), Snakemake's lock is stale.
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
    """One sentence for an error of a full disk or of missing permissions, and what to do; None for any other error.

    Libraries wrap the system's errors in their own, so causes and messages are looked at too.
    """
    while error is not None:
        number, text = getattr(error, "errno", None), str(error)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or "StorageFull" in text:
            return "no space left on the disk: make room and run the same command again; finished files are kept"
        if number in (errno.EROFS, errno.EACCES, errno.EPERM):
            return f"{text}: no permission to read or write; change the permissions or work in a copy"
        error = error.__cause__ or error.__context__
    return None
