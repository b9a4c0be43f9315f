"""A whole tiny run: without network, twice the same, killed at any point and continued by the same command."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from zsbench.reporting.same import differences

from .whole_run import WholeRun, without_network, write_mirror

ORDER = ("workflow", "trainer", "launcher", "scorer", "renderer")  # as their turn comes in a run


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mirror(tmp_path_factory.mktemp("replicas"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> WholeRun:
    """Finished on one core, in a place without network."""
    run = WholeRun(tmp_path_factory.mktemp("whole") / "undisturbed", mirror)
    run.finish_run(1, without_network())
    return run


@pytest.fixture
def disturbed(tmp_path: Path, mirror: Path) -> Iterator[WholeRun]:
    run = WholeRun(tmp_path / "disturbed", mirror)
    yield run
    for process in run.processes():
        process.kill()
    shutil.rmtree(run.folder)


def same(a: WholeRun, b: WholeRun) -> list[str]:
    return differences(a.results, b.results) + differences(a.reports, b.reports)


def test_a_run_tries_no_connection(undisturbed: WholeRun) -> None:
    journal = undisturbed.folder / "connections"
    assert not journal.exists(), journal.read_text()
    assert undisturbed.left_behind() == []


def test_kill_9_anywhere_and_the_same_command_again(undisturbed: WholeRun, disturbed: WholeRun) -> None:
    """Two jobs at a time here, one there: the number of jobs changes nothing either."""
    hits = [disturbed.kill(kind, 2, seed) for seed, kind in enumerate(ORDER)]
    disturbed.finish_run(2)
    assert sum(hits) >= 4, f"killed too late: {dict(zip(ORDER, hits, strict=True))}"
    assert same(undisturbed, disturbed) == []
    assert disturbed.left_behind() == []
    journal = disturbed.folder / "connections"
    assert not journal.exists(), journal.read_text()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("round_", range(4))
def test_20_random_kills(undisturbed: WholeRun, disturbed: WholeRun, round_: int) -> None:
    hits = [disturbed.kill(kind, 2, 100 * round_ + seed, longest=9.0) for seed, kind in enumerate(ORDER, start=7)]
    disturbed.finish_run(2)
    assert sum(hits) >= 3, f"killed too late: {dict(zip(ORDER, hits, strict=True))}"
    assert same(undisturbed, disturbed) == []
    assert disturbed.left_behind() == []
