"""Output of a run, as a logger plugin for Snakemake (`logger: zsbench` in workflow/profiles/default).

Prints one line in plain ASCII when a job starts and one when it ends; on a terminal, end lines are coloured and shown
above a live bar with the running jobs and their latest log line. Output of the jobs goes only to their logs. For a
failed job, the last sentence of its log is printed, and repeated as the last line. The logs of `check` and of the check
of label sets are printed in full. Snakemake's own output is in `.snakemake/log`; `--verbose`, `--printshellcmds` and
`--debug-dag` show it.
"""

import os
import re
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from logging import INFO, WARNING, LogRecord
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake.logging import ColorizingTextHandler
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from zsbench.jobs.remaining import MEASURED, Progress, clock, read_seconds
from zsbench.store.errors import suggest

BEFORE_THE_START = re.compile("Building DAG|Assuming unrestricted|Config file .* is extended|host: ")
STOPPED = re.compile("Terminating processes on user request|Cancelling snakemake on user request")
NOTHING = "Nothing to be done"
# Prefixes that Snakemake adds to error messages: the exception class, and the location in the Snakefile.
PLACE = re.compile(r"^\w*(Error|Exception)( in (rule \w+, )?file .*?, line \d+)?:\s*|\n  File \".*\", line \d+, in .*")
OF_A_JOB = re.compile(
    r"CalledProcessError|\bRuleException|At least one job did not complete successfully|Exiting because a job"
)
NO_TARGET = re.compile(r"No rule to produce (\S+)")
CHECK = "check"  # a target that is not in `targets`, because its rule has a log
RESULTS = (CHECK, "label_sets")  # rules whose log is their result, so it is printed
STOPPED_LINE = "stopped; repeat the command to continue"
REPORTED_BY_CALLER = "ZSBENCH_RUN"  # set by `zsbench run`, which prints these itself
TAIL = 4096  # bytes at the end of a log in which its last line is searched
MOST_REASONS = 24  # maximum lines of a plan


