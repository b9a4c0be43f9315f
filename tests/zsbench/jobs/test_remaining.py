"""Progress of a run: jobs weighted by measured seconds."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsbench.jobs.remaining import Progress, clock, read_seconds


def test_a_long_job_weighs_more_than_many_short_ones() -> None:
    plan = Progress(Counter(fetch=9, train=1), 0.0, {"fetch": 1.0, "train": 91.0})
    for job in range(9):
        plan.start(job, "fetch", float(job))
        plan.finish(job, job + 1.0)
    assert plan.done == 9 and plan.share(9.0) == pytest.approx(0.09)
    assert plan.left(9.0) == pytest.approx(91.0)
    plan.start(9, "train", 9.0)
    assert plan.share(9.0 + 45.5) == pytest.approx(0.545)


def test_earlier_seconds_are_scaled_to_the_pace_of_this_run() -> None:
    plan = Progress(Counter(fetch=1, train=2), 0.0, {"fetch": 2.0, "train": 30.0})
    plan.start(0, "fetch", 0.0)
    plan.finish(0, 8.0)  # four times slower
    assert plan.expected("train") == pytest.approx(120.0)
    plan.start(1, "train", 8.0)
    plan.finish(1, 108.0)
    assert plan.expected("train") == pytest.approx(100.0), "its own mean, once there is one"


def test_jobs_side_by_side_end_sooner() -> None:
    plan = Progress(Counter(score=4), 0.0, {"score": 10.0})
    for job in (0, 1):
        plan.start(job, "score", 0.0)
    for job in (0, 1):
        plan.finish(job, 10.0)
    assert plan.left(10.0) == pytest.approx(10.0)


def test_a_failed_job_is_no_longer_waited_for() -> None:
    plan = Progress(Counter(score=2), 0.0, {})
    plan.start(0, "score", 0.0)
    plan.drop(0)
    plan.start(1, "score", 0.0)
    plan.finish(1, 5.0)
    assert plan.total == 1 and plan.share(5.0) == 1.0 and plan.left(5.0) == 0.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 100)), min_size=1, max_size=20))
def test_the_share_grows_to_one(jobs: list[tuple[str, float]]) -> None:
    plan, now = Progress(Counter(rule for rule, _ in jobs), 0.0, {"a": 5.0, "b": 1.0}), 0.0
    for number, (rule, seconds) in enumerate(jobs):
        plan.start(number, rule, now)
        assert 0.0 <= plan.share(now + seconds / 2) < 1.0 and plan.left(now + seconds / 2) >= 0.0
        now += seconds
        plan.finish(number, now)
    assert plan.share(now) == pytest.approx(1.0)


def test_seconds_are_kept_for_the_next_run(tmp_path: Path) -> None:
    plan = Progress(Counter(fetch=2), 0.0, {})
    for job, seconds in ((0, 2.0), (1, 4.0)):
        plan.start(job, "fetch", 0.0)
        plan.finish(job, seconds)
    plan.keep(tmp_path / "seconds.json")
    assert read_seconds(tmp_path / "seconds.json") == {"fetch": 3.0}
    assert read_seconds(tmp_path / "none.json") == {}


@pytest.mark.parametrize(("seconds", "shown"), [(7, "0:07"), (754.4, "12:34"), (7384, "2:03:04"), (59.6, "1:00")])
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
