"""Interleaved rounds, so that a slow period of the machine affects all contenders alike, and intervals over rounds."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

Rounds = list[dict[str, float]]
Runs = Mapping[str, Callable[[], object]]
LEVEL = 0.95


def interleave(runs: Runs, repeats: int, warm_up: bool = True) -> dict[str, Rounds]:
    """Call every function once to warm up (if requested), then `repeats` times, in turn in each round.

    Returns:
        By name, one record per round: `wall` seconds and `cpu` seconds (of all threads of this process).
    """
    for run in runs.values() if warm_up else ():
        run()
    found: dict[str, Rounds] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            found[name].append({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu})
    return found


def clock_of(device: str) -> str:
    """The clock that decides on a device: CPU time excludes what other processes take; a GPU's work is not in it."""
    return "cpu" if device == "cpu" else "wall"


def interval(values: Sequence[float]) -> dict[str, float]:
    """Geometric mean of positive values with its 95 % interval: Student's t on their logarithms.

    Returns:
        mean, low, high; all three are equal for a single value, which has no interval.
    """
    logs, n = np.log(values), len(values)
    half = student.ppf((1 + LEVEL) / 2, n - 1) * logs.std(ddof=1) / np.sqrt(n) if n > 1 else 0.0
    low, middle, high = np.exp(logs.mean() + np.array([-half, 0.0, half]))
    return {"mean": float(middle), "low": float(low), "high": float(high)}


def rates(rounds: Rounds, items: int) -> dict[str, Any]:
    """Items per second of wall time and of CPU time, each with its interval."""
    return {clock: interval([items / one[clock] for one in rounds]) for clock in ("wall", "cpu")}


def ratio(fast: Rounds, slow: Rounds, factor: float = 1.0) -> dict[str, Any]:
    """`factor` times the time of `slow` over that of `fast`, paired by round, with its interval, for both clocks."""
    pairs = list(zip(fast, slow, strict=True))
    return {clock: interval([factor * s[clock] / f[clock] for f, s in pairs]) for clock in ("wall", "cpu")}
