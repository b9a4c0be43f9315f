"""Where a run writes: full disks, read-only folders or those of other users, workflows that start and end."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.processes import wait_for
from tests.zsbench.resolved_config import source_config
from zsbench.cli.main import main
from zsbench.jobs.workplace import cannot_write, free_stale_lock
from zsbench.store.provenance import write_json


def fetch_job(root: Path, rows: str) -> list[str]:
    """Fetch the rows into a run."""
    source_config(root, "mine", {"kind": "local", "path": rows})
    return ["job", "fetch", "--root", str(root), "--source", "mine"]


def mounted(folder: Path, *options: str) -> bool:
    """Mount a small in-memory file system there, if the user is allowed to."""
    command = ["mount", "-t", "tmpfs", "-o", ",".join(["size=300k", *options]), "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder):
        pytest.skip("needs a user who may mount (as in a container that runs as root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """A csv of 100 kB."""
    path = tmp_path / "rows.csv"
    pd.DataFrame({"text": [f"{i} " + "x" * 95 for i in range(1000)], "label": 0}).to_csv(path, index=False)
    return str(path)


def test_a_full_disk_is_said_and_the_same_command_continues(
    small_disk: Path, rows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = small_disk / "results"
    command = fetch_job(root, rows)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 250_000)
    assert main(command) == 1
    assert "no space left" in capsys.readouterr().err.splitlines()[-1]
    assert not list(root.rglob("manifest.json"))
    filler.unlink()
    assert main(command) == 0
    assert (root / "fetch" / "mine" / "manifest.json").is_file()


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    path = small_disk / "card.json"
    write_json(path, {"old": 1})
    before = path.read_bytes()
    with pytest.raises(OSError, match="No space left") as full:
        write_json(path, {"new": "x" * 400_000})
    assert path.read_bytes() == before and [item.name for item in small_disk.iterdir()] == ["card.json"]
    assert cannot_write(full.value) is not None


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("Error while serializing: IoError(Os { code: 28, kind: StorageFull })"),
        RuntimeError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"),
    ],
)
def test_libraries_words_for_a_full_disk_are_known(error: Exception) -> None:
    wrapped = ValueError("could not save")
    wrapped.__cause__ = error
    assert "no space left" in str(cannot_write(wrapped))
    assert cannot_write(ValueError("other")) is None


def test_a_read_only_folder_is_named(small_disk: Path, rows: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = fetch_job(small_disk / "results", rows)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert main(command) == 1
    assert str(small_disk) in capsys.readouterr().err.splitlines()[-1]


STAYS = "import sys, time\nfrom pathlib import Path\nfrom zsbench.jobs.workplace import free_stale_lock\n" + (
    "free_stale_lock(Path(sys.argv[1]))\nPath(sys.argv[1], sys.argv[2]).touch()\ntime.sleep(600)"
)


def workflow(folder: Path, name: str) -> subprocess.Popen:
    """A process that works in the folder until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", STAYS, str(folder), name])
    wait_for((folder / name).exists, process)
    return process


def test_the_lock_of_a_killed_workflow_is_freed_and_that_of_a_live_one_is_not(tmp_path: Path) -> None:
    first = workflow(tmp_path, "first")
    lock = tmp_path / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir()
    lock.touch()
    second = workflow(tmp_path, "second")
    assert lock.exists(), "the first is alive"
    first.kill()
    first.wait()
    third = workflow(tmp_path, "third")
    assert lock.exists(), "the second is alive, and may be the one whose lock this is"
    for process in (second, third):
        process.kill()
        process.wait()
    workflow(tmp_path, "fourth").kill()
    assert not lock.exists()


def test_the_lock_of_another_machine_is_left_alone(tmp_path: Path) -> None:
    lock = tmp_path / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    (tmp_path / ".snakemake" / "live").write_text("another-host")
    workflow(tmp_path, "first").kill()
    assert lock.exists()


def test_a_file_system_without_kernel_locks_frees_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    (tmp_path / ".snakemake" / "live").write_text(socket.gethostname())

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    free_stale_lock(tmp_path)
    assert lock.exists()


JOB = "import sys, time\nfrom pathlib import Path\nfrom zsbench.jobs.worker import end_with\n" + (
    "end_with(int(sys.argv[1]))\nPath(sys.argv[2]).touch()\ntime.sleep(600)"
)


def test_a_job_ends_with_the_process_it_is_told(tmp_path: Path) -> None:
    """Also if the dead workflow is still a zombie, so that its process id exists."""
    run = workflow(tmp_path, "first")
    command = [sys.executable, "-c", JOB, str(run.pid), str(tmp_path / "works")]
    process = subprocess.Popen(command)
    wait_for((tmp_path / "works").exists, process)
    time.sleep(1.0)
    assert process.poll() is None, "it works while the workflow does"
    run.kill()
    assert process.wait() == -signal.SIGKILL
    run.wait()
    late = subprocess.run(command, capture_output=True, text=True)
    assert late.returncode != 0 and "is gone" in late.stderr
