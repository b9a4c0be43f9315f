"""What a killed run leaves on its machine, and what the disk refuses: the killed command is simply typed again."""

import errno
import fcntl
import os
import re
import shutil
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from select import select

FULL = (errno.ENOSPC, errno.EDQUOT)
PERMISSION = "ask its owner for permission, remount it writable, or run in a copy of the folder that is yours"
KEPT: list[int] = []  # the open lock files of this process; closing one would give it up


def free_stale_lock(folder: Path) -> None:
    """Called when a workflow starts: remove Snakemake's lock where a `kill -9` left it behind.

    Snakemake's lock is a plain file and outlives the process. So every live workflow also shares a kernel lock on
    `.snakemake/live`, which ends with it. Where nobody holds that one, and the last to work here was this machine
    (some shared file systems hide the kernel locks of other machines), Snakemake's lock belongs to nobody.
    """
    notes, here = folder / ".snakemake", socket.gethostname()
    notes.mkdir(exist_ok=True)
    handle = os.open(notes / "live", os.O_RDWR | os.O_CREAT)
    KEPT.append(handle)
    with suppress(OSError):  # held by another workflow, or a file system without kernel locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locks, last = notes / "locks", (notes / "live").read_text()
        if last == here:
            shutil.rmtree(locks, ignore_errors=True)
        elif not any(locks.glob("*")):
            (notes / "live").write_text(here)
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_SH)


def cannot_write(error: BaseException, folder: Path) -> str | None:
    """What kept a job from writing below `folder`, in words; None when the error is of another kind.

    Libraries wrap what the system said in errors of their own, so the chain and the messages are looked at too.
    """
    at: BaseException | None = error
    while at is not None:
        number, text = getattr(at, "errno", None), str(at)
        if number in FULL or "No space left" in text or "StorageFull" in text:
            return f"the disk of {folder} is full: make room and run the same command again; whole files are kept"
        if number == errno.EFBIG:
            return f"a file below {folder} grew over the limit of this process (ulimit -f): raise it and run again"
        if number in (errno.EROFS, errno.EACCES, errno.EPERM):
            named = re.search("file '([^']+)'", text)  # pyarrow puts the path in its words alone
            path = getattr(at, "filename", None) or (named[1] if named else folder)
            return f"{path} cannot be read or written by this user ({os.strerror(number)}): {PERMISSION}"
        at = at.__cause__ or at.__context__
    return None


def end_with(process: int) -> None:
    """Called by a job: be killed as soon as this process of the same machine ends, so that the next run has no rival.

    Args:
        process: id of the snakemake that started the job's shell; 0 and 1, a container's own, are not watched.
    """
    if process < 2 or not hasattr(os, "pidfd_open"):  # only Linux has it
        return
    try:
        watched = os.pidfd_open(process)
    except ProcessLookupError:
        sys.exit("the workflow that started this job is gone")
    threading.Thread(target=_wait_and_end, args=(watched,), daemon=True).start()


def _wait_and_end(watched: int) -> None:
    select([watched], [], [])  # readable when the process has ended
    os.kill(os.getpid(), signal.SIGKILL)
