"""Somebody else works in the same results/, where some files are not his: told which, in one line, and nothing lost."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hybridnli.shards import only_writer, write_shard
from zsbench import leases
from zsbench.cli import main
from zsbench.layout import Layout
from zsbench.provenance import read_json, write_json
from zsbench.systems import imported  # noqa: F401  (what the child would import as a user who cannot read the sources)
from zsbench.workplace import enter

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs a user who may become another one")


def as_other(function: Callable[[], int | None]) -> tuple[int, str]:
    """Exit code and all output of a function, in a child process of a user who owns nothing (umask 022)."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(write, stream)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.umask(0o022)
        sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1)
        try:
            code = function() or 0
        except BaseException as error:
            os.write(2, f"RAISED {type(error).__name__}: {error}".encode())
            code = 70
        os._exit(code)
    os.close(write)
    with os.fdopen(read) as answer:
        said = answer.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every user can reach, with a data file; pytest's own folders are for one user."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.chdir(folder)
        pd.DataFrame({"text": ["a", "b"], "label": ["0", "1"]}).to_csv("rows.csv", index=False)
        yield Path(folder)


FETCH = {"id": "mine", "kind": "local", "path": "rows.csv", "mirror": None}
PREPARE = {
    "id": "set",
    "source": "mine",
    "title": "t",
    "suite": "gliclass",
    "task": "single",
    "files": {"test": "rows.csv"},
    "format": {"type": "table"},
    "text": "text",
    "gold": {"column": "label", "values": ["0", "1"]},
    "labels": ["bad", "good"],
    "label_names": ["bad", "good"],
    "verbalisation": "plain",
    "domain": "d",
    "rows": None,
    "expected_rows": {"test": 2},
    "licence": "l",
    "citation": "c",
    "sample_seed": 0,
}
FETCHING = ["fetch", "--root", "results/tiny", "--spec", json.dumps(FETCH)]
PREPARING = ["prepare", "--root", "results/tiny", "--spec", json.dumps(PREPARE)]
IMPORTING = ["import-scores", "--root", "results/tiny", "--system", "own", "--dataset", "set", "scores.csv"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def open_all(folder: Path) -> None:
    """What an owner does who lets others in: all folders may be written to; files stay his (umask 022)."""
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        path.chmod(0o777)


def finished(shared: Path) -> Path:
    """results/tiny as its owner left it."""
    assert main(FETCHING) == 0 and main(PREPARING) == 0
    ids = pd.read_parquet("results/tiny/datasets/set/rows.parquet")["sample_id"]
    pd.DataFrame({"sample_id": ids, "bad": 0.0, "good": 1.0}).to_csv("scores.csv", index=False)
    return shared / "results" / "tiny"


REFUSED = {  # what the owner left closed -> the verb, and the path that its message names
    "the whole run, fetch": (".", 0o755, FETCHING, "results/tiny/fetch"),
    "the whole run, prepare": (".", 0o755, PREPARING, "results/tiny/datasets/set"),
    "the whole run, import": (".", 0o755, IMPORTING, "results/tiny"),
    "the fetched files": ("fetch/mine/files", 0o755, FETCHING, "fetch/mine/files"),
    "a manifest": ("fetch/mine/manifest.json", 0o600, PREPARING, "fetch/mine/manifest.json"),
    "a fetched file": ("fetch/mine/files/rows.csv", 0o600, PREPARING, "fetch/mine/files/rows.csv"),
    "a folder of fetched files": ("fetch/mine/files", 0o700, PREPARING, "fetch/mine/files"),
    "prepared rows": ("datasets/set/rows.parquet", 0o600, IMPORTING, "datasets/set/rows.parquet"),
    "the card of prepared rows": ("datasets/set/card.json", 0o600, IMPORTING, "datasets/set/card.json"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_closed_is_named_and_stays_as_it_was(shared: Path, case: str) -> None:
    name, mode, command, named = REFUSED[case]
    run = finished(shared)
    if name != ".":
        open_all(run)
    (run / name).chmod(mode)
    before = contents(run)
    code, said = as_other(lambda: main(command))
    assert code == 1 and "Traceback" not in said and "RAISED" not in said, said
    assert named in said and "cannot be read or written by this user" in said and "ask its owner" in said, said
    assert contents(run) == before


def test_in_open_folders_the_other_user_continues(shared: Path) -> None:
    run = finished(shared)
    open_all(run)
    for command in (FETCHING, PREPARING, IMPORTING):
        code, said = as_other(lambda command=command: main(command))  # type: ignore[misc]
        assert code == 0, said
    assert (run / "imported" / "own" / "set.parquet").stat().st_uid == NOBODY
    assert main(FETCHING) == 0 and main(PREPARING) == 0  # and so does the owner after him
    assert read_json(Layout(run).fetched("mine"))["files"][0]["name"] == "rows.csv"


def test_another_user_s_unfinished_file_does_not_stop_a_write(shared: Path) -> None:
    shared.chmod(0o777)
    write_json(shared / "card.json", {"n": 1})
    left = shared / ".card.json.0a0b0c0d.tmp"
    left.write_text("half")
    left.chmod(0o600)
    code, said = as_other(lambda: write_json(shared / "card.json", {"n": 2}))
    assert (code, said) == (0, "") and read_json(shared / "card.json") == {"n": 2}


def test_two_users_may_run_workflows_in_turn_and_at_once(shared: Path) -> None:
    shared.chmod(0o777)
    (shared / "results").mkdir()
    (shared / "results").chmod(0o777)

    def start() -> None:
        enter(shared, [shared / "results"])

    old = os.umask(0o022)
    try:
        start()  # alive as long as this process is
    finally:
        os.umask(old)
    for path in (shared / ".snakemake").rglob("*"):
        assert path.is_file()
    code, said = as_other(start)
    assert code == 70 and "WorkplaceError" in said and ".snakemake cannot be written to" in said
    (shared / ".snakemake").chmod(0o777)
    assert as_other(start) == (0, "")
    (shared / ".snakemake" / "live").chmod(0o600)
    code, said = as_other(start)
    assert "WorkplaceError" in said and ".snakemake/live" in said and "ask its owner" in said


def test_leases_are_for_all_users(shared: Path) -> None:
    folder = shared / "leases"

    def take() -> int:
        return 0 if leases._try_devices(folder, ["0", "1"], 1).keys() == {"1"} else 1

    with leases.lease_devices(folder, ["0", "1"], 1, print):
        assert as_other(take) == (0, "")
    assert leases._try_devices(folder, ["0", "1"], 2)


def test_another_user_s_feature_store_is_named(shared: Path) -> None:
    store = shared / "features"
    store.mkdir()

    def add() -> None:
        with only_writer(store):
            write_shard(store, "tokens", ["a"], [], np.ones(1, dtype=np.int64), np.ones((1, 2), np.float32))

    add()
    before = contents(store)
    code, said = as_other(add)
    assert code == 70 and "PermissionError" in said and "features/.lock" in said and contents(store) == before
