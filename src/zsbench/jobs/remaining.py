"""Progress and remaining time of a workflow; jobs are weighted by measured times of this run and earlier ones."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from zsbench.store.layout import WORKFLOW
from zsbench.store.provenance import read_json, write_json

MEASURED = WORKFLOW / "resources" / "seconds.json"  # times of the last `make demo`, written by `make sample`
NEARLY = 0.95  # a job that runs longer than expected counts as nearly done


def read_seconds(path: Path) -> dict[str, float]:
    """Mean seconds per job, by rule; empty if nothing was measured."""
    if not path.is_file():
        return {}
    return {rule: total / count for rule, (total, count) in read_json(path).items()}


@dataclass
class Progress:
    """Jobs of one workflow. All times are seconds of one monotonic clock.

    Attributes:
        planned: rule -> number of jobs.
        started: start time of the workflow.
        before: rule -> mean seconds in earlier runs. Once a job of this run has finished, only their ratios matter.
        running: job id -> (rule, start time).
        finished: rule -> seconds of each finished job.
    """

    planned: Counter[str]
    started: float
    before: dict[str, float] = field(default_factory=dict)
    running: dict[int, tuple[str, float]] = field(default_factory=dict)
    finished: dict[str, list[float]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.planned.values())

    @property
    def done(self) -> int:
        return sum(map(len, self.finished.values()))

    def start(self, job: int, rule: str, now: float) -> None:
        self.running[job] = (rule, now)

    def finish(self, job: int, now: float) -> float:
        """Record a job as done; returns its seconds."""
        rule, began = self.running.pop(job)
        self.finished.setdefault(rule, []).append(now - began)
        return now - began

    def drop(self, job: int) -> None:
        """Remove a failed job, which will not be done."""
        rule, _ = self.running.pop(job, ("", 0.0))
        self.planned[rule] -= bool(rule)

    def expected(self, rule: str) -> float:
        """Expected seconds per job: the mean in this run, else that of earlier runs scaled to the pace of this one."""
        if here := self.finished.get(rule):
            return sum(here) / len(here)
        usual = sum(self.before.values()) / len(self.before) if self.before else 1.0
        both = self.finished.keys() & self.before.keys()
        usually = sum(self.before[name] * len(self.finished[name]) for name in both)
        pace = sum(sum(self.finished[name]) for name in both) / usually if usually else 1.0
        return self.before.get(rule, usual) * pace

    def _work(self, now: float) -> tuple[float, float]:
        """Seconds of work done so far, including running jobs, and expected seconds of all work."""
        done = sum(map(sum, self.finished.values()))
        done += sum(min(now - began, NEARLY * self.expected(rule)) for rule, began in self.running.values())
        left = {rule: count - len(self.finished.get(rule, ())) for rule, count in self.planned.items()}
        whole = sum(map(sum, self.finished.values())) + sum(count * self.expected(rule) for rule, count in left.items())
        return done, whole

    def share(self, now: float) -> float:
        """Fraction of the work that is done, 0 to 1."""
        done, whole = self._work(now)
        return done / whole if whole > 0 else 1.0

    def left(self, now: float) -> float:
        """Seconds until the workflow ends, assuming the same parallelism as so far."""
        done, whole = self._work(now)
        busy = sum(map(sum, self.finished.values())) + sum(now - began for _, began in self.running.values())
        at_a_time = max(1.0, busy / max(now - self.started, 1e-9))
        return (whole - done) / at_a_time

    def keep(self, path: Path) -> None:
        """Write seconds and number of jobs per rule for the next run."""
        before = read_json(path) if path.is_file() else {}
        write_json(path, before | {rule: [sum(each), len(each)] for rule, each in self.finished.items()})


def clock(seconds: float) -> str:
    """Format seconds as `0:07`, `12:34` or `2:03:04`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
