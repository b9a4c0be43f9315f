"""Faults during training: damaged states, a rank that dies."""

import os
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest
import torch

from tests.processes import alive, wait_for
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json
from zsbench.training.gliznet import GliZNetTask
from zsbench.training.run import train_job

from .conftest import finish_backbone
from .test_loop import spec_of, start

torch.set_num_threads(1)


class StopError(Exception):
    """Ends a training in the middle."""


def interrupted(layout: Layout, recipe: dict, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Train up to the second saved state; returns the work folder."""
    inner = GliZNetTask.validate
    seen = []

    def validate(self):
        seen.append(0)
        if len(seen) == 3:
            raise StopError
        return inner(self)

    monkeypatch.setattr(GliZNetTask, "validate", validate)
    with pytest.raises(StopError):
        train_job(spec_of(recipe), layout)
    monkeypatch.setattr(GliZNetTask, "validate", inner)
    return layout.model("gliznet-full", 3).with_name("work")


@pytest.mark.parametrize("name", ["state/model.safetensors", "state/optimizer.bin", "state/progress.json", "best-*/m*"])
def test_a_damaged_state_is_not_continued(
    layout: Layout, recipe: dict, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    work = interrupted(layout, recipe, monkeypatch)
    path = next(work.glob(name))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    capfd.readouterr()
    train_job(spec_of(recipe), layout)
    said = capfd.readouterr().err
    assert "training starts from scratch" in said and path.name in said and "continuing" not in said
    assert [entry["step"] for entry in read_json(layout.model("gliznet-full", 3))["history"]] == [2, 4, 6, 8]


def test_the_state_before_last_is_never_all_there_is(
    layout: Layout, recipe: dict, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Killed between removing the old state and renaming the new one."""
    work = interrupted(layout, recipe, monkeypatch)
    (work / "state").rename(work / "state.new")
    train_job(spec_of(recipe), layout)
    assert "continuing after step 4/8" in capfd.readouterr().err


def test_another_backbone_continues_no_state(
    layout: Layout, recipe: dict, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    interrupted(layout, recipe, monkeypatch)
    (layout.fetched("tiny").parent / "files" / "notes.txt").write_text("another revision")
    finish_backbone(layout)
    train_job(spec_of(recipe), layout)
    assert "continuing" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_backbone_is_not_trained(layout: Layout, recipe: dict, name: str) -> None:
    path = layout.fetched("tiny").parent / "files" / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=name):
        train_job(spec_of(recipe), layout)


def ranks(launcher: psutil.Process) -> list[psutil.Process]:
    """The training processes of a launcher, by rank."""
    found = [child for child in launcher.children(recursive=True) if "zsbench.jobs.worker" in child.cmdline()]
    with_rank = [child for child in found if "RANK" in child.environ()]
    return sorted(with_rank, key=lambda child: int(child.environ()["RANK"]))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_rank_that_dies_ends_the_training(layout: Layout, recipe: dict) -> None:
    """At once: the other rank alone would wait for it for half an hour, which is gloo's limit."""
    two = {"per_device_batch": 4, "gpus": 2, "strategy": "ddp", "steps": 100_000, "patience": 100_000}
    process = start(layout, spec_of(recipe | two), 2)
    state = layout.model("gliznet-full", 3).with_name("work") / "state" / "progress.json"
    wait_for(state.is_file, process)
    both = ranks(psutil.Process(process.pid))
    assert len(both) == 2
    os.kill(both[1].pid, signal.SIGKILL)
    _, log = process.communicate(timeout=900)
    assert process.returncode != 0
    wait_for(lambda: not any(alive(child.pid) for child in both))
    assert re.search(r"rank +: 1 .*\n +exitcode +: -9", log), log[-3000:]
