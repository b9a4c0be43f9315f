"""The folder a workflow runs in, so that the command that was killed is simply typed again.

Snakemake's own lock is a plain file: it outlives a `kill -9` and then refuses the next run. Here each live workflow
also holds a kernel lock, which ends with it, however it ends; where nobody holds one, Snakemake's lock is nobody's.
"""

import errno
import fcntl
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from select import select

WORKFLOW = "ZSBENCH_WORKFLOW"  # process id of the snakemake that a job works for
FULL = (errno.ENOSPC, errno.EDQUOT)
PERMISSION = "ask its owner for permission, remount it writable, or run in a copy of the folder that is yours"
STEP = 1_000_000  # nanoseconds between file times that were mended: more than any file system rounds away
KEPT: list[int] = []  # the open lock files of this process; closing one would give it up


class WorkplaceError(RuntimeError):
    """The folder cannot be worked in by this user; the message names the path and what would help."""


def enter(folder: Path, outputs: list[Path]) -> None:
    """Called by a workflow when it starts: free what a killed one left locked, tie all jobs to this process, and mend
    file times that lie ahead of the clock.

    Args:
        folder: where snakemake runs.
        outputs: folders that the run writes to.

    Raises:
        WorkplaceError: one of them cannot be written to.
    """
    notes = folder / ".snakemake"
    for path in (notes, notes / "metadata", *outputs):
        check_writable(path)
    notes.mkdir(exist_ok=True)
    KEPT.append(_join(notes / "live", notes / "locks"))
    os.environ[WORKFLOW] = str(os.getpid())
    settle_times(outputs, time.time_ns())


def settle_times(folders: list[Path], now: int) -> int:
    """Bring files that were written "in the future" back to `now`, in the order they have among themselves.

    Snakemake compares file times. When the clock was set back, whatever depends on a file from before looks older
    than it, and would be made again by every command until the clock has caught up; now it is made again once at most.

    Args:
        folders: what is looked through; links are not followed.
        now: nanoseconds since 1970.

    Returns:
        Files whose time was changed. Those of another user stay as they are.
    """
    ahead: dict[int, list[Path]] = {}
    for folder in folders:
        for place, _, names in os.walk(folder):
            for path in (Path(place, name) for name in names):
                with suppress(FileNotFoundError):  # another workflow at work here replaced it
                    written = path.lstat().st_mtime_ns
                    if written > now:
                        ahead.setdefault(written, []).append(path)
    changed = 0
    for step, written in enumerate(sorted(ahead, reverse=True)):
        for path in ahead[written]:
            with suppress(FileNotFoundError, PermissionError):
                os.utime(path, ns=(now, now - step * STEP), follow_symlinks=False)
                changed += 1
    return changed


def _join(path: Path, locks: Path) -> int:
    """Hold `path` together with all live workflows of the folder; when there is no other, `locks` are removed first."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        raise WorkplaceError(f"{path} cannot be written to by this user: {PERMISSION}") from None
    if os.fstat(handle).st_uid == os.geteuid():
        os.fchmod(handle, 0o666)  # whatever the umask says: users who share the folder share its lock
    with suppress(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Some shared file systems do not show the locks of other machines: each frees only what is its own.
        here, last = _machine(), path.read_text().split()
        if set(here) & set(last) or not any(locks.glob("*")):
            shutil.rmtree(locks, ignore_errors=True)
            path.write_text(" ".join(here))
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


def _machine() -> list[str]:
    """Names of this machine: one that stays over a restart, one that is the same in all its containers."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return [socket.gethostname(), *([boot.read_text().strip()] if boot.is_file() else [])]


def check_writable(path: Path) -> None:
    """Raise unless `path`, or the folder it would be made in, can be written to by this user."""
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise WorkplaceError(f"{there} cannot be written to by this user: {PERMISSION}")


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


def end_with_workflow() -> None:
    """Called by a job: end at once when the workflow that started it has ended, so that the next one finds no rival."""
    if WORKFLOW not in os.environ or sys.platform != "linux":
        return
    try:
        workflow = os.pidfd_open(int(os.environ[WORKFLOW]))
    except ProcessLookupError:
        sys.exit("the workflow that started this job is gone")
    threading.Thread(target=_wait_and_end, args=(workflow,), daemon=True).start()


def _wait_and_end(workflow: int) -> None:
    select([workflow], [], [])  # readable when the process has ended
    os.kill(os.getpid(), signal.SIGKILL)
