"""Progress lines: which job, how far, how long still. Plain lines, so that they read well in a log as on a screen."""

import sys
import time
from collections.abc import Callable

EVERY_SECONDS = 5.0


def say_for(job: str) -> Callable[[str], None]:
    """A function that prints one line `[job] text` to standard error, from the first process only."""
    import os

    silent = os.environ.get("RANK", "0") != "0"

    def say(text: str) -> None:
        if not silent:
            print(f"[{job}] {text}", file=sys.stderr, flush=True)

    return say


def counter_for(job: str, unit: str = "texts") -> Callable[[int, int], None]:
    """A function called with (done, in all) that prints a line every few seconds and at the end."""
    say, started, last = say_for(job), time.perf_counter(), 0.0

    def count(done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if done == total or now - last > EVERY_SECONDS:
            last = now
            rate = done / max(now - started, 1e-9)
            say(f"{done}/{total} {unit}  {rate:.1f} {unit}/s  {(total - done) / max(rate, 1e-9):.0f} s left")

    return count
