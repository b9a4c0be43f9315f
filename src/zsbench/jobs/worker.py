"""Make the processes of a job end together with the process that started them, even if that one is killed.

accelerate starts each process of a distributed job as `python -m zsbench.jobs.worker -m package.module arguments...`
(or `script.py arguments...`). The process binds its lifetime to the launcher's, then runs the job.
"""

import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from select import select

LAUNCHER = "ZSBENCH_LAUNCHER"  # environment variable with the launcher's process id, for the processes it starts


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends; a no-op elsewhere."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def end_with(process: int) -> None:
    """Kill this process as soon as another local process ends, so that it does not compete with the next run.

    A no-op on systems other than Linux.

    Args:
        process: id of the snakemake process that started this job's shell, as seen by that shell; 0 and 1 (the init
            process of a container) are not watched.
    """
    if process < 2 or not hasattr(os, "pidfd_open"):  # Linux only
        return
    try:
        watched = os.pidfd_open(process)
    except ProcessLookupError:
        sys.exit("the workflow that started this job is gone")

    def wait() -> None:
        select([watched], [], [])  # readable once the process has ended
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    die_with_parent()
    try:
        os.kill(int(os.environ[LAUNCHER]), 0)
    except ProcessLookupError:
        sys.exit("the launcher of this job is gone")  # it ended before this process could watch it
    sys.argv = sys.argv[1:]
    if sys.argv[0] == "-m":
        sys.argv = sys.argv[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
