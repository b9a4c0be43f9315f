"""Interleaved repeats, so that a slow period of the machine affects all contenders alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Runs = Mapping[str, Callable[[], object]]


def interleave(runs: Runs, repeats: int, warm_up: bool = True) -> dict[str, list[dict[str, float]]]:
    """Call every function once to warm up (if requested), then `repeats` times, in turn in each round.

    Returns:
        By name, one record per round: `wall` seconds and `cpu` seconds (of all threads of this process).
    """
    for run in runs.values() if warm_up else ():
        run()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            found[name].append({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu})
    return found


def summary(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {"median": float(middle), "low": float(low), "high": float(high)}


def rates(rounds: list[dict[str, float]], items: int) -> dict[str, Any]:
    """Items per second of wall time and of CPU time, each with quartiles."""
    return {clock: summary([items / one[clock] for one in rounds]) for clock in ("wall", "cpu")}


def ratio(fast: list[dict[str, float]], slow: list[dict[str, float]]) -> dict[str, Any]:
    """Speed-up at the same work, paired by round (rounds are interleaved)."""
    pairs = list(zip(fast, slow, strict=True))
    return {clock: summary([s[clock] / f[clock] for f, s in pairs]) for clock in ("wall", "cpu")}
