"""First code of every process that `zsbench launch` starts: tie it to its launcher, then run the job's own module.

python -m zsbench.jobs.worker -m package.module arguments...
python -m zsbench.jobs.worker script.py arguments...
"""

import os
import runpy
import sys
from pathlib import Path

from zsbench.jobs.leases import join_leases

LAUNCHER = "ZSBENCH_LAUNCHER"  # process id of the launcher
LEASED = "ZSBENCH_LEASED"  # lease files of the job's devices
KEPT: list[int] = []  # open lease files; closing one would give its lease up


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends; elsewhere only the lease waits for it."""
    if sys.platform == "linux":
        import ctypes
        import signal

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    die_with_parent()
    files = [file for file in os.environ.get(LEASED, "").split(os.pathsep) if file]
    KEPT.extend(join_leases(files))
    try:
        os.kill(int(os.environ[LAUNCHER]), 0)
    except ProcessLookupError:
        sys.exit("the launcher of this job is gone")  # it ended before this process could be tied to it
    sys.argv = sys.argv[1:]
    if sys.argv[0] == "-m":
        sys.argv = sys.argv[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
