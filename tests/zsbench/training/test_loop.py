"""The training loop: resume parity, loss and gradient logs, non-finite losses, accumulation, DDP parity."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.zsbench.resolved_config import training_config
from zsbench.recipe import Recipe
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.training.loop import NonFiniteLossError, Trainer
from zsbench.training.run import build_task, train_job

from .conftest import finish_backbone

torch.set_num_threads(1)
OPTIONS = {"margin": 0.5}


def spec_of(recipe: dict, **changes) -> dict:
    spec = {"id": "gliznet-full", "family": "gliznet", "seed": 3, "recipe": recipe, "options": OPTIONS}
    return spec | changes


def weights(layout: Layout, model: str = "gliznet-full") -> dict[str, torch.Tensor]:
    return load_file(layout.checkpoint(model, 3) / "model.safetensors")


def start(layout: Layout, spec: dict, processes: int = 1) -> subprocess.Popen:
    """The training job as its own process (or several, over gloo)."""
    training_config(layout.root, spec)
    job = ["-m", "zsbench.cli", "job", "train", "--root", layout.root, "--model", spec["id"], "--seed", "3"]
    launch = ["-m", "zsbench.cli", "launch", "--cpu", "--gpus", str(processes), "--strategy", "ddp", "--"]
    command = [sys.executable, *(launch if processes > 1 else []), *job]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_record_and_checkpoint(layout: Layout, recipe: dict) -> None:
    train_job(spec_of(recipe), layout)
    record = read_json(layout.model("gliznet-full", 3))
    assert [entry["step"] for entry in record["history"]] == [2, 4, 6, 8]
    for entry in record["history"]:
        assert set(entry["losses"]) == {"softmax", "bce", "vicreg", "total"}
        assert set(entry["gradient_norms"]) == {"softmax", "bce", "vicreg", "total"}
        assert all(value > 0 for value in entry["gradient_norms"].values())
    assert record["accumulation"] == 1 and record["world_size"] == 1
    assert not layout.model("gliznet-full", 3).with_name("work").exists()
    assert torch.isfinite(torch.stack([tensor.float().sum() for tensor in weights(layout).values()])).all()


def test_training_learns(layout: Layout, recipe: dict) -> None:
    """The mean loss of the last forty steps lies well below that of the first (least fall of ten seeds: 12 %)."""
    train_job(spec_of(recipe | {"steps": 120, "evaluate_every": 40}), layout)
    history = read_json(layout.model("gliznet-full", 3))["history"]
    assert history[-1]["losses"]["total"] < 0.95 * history[0]["losses"]["total"]


def test_zero_weight_terms_are_not_computed(layout: Layout, recipe: dict) -> None:
    train_job(spec_of(recipe, options={"bce_weight": 0.0, "vicreg_weight": 0.0}), layout)
    assert set(read_json(layout.model("gliznet-full", 3))["history"][0]["losses"]) == {"softmax", "total"}


@pytest.mark.parametrize("family", ["gliznet", "nli"])
def test_killed_training_continues_to_the_same_weights(
    layout: Layout, recipe: dict, tmp_path: Path, family: str
) -> None:
    """kill -9 after the first saved state, run again: bit-identical to an undisturbed training."""
    options = OPTIONS if family == "gliznet" else {"template": "this is {}"}
    spec = spec_of(recipe | {"steps": 40}, family=family, options=options)
    other = Layout(tmp_path / "undisturbed")
    other.root.mkdir()
    for name in ("fetch", "training_sets"):
        (other.root / name).symlink_to(layout.root / name)
    train_job(spec, other)
    process = start(layout, spec)
    state = layout.model("gliznet-full", 3).with_name("work") / "state" / "progress.json"
    deadline = time.monotonic() + 120
    while not state.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not layout.model("gliznet-full", 3).exists(), "killed too late: the job had already finished"
    again = start(layout, spec)
    _, log = again.communicate(timeout=200)
    assert again.returncode == 0, log
    assert "continuing after step" in log
    first, second = weights(layout), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_state_of_another_config_is_not_continued(layout: Layout, recipe: dict) -> None:
    work = layout.model("gliznet-full", 3).with_name("work")
    (work / "state").mkdir(parents=True)
    (work / "state" / "progress.json").write_text("{}")
    (work / "key").write_text("of another config")
    train_job(spec_of(recipe), layout)
    assert read_json(layout.model("gliznet-full", 3))["step"] == 8


def test_non_finite_loss_names_term_step_and_rows(layout: Layout, recipe: dict, tmp_path: Path) -> None:
    task = build_task(spec_of(recipe), layout)
    with torch.no_grad():
        task.model.aggregator.scoring.bilinear.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteLossError, match=r"'softmax' is nan at step 0, training rows \[\d"):
        Trainer(task, Recipe(**recipe), 3, tmp_path / "work", 8, print).run()


def test_patience_stops_and_keeps_the_best(layout: Layout, recipe: dict) -> None:
    """With a rate of (nearly) zero nothing improves after the first validation."""
    still = recipe | {"learning_rate": 1e-30, "head_learning_rate": 1e-30, "patience": 2, "steps": 40}
    train_job(spec_of(still), layout)
    record = read_json(layout.model("gliznet-full", 3))
    assert record["step"] == 6 and record["best"]["step"] == 2


def test_effective_batch_must_split_evenly(recipe: dict) -> None:
    parsed = Recipe(**recipe)
    assert parsed.accumulation(1, 2) == 4
    assert parsed.accumulation(2, 2) == 2
    with pytest.raises(ValueError, match="effective_batch 8 is not a multiple of 3 processes x per_device_batch 2"):
        parsed.accumulation(3, 2)


def test_accumulation_gives_the_same_losses(layout: Layout, recipe: dict, tmp_path: Path) -> None:
    """Without the batch-wide terms (VICReg, cell-mean BCE), 4 micro-batches of 2 equal one batch of 8."""
    options = {"vicreg_weight": 0.0, "bce_mean": "sample", "dropout": 0.0}
    curves = []
    for size in (8, 2):
        task = build_task(spec_of(recipe, options=options), layout)
        for module in task.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        record = Trainer(task, Recipe(**recipe), 3, tmp_path / str(size), size, lambda text: None).run()
        curves.append([entry["validation"] for entry in record["history"]])
    np.testing.assert_allclose(curves[0], curves[1], atol=0.02)


def test_two_gloo_processes_give_the_curve_of_one(layout: Layout, recipe: dict) -> None:
    """DDP over two CPU processes, same effective batch, dropout off: the same total loss to tolerance."""
    options = {"vicreg_weight": 0.0, "bce_mean": "sample", "dropout": 0.0, "bce_weight": 0.0}
    curves = []
    config = json.loads((layout.fetched("tiny").parent / "files" / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (layout.fetched("tiny").parent / "files" / "config.json").write_text(json.dumps(config))
    finish_backbone(layout)
    for model, processes in (("gliznet-one", 1), ("gliznet-two", 2)):
        sizes = {
            "per_device_batch": 8 // processes,
            "gpus": processes,
            "strategy": "ddp" if processes > 1 else "single",
        }
        process = start(layout, spec_of(recipe | sizes, options=options, id=model), processes)
        _, log = process.communicate(timeout=240)
        assert process.returncode == 0, log
        record = read_json(layout.model(model, 3))
        assert record["world_size"] == processes
        curves.append([entry["losses"]["total"] for entry in record["history"]])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)
