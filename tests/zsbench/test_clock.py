"""The clock is set back, or was ahead: nothing is lost, nothing stays locked, nothing is redone for ever."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hybridnli.shards import only_writer, read_key, read_shards, write_key, write_shard
from zsbench import leases
from zsbench.provenance import read_json, write_json
from zsbench.workplace import settle_times

DAY = 86_400
SNAKEFILE = """
from pathlib import Path
from zsbench.workplace import enter
if workflow.is_main_process:
    enter(Path(), [Path("results")])
rule last:
    input: "results/b"
    output: "results/c"
    shell: "cat {input} {input} > {output}"
rule middle:
    input: "results/a"
    output: "results/b"
    shell: "cat {input} {input} > {output}"
rule first:
    output: "results/a"
    shell: "head -c 2000000 /dev/zero > {output}"
"""


@pytest.fixture
def set_back(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Puts the wall clock a day back, in the middle of a test."""
    real = time.time, time.time_ns

    def turn() -> None:
        monkeypatch.setattr(time, "time", lambda: real[0]() - DAY)
        monkeypatch.setattr(time, "time_ns", lambda: real[1]() - DAY * 10**9)

    return turn


def put_ahead(*paths: Path) -> None:
    """Give files times of tomorrow, a second apart."""
    for i, path in enumerate(paths):
        os.utime(path, (time.time() + DAY + i,) * 2)


def test_times_ahead_come_back_in_their_order(tmp_path: Path) -> None:
    names = ["old", "a", "b", "c"]
    for name in names:
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / name).write_text(name)
    files = [tmp_path / "deep" / name for name in names]
    os.utime(files[0], (1000, 1000))
    put_ahead(*files[1:])
    os.utime(files[3], ns=(files[2].stat().st_mtime_ns,) * 2)  # at the same time as b
    outside = tmp_path.parent / "outside"
    outside.write_text("not of this run")
    put_ahead(outside)
    ahead = outside.stat().st_mtime_ns
    (tmp_path / "link").symlink_to(outside)
    now = time.time_ns()
    assert settle_times([tmp_path, tmp_path / "nowhere"], now) == 3
    old, a, b, c = (path.stat().st_mtime_ns for path in files)
    assert old == 1000 * 10**9 and old < a < b == c <= now and outside.stat().st_mtime_ns == ahead
    assert settle_times([tmp_path], now) == 0
    assert [path.read_text() for path in files] == names


def made(folder: Path) -> list[str]:
    """Rules that one snakemake command runs."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "results/c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.M)


def test_work_after_the_clock_was_set_back_is_done_once(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    assert made(tmp_path) == ["first", "middle", "last"]
    a, b, c = (tmp_path / "results" / name for name in "abc")
    put_ahead(a, b, c)
    assert made(tmp_path) == [], "the same order as before"
    put_ahead(b, a)  # a was made anew, then the run was killed
    assert made(tmp_path) == ["middle", "last"], "what is stale stays stale"
    put_ahead(a, b)
    c.unlink()
    assert made(tmp_path) == ["last"]
    assert made(tmp_path) == []


def test_a_lease_outlives_no_process_whatever_its_file_s_time(tmp_path: Path, set_back: Callable[[], None]) -> None:
    said: list[str] = []
    with leases.lease_devices(tmp_path, ["0", "1"], 1, said.append) as held:
        put_ahead(*tmp_path.iterdir())
        set_back()
        with leases.lease_devices(tmp_path, ["0", "1"], 1, said.append) as others:
            assert {*held, *others} == {"0", "1"}
            assert not leases._try_devices(tmp_path, ["0", "1"], 1), "both are still held"
        with leases.lease_port(tmp_path) as port:
            put_ahead(tmp_path / f"port-{port}.lock")
    with leases.lease_devices(tmp_path, ["0", "1"], 2, said.append) as held:
        assert len(held) == 2
    assert said == []


def test_waiting_for_a_lease_does_not_read_the_wall_clock(
    tmp_path: Path, set_back: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SAY_SECONDS", 0.2)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 1:
            set_back()
        else:
            os.close(holder)

    holder = leases._try_lease(leases.device_file(tmp_path, "0"))
    assert holder is not None
    with leases.lease_devices(tmp_path, ["0"], 1, say) as held:
        assert held == ["0"] and len(said) == 2


def test_a_file_from_the_future_is_replaced_and_its_leftovers_go(tmp_path: Path, set_back: Callable[[], None]) -> None:
    path = tmp_path / "card.json"
    write_json(path, {"n": 1})
    left = tmp_path / ".card.json.0a0b0c0d.tmp"
    left.write_text("half")
    put_ahead(path, left)
    set_back()
    write_json(path, {"n": 2})
    assert read_json(path) == {"n": 2} and [item.name for item in tmp_path.iterdir()] == ["card.json"]


def test_a_store_is_written_on_through_a_clock_set_back(tmp_path: Path, set_back: Callable[[], None]) -> None:
    def add(name: str) -> None:
        write_shard(tmp_path, "tokens", [name], [], np.ones(1, dtype=np.int64), np.full((1, 2), len(name), np.float32))

    with only_writer(tmp_path):
        write_key(tmp_path, {"model": "m"})
        add("a")
        (tmp_path / ".writing-x").touch()
        put_ahead(*tmp_path.iterdir())
        set_back()
        add("bb")
    with only_writer(tmp_path):  # neither stuck nor blind to what a killed writer left
        assert not list(tmp_path.glob(".writing-*"))
    rows = {shard.rows[0]: shard.array.tolist() for shard in read_shards(tmp_path, "tokens")}
    assert rows == {"a": [[1.0, 1.0]], "bb": [[2.0, 2.0]]} and read_key(tmp_path) == {"model": "m"}


def test_no_code_measures_with_the_wall_clock() -> None:
    """Durations come from clocks that cannot jump; only what stamps or mends file times may read the other one."""
    source = Path(leases.__file__).parents[1]
    readers = re.compile(r"time\.time(_ns)?\(|datetime\.(now|utcnow|today)\(|date\.today\(")
    found = {str(path.relative_to(source)) for path in source.rglob("*.py") if readers.search(path.read_text())}
    assert found <= {"zsbench/workplace.py"}
