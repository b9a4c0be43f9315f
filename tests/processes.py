"""Waiting for what other processes do. Nothing here has a deadline: how long a test may take is pytest's `timeout`."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def wait_for(condition: Callable[[], bool], *processes: subprocess.Popen) -> None:
    """Wait until the condition holds; none of these processes may end before that."""
    while not condition():
        ended = [process.args for process in processes if process.poll() is not None]
        assert not ended or condition(), f"ended too early: {ended}"
        time.sleep(0.02)


def alive(pid: int | str) -> bool:
    """Whether a process runs; one that has ended but that nobody has waited for does not. Reads /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