def last_line(path: Path, error: bool = False) -> str:
    """The last line of a log; with `error`, the last line that starts with `Error: ` if there is one."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
    except OSError:
        return ""
    lines = [line for line in lines if line]
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")] if error else []
    return (errors or lines or [""])[-1]


def end_quietly(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Exception hook that prints no traceback for Ctrl-C while Snakemake is planning."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    elif REPORTED_BY_CALLER not in os.environ:
        print(STOPPED_LINE, file=sys.stderr)


class LogHandler(LogHandlerBase):
    """Turns Snakemake's log records into readable lines."""

    def __post_init__(self) -> None:
        sys.excepthook = end_quietly
        self.plan: Progress | None = None
        self.targets: frozenset[str] = frozenset()
        self.names: dict[int, str] = {}  # job id -> description
        self.logs: dict[int, Path] = {}
        self.folder: Path | None = None  # folder of the run's logs
        self.failures: dict[int, str] = {}
        self.problems: list[str] = []  # errors of the workflow, not of jobs
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.started = self.stopped = self.closed = False
        self.live: Live | None = None
        settings = self.common_settings
        stream = sys.stdout if settings.dryrun else sys.stderr
        self.console = Console(file=stream, no_color=settings.nocolor, highlight=False, soft_wrap=True)
        self.fancy = self.console.is_terminal and not self.console.is_dumb_terminal
        self.everything: ColorizingTextHandler | None = None
        if settings.verbose or settings.printshellcmds or settings.debug_dag:
            self.everything = ColorizingTextHandler(nocolor=settings.nocolor, stream=stream)

    # Plugin properties that Snakemake reads.
    writes_to_stream = True
    writes_to_file = False
    needs_rulegraph = False

    @property
    def has_filter(self) -> bool:  # Snakemake's own filter and format apply if its lines are requested
        return self.everything is None

    has_formatter = has_filter

    def emit(self, record: LogRecord) -> None:
        """Show one record."""
        try:
            if self.everything:
                self.everything.setFormatter(self.formatter)
                self.everything.emit(record)
            else:
                self._show(record)
        except BrokenPipeError:
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  the output was closed; the run continues
            self.console.file = sys.stderr

    def _show(self, record: LogRecord) -> None:
        event, facts = getattr(record, "event", None), vars(record)
        if "targets" in facts:
            self.targets = facts["targets"]
        elif event == LogEvent.WORKFLOW_STARTED:
            self.started = True
        elif event == LogEvent.RUN_INFO:
            counts = {rule: count for rule, count in facts["stats"].items() if rule not in ("total", *self.targets)}
            if self.plan is None:
                self.plan = Progress(Counter(counts), time.monotonic(), read_seconds(MEASURED))
        elif event == LogEvent.JOB_INFO:
            self._start(facts)
        elif event == LogEvent.JOB_FINISHED:
            self._finish(facts["job_id"])
        elif event == LogEvent.JOB_ERROR:
            self._fail(facts)
        elif event in (None, LogEvent.ERROR):
            self._say(record, str(record.msg))

    def _start(self, facts: dict[str, Any]) -> None:
        job, rule = facts["jobid"], facts["rule_name"]
        if rule in self.targets:
            return
        if self.common_settings.dryrun:
            self.reasons[rule, facts["reason"].partition(":")[0].partition(" (")[0]] += 1
            return
        self.names[job] = facts["rule_msg"] or rule
        if facts["log"]:
            self.logs[job] = Path(facts["log"][0])
        if self.plan is None:
            return
        if self.folder is None and job in self.logs:
            self.folder = self.logs[job].parent
            self.plan.before |= read_seconds(self.folder / MEASURED.name)
        self.plan.start(job, rule, time.monotonic())
        if self.fancy and self.live is None:
            self.live = Live(console=self.console, get_renderable=self._bar, refresh_per_second=2, transient=True)
            self.live.start()
        elif not self.fancy:
            self._print(f"start  {self.names[job]}")

    def _finish(self, job: int) -> None:
        if self.plan is None or job not in self.plan.running:
            return
        now = time.monotonic()
        rule = self.plan.running[job][0]
        seconds = self.plan.finish(job, now)
        self._print_result(job, rule)
        parts = [f"{self.names[job]}  {clock(seconds)}", f"{self.plan.done} of {self.plan.total}"]
        if self.fancy:
            self._print(Text.assemble(("done   ", "green"), parts[0]))
        else:
            self._print(f"done   {' | '.join([*parts, self._times(now)])}")

    def _times(self, now: float) -> str:
        """`38%, 2:10 so far, ends about 14:32`."""
        assert self.plan is not None
        ends = datetime.now() + timedelta(seconds=self.plan.left(now))
        return f"{self.plan.share(now):.0%}, {clock(now - self.plan.started)} so far, ends about {ends:%H:%M}"

    def _bar(self) -> Group:
        """The live display: progress of the run, and the latest log line of each running job."""
        assert self.plan is not None
        now, head = time.monotonic(), Table.grid(padding=(0, 1))
        share = self.plan.share(now)
        counts = f"{self.plan.done} of {self.plan.total} jobs, {self._times(now)}"
        head.add_row(ProgressBar(total=1.0, completed=share, width=20), counts)
        jobs = Table.grid(padding=(0, 1))
        jobs.add_column(no_wrap=True)
        jobs.add_column(no_wrap=True, justify="right")
        jobs.add_column(no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
        for job, (_, began) in list(self.plan.running.items()):
            last = last_line(self.logs[job]) if job in self.logs else ""
            jobs.add_row(f"  {self.names[job]}", clock(now - began), Text(last))
        return Group(head, jobs)

    def _fail(self, facts: dict[str, Any]) -> None:
        job = facts["jobid"]
        if self.stopped or job in self.failures:
            return
        sentences = [last_line(Path(log), error=True) for log in facts["log"]]
        problem = next(filter(None, sentences), facts["rule_msg"] or "ended without a word")
        self.failures[job] = f"{self.names.get(job, facts['rule_name'])}: {problem}"
        self._print_result(job, facts["rule_name"])
        if self.plan is not None:
            self.plan.drop(job)
        self._print(Text.assemble(("failed ", "red"), self.failures[job]))
        for log in facts["log"][:1]:
            self._print(f"       log: {log}")

    def _print_result(self, job: int, rule: str) -> None:
        """Print the log of a job whose log is its result."""
        if rule in RESULTS and self.logs[job].is_file():
            lines = self.logs[job].read_text(encoding="utf-8", errors="replace").splitlines()
            if lines := [line for line in lines if not line.startswith("Error: ")]:
                self._print(Text("\n".join(lines)))

    def _say(self, record: LogRecord, text: str) -> None:
        """Handle records that are not about a job."""
        if STOPPED.match(text):
            self.stopped = True
        elif text.startswith(NOTHING):
            self._print(f"{NOTHING}: all files exist and are up to date.")
        elif record.levelno == INFO and not getattr(record, "shown", False):
            if not self.started and not BEFORE_THE_START.match(text):
                self._print(text)  # output of --lint and similar options
        elif record.levelno == WARNING:
            self._print(Text(text, style="yellow"))
        elif record.levelno == INFO:
            self._print(text)
        elif missing := NO_TARGET.search(text):
            self.problems.append(f"{missing[1]!r} is not a target{suggest(missing[1], {*self.targets, CHECK})}")
        elif not self.stopped and not OF_A_JOB.search(text):  # a job's error is taken from its log
            self.problems.append(PLACE.sub("", text).strip())

    def _print(self, text: str | Text) -> None:
        if self.fancy:
            self.console.print(text)
        else:
            print(text, file=self.console.file, flush=True)

    def close(self) -> None:
        """Print the last lines: the plan of a dry run, or how the run ended, with the reason of a failure last."""
        super().close()
        if self.closed:
            return
        self.closed = True
        if self.live is not None:
            self.live.stop()
        if self.plan is not None and self.common_settings.dryrun:
            self._print(self._planned())
        elif self.plan is not None and self.plan.finished:
            if self.folder is not None and self.folder.is_dir():
                self.plan.keep(self.folder / MEASURED.name)
            took = clock(time.monotonic() - self.plan.started)
            self._print(f"{self.plan.done} of {self.plan.total + len(self.failures)} jobs done in {took}")
        if self.stopped and REPORTED_BY_CALLER not in os.environ:
            self._print(STOPPED_LINE)
        for problem in [*self.problems, *self.failures.values()]:
            self._print(Text.assemble(("Error: ", "red"), problem.removeprefix("Error: ")))

    def _planned(self) -> str:
        """The jobs that a run would start, with reasons."""
        assert self.plan is not None
        counts = [f"{rule:18} {count:5}" for rule, count in self.plan.planned.items()]
        lines = [f"{'job':18} {'count':>5}", f"{'-' * 18} {'-' * 5}", *counts, f"{'total':18} {self.plan.total:5}"]
        why = [f"{rule} ({count}): {reason}" for (rule, reason), count in self.reasons.items()]
        changed = [
            line for line in why if not line.endswith(("Missing output files", "Input files updated by another job"))
        ]
        return "\n".join([*lines, *(["", "Why:", *changed[:MOST_REASONS]] if changed else [])])
