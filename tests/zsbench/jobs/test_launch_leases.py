"""Leases under contention: many launchers, few devices, killed launchers."""

import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.processes import alive, wait_for
from zsbench.jobs.leases import PORTS, lease_devices, lease_port

SRC = Path(__file__).parents[3] / "src"
DRIVER = (
    "import sys; from pathlib import Path; from zsbench.jobs.launch import launch\n"
    "sys.exit(launch(1, None, sys.argv[2:], Path(sys.argv[1])))"
)
# A job locks its device: it fails at once if another job is on that device, regardless of leases.
JOB = """
import fcntl, os, pathlib, sys, time
journal, until = pathlib.Path(sys.argv[1]), sys.argv[2]
device = os.environ["CUDA_VISIBLE_DEVICES"]
handle = open(journal / f"device-{device}", "w")
try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    (journal / f"collision-{os.getpid()}").touch()
    raise
(journal / f"running-{os.getpid()}").write_text(device)
began = time.monotonic()
while not (journal / until).exists():
    time.sleep(0.02)
time.sleep(0.1)
(journal / f"done-{os.getpid()}").write_text(f"{device} {began} {time.monotonic()}")
"""


class Bench:
    """A lease folder, a journal of the jobs and a way to start launchers on two fake devices."""

    def __init__(self, folder):
        self.leases, self.journal = folder / "leases", folder / "journal"
        self.journal.mkdir()
        self.launchers = []
        (folder / "job.py").write_text(JOB)
        self.job = str(folder / "job.py")

    def start(self, until="."):
        """A launcher whose job ends soon after a file of this name is in the journal."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("CUDA_", "SLURM_"))}
        environment |= {"PYTHONPATH": str(SRC), "ZSBENCH_FAKE_GPUS": "2"}
        words = [sys.executable, "-c", DRIVER, str(self.leases), self.job, str(self.journal), until]
        self.launchers.append(subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL))
        return self.launchers[-1]

    def wait_for_two(self):
        """Both devices are in use."""
        wait_for(lambda: len(list(self.journal.glob("running-*"))) == 2)

    @property
    def collisions(self):
        return list(self.journal.glob("collision-*"))


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    for launcher in bench.launchers:
        launcher.kill()


def silent(text):
    """No progress lines."""


def test_many_launchers_never_share_a_device(bench):
    launchers = [bench.start("go") for _ in range(10)]
    bench.wait_for_two()
    (bench.journal / "go").touch()
    assert [launcher.wait() for launcher in launchers] == [0] * 10
    assert not bench.collisions
    rows = [path.read_text().split() for path in bench.journal.glob("done-*")]
    spans = [(float(began), float(ended)) for _, began, ended in rows]
    at_once = [sum(began <= moment < ended for began, ended in spans) for moment, _ in spans]
    assert len(rows) == 10 and max(at_once) <= 2
    assert {device for device, *_ in rows} == {"0", "1"}


def test_kill_9_leaks_neither_device_nor_job(bench):
    doomed = [bench.start("never") for _ in range(2)]
    bench.wait_for_two()
    waiting = [bench.start() for _ in range(3)]
    time.sleep(0.3)
    assert all(launcher.poll() is None for launcher in waiting)  # both devices are taken
    waiting[0].kill()  # a waiting launcher may be killed, too
    for launcher in doomed:
        launcher.kill()
    assert [launcher.wait() for launcher in waiting[1:]] == [0, 0]
    running = {path.name.partition("-")[2] for path in bench.journal.glob("running-*")}
    assert not bench.collisions
    wait_for(lambda: not any(alive(pid) for pid in running))


def test_launchers_killed_at_random(bench):
    order = random.Random(3)
    launchers = []
    for _ in range(16):
        launchers.append(bench.start())
        time.sleep(order.uniform(0, 0.15))
        if order.random() < 0.6:
            order.choice(launchers).send_signal(signal.SIGKILL)
    codes = [launcher.wait() for launcher in launchers]
    assert not bench.collisions
    assert set(codes) <= {0, -signal.SIGKILL}
    with lease_devices(bench.leases, ["fake-0", "fake-1"], 2, silent) as held:  # all leases were released
        assert list(held) == ["fake-0", "fake-1"]


def test_a_job_that_outlives_its_launcher_keeps_the_device(tmp_path):
    """A process that inherited the open lease file holds the lease, e.g. one that is slow to exit."""
    with lease_devices(tmp_path, ["a"], 1, silent) as held:
        job = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=held.values())
    got = threading.Event()

    def take():
        with lease_devices(tmp_path, ["a"], 1, silent):
            got.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert not got.wait(0.5)
    job.communicate(b"\n")
    assert got.wait(600)
    thread.join()


def test_a_job_of_two_devices_is_not_starved_by_jobs_of_one(tmp_path):
    stop, starts = threading.Event(), []

    def small():
        while not stop.is_set():
            with lease_devices(tmp_path, ["a", "b"], 1, silent):
                starts.append(time.monotonic())
                time.sleep(0.05)

    threads = [threading.Thread(target=small) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(starts) > 10)
    before = len(starts)
    with lease_devices(tmp_path, ["a", "b"], 2, silent) as held:
        taken = len(starts)
        time.sleep(0.2)
        assert list(held) == ["a", "b"] and len(starts) == taken  # no other launcher got one meanwhile
    stop.set()
    for thread in threads:
        thread.join()
    assert taken - before < 200, "seconds, where each holds a device for 0.05 s"


def test_a_waiting_launcher_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("zsbench.jobs.leases.SAY_SECONDS", 0.0)
    lines = queue.Queue()

    def wait():
        with lease_devices(tmp_path, ["a"], 1, lines.put):
            pass

    with lease_devices(tmp_path, ["a"], 1, silent):
        thread = threading.Thread(target=wait)
        thread.start()
        assert "1 of 1 GPUs" in lines.get(timeout=600)
    thread.join()


def test_ports_are_never_given_twice(tmp_path):
    given, barrier = [], threading.Barrier(24)

    def take():
        with lease_port(tmp_path) as port:
            given.append(port)
            barrier.wait(timeout=600)  # all hold theirs at the same time

    threads = [threading.Thread(target=take) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(given)) == 24


def test_ports_that_others_use_are_left_out(tmp_path, monkeypatch):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr("zsbench.jobs.leases.PORTS", range(taken, taken + 1))
        with pytest.raises(OSError, match="no free port"), lease_port(tmp_path):
            pass
    assert PORTS.stop < 32768  # below Linux's ephemeral ports


def test_lease_files_can_be_locked_by_other_users(tmp_path):
    folder = tmp_path / "leases"
    with lease_devices(folder, ["GPU-1/2"], 1, silent):
        assert (folder / "gpu-GPU-1_2.lock").stat().st_mode & 0o777 == 0o666
        assert folder.stat().st_mode & 0o7777 == 0o1777
