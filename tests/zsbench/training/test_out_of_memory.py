"""Out of memory: smaller passes, the same optimiser steps, and a note in the record."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.zsbench.resolved_config import training_config
from zsbench.recipe import Recipe
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.training.loop import Trainer
from zsbench.training.run import train_job

from .conftest import RECIPE, finish_backbone

STEADY = {
    "vicreg_weight": 0.0,
    "bce_mean": "sample",
    "bce_weight": 0.0,
    "dropout": 0.0,
}  # independent of the batch per pass


def spec_of(recipe: dict, name: str) -> dict:
    return {"id": name, "family": "gliznet", "seed": 3, "recipe": recipe, "options": STEADY}


def no_room_for(monkeypatch: pytest.MonkeyPatch, limit: int, from_step: int = 0) -> None:
    step = Trainer._step

    def guarded(self: Trainer, number: int) -> None:
        if self.per_device_batch > limit and number >= from_step:
            raise torch.OutOfMemoryError("CUDA out of memory (made up)")
        step(self, number)

    monkeypatch.setattr(Trainer, "_step", guarded)


def without_dropout(layout: Layout) -> None:
    path = layout.fetched("tiny").parent / "files" / "config.json"
    config = json.loads(path.read_text()) | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    path.write_text(json.dumps(config))
    finish_backbone(layout)


@pytest.mark.parametrize("from_step", [0, 3])  # immediately, and after a state was saved
def test_the_batch_halves_and_the_effective_batch_stays(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], from_step: int
) -> None:
    without_dropout(layout)
    recipe = RECIPE | {"per_device_batch": 8, "effective_batch": 8}
    train_job(spec_of(recipe, "plenty"), layout)
    no_room_for(monkeypatch, 2, from_step)
    train_job(spec_of(recipe, "scarce"), layout)
    plenty, scarce = (read_json(layout.model(name, 3)) for name in ("plenty", "scarce"))
    assert (plenty["per_device_batch"], plenty["accumulation"], plenty["did_not_fit"]) == (8, 1, [])
    assert (scarce["per_device_batch"], scarce["accumulation"], scarce["did_not_fit"]) == (2, 4, [8, 4])
    losses = [[entry["losses"]["total"] for entry in record["history"]] for record in (plenty, scarce)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert "out of memory with 8 texts a pass: 4 from here on" in capsys.readouterr().err
    assert not list(layout.model("scarce", 3).parent.glob(".too-large*"))


def test_one_text_that_does_not_fit_is_an_error(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    no_room_for(monkeypatch, 0)
    with pytest.raises(torch.OutOfMemoryError):
        train_job(spec_of(RECIPE | {"per_device_batch": 2, "effective_batch": 8}, "none"), layout)


@pytest.mark.parametrize(("effective", "world", "size", "smaller"), [(128, 4, 16, 8), (12, 1, 6, 3), (10, 1, 5, 2)])
def test_the_next_size_makes_up_the_effective_batch(effective: int, world: int, size: int, smaller: int) -> None:
    recipe = Recipe(**(RECIPE | {"effective_batch": effective, "per_device_batch": size}))
    assert recipe.smaller(world, size) == smaller
    assert recipe.accumulation(world, smaller) * world * smaller == effective


DRIVER = """
import torch
from zsbench.training.loop import Trainer
from zsbench.cli.main import main
step = Trainer._step
def guarded(self, number):
    if self.per_device_batch > 2 and self.accelerator.process_index == 1:
        raise torch.OutOfMemoryError("made up")
    step(self, number)
Trainer._step = guarded
raise SystemExit(main())
"""


def test_several_processes_end_and_the_same_command_continues(layout: Layout, tmp_path: Path) -> None:
    """A process that runs out of memory must not leave the others waiting for it."""
    (tmp_path / "driver.py").write_text(DRIVER)
    recipe = RECIPE | {"per_device_batch": 4, "effective_batch": 8, "gpus": 2, "strategy": "ddp", "steps": 2}
    command = [sys.executable, "-m", "zsbench.cli", "launch", "--cpu", "--gpus", "2", "--strategy", "ddp"]
    command += ["--", str(tmp_path / "driver.py"), "job", "train", "--root", str(layout.root)]
    command += ["--model", "gliznet-two", "--seed", "3"]
    training_config(layout.root, spec_of(recipe, "gliznet-two"))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    first = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert first.returncode != 0 and "run the same command again" in first.stderr
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    record = read_json(layout.model("gliznet-two", 3))
    assert (record["per_device_batch"], record["accumulation"], record["did_not_fit"]) == (2, 2, [4])
