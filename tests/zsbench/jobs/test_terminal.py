"""Terminal output of a run: Snakemake's log records as readable lines."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from zsbench.jobs.terminal import LogHandler, last_line

SETTINGS = {"printshellcmds": False, "nocolor": True, "debug_dag": False, "verbose": False, "dryrun": False}


def handler(**settings: bool) -> LogHandler:
    return LogHandler(SimpleNamespace(**SETTINGS | settings), None)  # type: ignore[arg-type]


def send(to: LogHandler, text: str = "", level: int = logging.INFO, **facts: Any) -> None:
    record = logging.LogRecord("snakemake", level, "", 0, text, None, None)
    vars(record).update(facts)
    to.handle(record)


def job(number: int, log: Path | None, **facts: Any) -> dict[str, Any]:
    given = {"rule_name": "score", "rule_msg": f"score model-{number}", "log": [str(log)] if log else []}
    return {"event": LogEvent.JOB_INFO, "jobid": number, "reason": "Missing output files: a", **given, **facts}


def begin(to: LogHandler, **counts: int) -> None:
    send(to, targets=frozenset({"all"}))
    send(to, event=LogEvent.WORKFLOW_STARTED)
    send(to, event=LogEvent.RUN_INFO, stats={**counts, "all": 1, "total": sum(counts.values()) + 1})


def test_a_line_at_the_start_and_the_end_of_each_job_and_no_plumbing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = handler()
    send(run, "Building DAG of jobs...")
    begin(run, score=2)
    send(run, "Select jobs to execute...")
    for number in (1, 2):
        send(run, **job(number, tmp_path / "a.log"))
        send(run, event=LogEvent.SHELLCMD, cmd="zsbench job score")
        send(run, event=LogEvent.JOB_FINISHED, job_id=number)
    send(run, **job(3, None, rule_name="all", rule_msg=None))
    send(run, event=LogEvent.JOB_FINISHED, job_id=3)
    run.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines[:4]] == ["start", "done", "start", "done"]
    assert "1 of 2" in lines[1] and "2 of 2" in lines[3] and "100%" in lines[3]
    assert len(lines) == 5 and all(len(line) <= 100 and line.isascii() for line in lines)
    assert (tmp_path / "seconds.json").is_file()


def test_a_failure_ends_with_the_sentence_of_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "a.log"
    log.write_text("Traceback ...\nError: my.csv has no column 'x'\nWARNING: something else\n")
    run = handler()
    begin(run, score=2)
    send(run, **job(1, log))
    for _ in range(2):  # Snakemake repeats it at the end
        send(run, level=logging.ERROR, **job(1, log) | {"event": LogEvent.JOB_ERROR})
    send(run, 'CalledProcessError in file "a.smk", line 3:\nCommand ...', logging.ERROR, event=LogEvent.ERROR)
    send(run, "WorkflowError:\nAt least one job did not complete successfully.", logging.ERROR, event=LogEvent.ERROR)
    run.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "Error: score model-1: my.csv has no column 'x'"
    assert sum("no column" in line for line in lines) == 2 and not any("Command" in line for line in lines)


def test_an_error_of_the_config_is_shown_without_the_place_in_the_snakefile(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = handler()
    text = 'WorkflowError in file "common.smk", line 9:\n`run`: required\n  File "common.smk", line 9, in checked_plan'
    send(run, text, logging.ERROR, event=LogEvent.ERROR)
    run.close()
    assert capsys.readouterr().err == "Error: `run`: required\n"


def test_a_target_that_the_workflow_does_not_have_is_refused_with_those_it_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = handler()
    send(run, targets=frozenset({"all", "tables", "data"}))
    text = "MissingRuleException:\nNo rule to produce tabels (if you use input functions make sure that they ...)."
    send(run, text, logging.ERROR, event=LogEvent.ERROR)
    run.close()
    line = "Error: 'tabels' is not a target; did you mean 'tables'? allowed: all, check, data, tables\n"
    assert capsys.readouterr().err == line


def test_the_log_of_a_check_is_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "check.log"
    log.write_text("ok    config    run a\nFAIL  source    b: gone\nok    devices   no GPU\nError: source b: gone\n")
    ends = ({"event": LogEvent.JOB_FINISHED, "job_id": 1}, {"event": LogEvent.JOB_ERROR, "level": logging.ERROR})
    for end in ends:
        run = handler()
        begin(run, check=1)
        facts = job(1, log, rule_name="check", rule_msg="check the run")
        send(run, **facts)
        send(run, **facts | end)
        run.close()
        said = capsys.readouterr().err
        assert "ok    config    run a\nFAIL  source    b: gone\nok    devices   no GPU\n" in said
    assert said.splitlines()[-1] == "Error: check the run: source b: gone"


@pytest.mark.parametrize("refused", ["", "[label sets] gliclass cannot handle the labels of intents: 12 of 77\n"])
def test_refused_label_sets_are_shown_during_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: str
) -> None:
    log = tmp_path / "label-sets.log"
    log.write_text(refused)
    run = handler()
    begin(run, label_sets=1, train_model=9)
    send(run, **job(1, log, rule_name="label_sets", rule_msg="find label sets"))
    send(run, event=LogEvent.JOB_FINISHED, job_id=1)
    start, *shown, done = capsys.readouterr().err.splitlines()
    assert start.startswith("start") and done.startswith("done") and shown == refused.splitlines()


def test_ctrl_c_ends_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = handler()
    begin(run, score=1)
    send(run, **job(1, tmp_path / "a.log"))
    send(run, "Terminating processes on user request, this might take some time.")
    send(run, level=logging.ERROR, **job(1, tmp_path / "a.log") | {"event": LogEvent.JOB_ERROR})
    send(run, "Cancelling snakemake on user request.", logging.ERROR, event=LogEvent.ERROR)
    run.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "stopped; repeat the command to continue" and not any("rror" in line for line in lines)


def test_a_dry_run_is_a_table_with_reasons_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    run = handler(dryrun=True)
    begin(run, score=3)
    for number, reason in enumerate(["Missing output files: a", "Code has changed since last execution"] * 2):
        send(run, **job(number, None, reason=reason))
    run.close()
    said = capsys.readouterr()
    assert said.err == "" and "Why:\nscore (2): Code has changed since last execution" in said.out
    assert [line.split() for line in said.out.splitlines() if line.startswith(("score ", "total"))][0] == ["score", "3"]


def test_what_is_not_a_run_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    run = handler()
    send(run, "Congratulations, your workflow is in a good condition!")
    send(run, "2 of 5 sources cannot be fetched", logging.WARNING)
    send(run, "Nothing to be done (all requested files are present and up to date).")
    run.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and lines[2].startswith("Nothing to be done")


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(b"x" * 10_000 + b"\nstep 3\n\n\xff step 4\n")
    assert last_line(log).endswith("step 4") and last_line(log, error=True).endswith("step 4")
