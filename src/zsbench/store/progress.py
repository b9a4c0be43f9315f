"""Progress lines with job, progress and remaining time, in plain text for logs and terminals."""

import sys
import time
from collections.abc import Callable

EVERY_SECONDS = 5.0


def progress_logger(job: str) -> Callable[[str], None]:
    """Return a function that prints a line `[job] text` to standard error, in the first process only."""
    import os

    silent = os.environ.get("RANK", "0") != "0"

    def say(text: str) -> None:
        if not silent:
            print(f"[{job}] {text}", file=sys.stderr, flush=True)

    return say


def counter_for(job: str, unit: str = "texts") -> Callable[[int, int], None]:
    """Return a function to call with (done, total), which prints a line every few seconds and at the end."""
    say, started, last = progress_logger(job), time.perf_counter(), 0.0

    def count(done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if done == total or now - last > EVERY_SECONDS:
            last = now
            rate = done / max(now - started, 1e-9)
            say(f"{done}/{total} {unit}  {rate:.1f} {unit}/s  {(total - done) / max(rate, 1e-9):.0f} s left")

    return count
