"""The training loop: resume parity, loss and gradient logs, non-finite losses, accumulation, DDP parity."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.zsbench.resolved_config import training_config
from zsbench.recipe import LabelDraw, Recipe
from zsbench.reporting.export import write_model_index
from zsbench.reporting.export_eval import write_eval_results
from zsbench.store.integrity import open_model
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json
from zsbench.systems.load import weights_sha256
from zsbench.training.loop import NonFiniteLossError, Trainer
from zsbench.training.rows import EvaluationRows
from zsbench.training.run import build_task, train_job
from zsbench.training.task import IGNORED, Task

from .conftest import finish_backbone

torch.set_num_threads(1)
CLI = ("-m", "zsbench.cli")
OPTIONS = {"margin": 0.5}
# The command line, killed as soon as a file exists: by itself, so that no busy machine lets it finish before.
KILLED = """
import os, pathlib, signal, sys, threading, time
def kill(file):
    while not file.is_file():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=kill, args=(pathlib.Path(sys.argv.pop(1)),), daemon=True).start()
from zsbench.cli.main import main
raise SystemExit(main())
"""


def spec_of(recipe: dict, **changes) -> dict:
    spec = {"id": "gliznet-full", "family": "gliznet", "seed": 3, "recipe": recipe, "options": OPTIONS}
    return spec | changes


def weights(layout: Layout, model: str = "gliznet-full") -> dict[str, torch.Tensor]:
    return load_file(layout.checkpoint(model, 3) / "model.safetensors")


def start(layout: Layout, spec: dict, processes: int = 1, program: Iterable[str] = CLI) -> subprocess.Popen:
    """The training job as its own process (or several, over gloo)."""
    training_config(layout.root, spec)
    job = [*program, "job", "train", "--root", layout.root, "--model", spec["id"], "--seed", "3"]
    launch = [*CLI, "launch", "--cpu", "--gpus", str(processes)]
    launch += ["--strategy", spec["recipe"]["strategy"], "--"]
    command = [sys.executable, *(launch if processes > 1 else []), *job]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_record_and_checkpoint(layout: Layout, recipe: dict) -> None:
    train_job(spec_of(recipe), layout)
    record = read_json(layout.model("gliznet-full", 3))
    assert [entry["step"] for entry in record["history"]] == [2, 4, 6, 8]
    for entry in record["history"]:
        assert set(entry["losses"]) == {"softmax", "bce", "vicreg", "total"}
        assert set(entry["gradient_norms"]) == ({"softmax", "bce", "vicreg"} if entry["step"] in (4, 8) else set())
        assert all(value > 0 for value in entry["gradient_norms"].values())
    assert record["accumulation"] == 1 and record["world_size"] == 1
    assert not layout.model("gliznet-full", 3).with_name("work").exists()
    assert torch.isfinite(torch.stack([tensor.float().sum() for tensor in weights(layout).values()])).all()


def test_a_checkpoint_may_be_given_a_card_and_results_and_stays_the_same_model(layout: Layout, recipe: dict) -> None:
    """`zsbench export model-index --into` and `export eval-results --into` write into a run's checkpoint folder."""
    train_job(spec_of(recipe), layout)
    folder = layout.checkpoint("gliznet-full", 3)
    before = weights_sha256(folder)
    write_model_index(folder, yaml.safe_dump({"model-index": [{"name": "n", "results": []}]}))
    write_eval_results(folder, {"a.yaml": "- x: 1\n"})
    assert open_model(layout, "gliznet-full", 3) == folder and weights_sha256(folder) == before
    (folder / "config.json").write_text("{}")
    with pytest.raises(IntegrityError, match="config.json"):
        open_model(layout, "gliznet-full", 3)


def test_training_learns(layout: Layout, recipe: dict) -> None:
    """The mean loss of the last forty steps is well below that of the first (smallest drop over ten seeds: 12 %)."""
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
    """kill -9 after the first saved state, then run again: bit-identical to an uninterrupted training."""
    options = OPTIONS if family == "gliznet" else {"template": "this is {}"}
    spec = spec_of(recipe | {"steps": 40}, family=family, options=options)
    other = Layout(tmp_path / "undisturbed")
    other.root.mkdir()
    for name in ("fetch", "training_sets"):
        (other.root / name).symlink_to(layout.root / name)
    train_job(spec, other)
    state = layout.model("gliznet-full", 3).with_name("work") / "state" / "progress.json"
    process = start(layout, spec, program=("-c", KILLED, str(state)))
    _, log = process.communicate()
    assert process.returncode == -signal.SIGKILL, log
    assert not layout.model("gliznet-full", 3).exists()
    again = start(layout, spec)
    _, log = again.communicate()
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
    """With a learning rate of (nearly) zero, nothing improves after the first validation."""
    still = recipe | {"learning_rate": 1e-30, "head_learning_rate": 1e-30, "patience": 2, "steps": 40}
    train_job(spec_of(still), layout)
    record = read_json(layout.model("gliznet-full", 3))
    assert record["step"] == 6 and record["best"]["step"] == 2


def test_an_epoch_is_a_pass_and_ends_with_a_validation(layout: Layout, recipe: dict) -> None:
    """40 training rows, 8 per step: five steps per epoch."""
    del recipe["steps"]
    train_job(spec_of(recipe | {"epochs": 2, "evaluate_every": "epoch"}), layout)
    assert [entry["step"] for entry in read_json(layout.model("gliznet-full", 3))["history"]] == [5, 10]


@pytest.mark.parametrize("family", ["gliznet", "nli", "biencoder", "gliclass"])
def test_the_reference_draw_and_the_validation_loss_train_every_family(
    layout: Layout, recipe: dict, family: str, tmp_path: Path
) -> None:
    """Micro-batches of two texts, some without any true label. The best weights have the lowest loss."""
    options = {"template": "this is {}"} if family == "nli" else {}
    recipe |= {"label_draw": "reference", "selection": "validation_loss", "per_device_batch": 2, "steps": 24}
    task = build_task(spec_of(recipe, family=family, options=options), layout)
    record = Trainer(task, Recipe(**recipe), 3, tmp_path / "work", 2, lambda text: None).run()
    losses = [entry["validation"] for entry in record["history"]]
    assert record["best"]["validation"] == min(losses)
    assert record["best"]["step"] == record["history"][losses.index(min(losses))]["step"]


def drawn(task: Task) -> list[list[int]]:
    """Targets of every training row over some steps."""
    batches = [task.batch(range(len(task.train.texts)), (3, step))["labels"] for step in range(20)]
    return [row[row != IGNORED].int().tolist() for batch in batches for row in batch]


def test_a_recipe_says_how_labels_are_drawn(layout: Layout, recipe: dict) -> None:
    """Also which labels are drawn: the reference excludes labels of up to three characters."""
    by = {draw: build_task(spec_of(recipe | {"label_draw": draw}), layout) for draw in get_args(LabelDraw)}
    assert all(1 in row and 0 in row for row in drawn(by["stratified"]))
    rows = drawn(by["reference"])
    assert any(1 not in row for row in rows) and any(0 not in row for row in rows)
    shortest = {
        draw: min(len(label) for row in [*task.train.positives, *task.train.negatives] for label in row)
        for draw, task in by.items()
    }
    assert shortest == {"reference": 4, "stratified": 3}


def test_what_texts_without_a_false_label_count_for_is_a_factor_of_the_reference_draw_alone(
    layout: Layout, recipe: dict
) -> None:
    def softmax(draw: str, rule: str) -> list[float]:
        options = {"samples_without_negatives": rule, "dropout": 0.0}
        task = build_task(spec_of(recipe | {"label_draw": draw}, options=options), layout)
        task.model.eval()
        batches = [task.batch(range(8), (3, step)) for step in range(6)]
        return [task.losses(task.model, batch)["softmax"].item() for batch in batches]

    assert softmax("stratified", "count") == softmax("stratified", "drop")
    counted, dropped = softmax("reference", "count"), softmax("reference", "drop")
    assert all(one <= other for one, other in zip(counted, dropped, strict=True)) and counted != dropped


def test_the_validation_loss_is_the_mean_over_rows_of_the_loss_that_is_trained(layout: Layout, recipe: dict) -> None:
    """Its only term here is computed per text, so batches do not matter."""
    spec = spec_of(recipe | {"selection": "validation_loss"}, options={"vicreg_weight": 0.0, "bce_weight": 0.0})
    task = build_task(spec, layout)
    task.model.eval()
    rows = task.validation
    alone = [
        float(task.losses(task.model, task.collate([text], [labels], torch.as_tensor(targets)[None].float()))["total"])
        for text, labels, targets in zip(rows.texts, rows.labels, rows.targets, strict=True)
    ]
    assert task.validate() == pytest.approx(np.mean(alone), rel=1e-5)
    task.recipe = replace(task.recipe, per_device_batch=3)
    assert task.validate() == pytest.approx(np.mean(alone), rel=1e-5)


@pytest.mark.parametrize("family", ["gliznet", "nli", "biencoder", "gliclass"])
def test_the_validation_loss_is_of_no_more_labels_than_a_training_row_has(
    layout: Layout, recipe: dict, family: str
) -> None:
    """The first labels of the stored order, which is random."""
    options = {"template": "this is {}"} if family == "nli" else {}
    recipe |= {"selection": "validation_loss", "max_labels": 2}
    task = build_task(spec_of(recipe, family=family, options=options), layout)
    task.model.eval()
    assert max(map(len, task.validation.labels)) > 2
    loss = task.validate()
    rows = task.validation
    task.validation = EvaluationRows(rows.texts, [row[:2] for row in rows.labels], [row[:2] for row in rows.targets])
    assert task.validate() == loss


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
    """The paper run's ZeRO-2, on a CPU as two processes that average gradients: same total loss without dropout."""
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
            "strategy": "zero2" if processes > 1 else "single",
        }
        process = start(layout, spec_of(recipe | sizes, options=options, id=model), processes)
        _, log = process.communicate()
        assert process.returncode == 0, log
        record = read_json(layout.model(model, 3))
        assert (record["world_size"], record["distributed"]) == (processes, "MULTI_CPU" if processes > 1 else "NO")
        curves.append([entry["losses"]["total"] for entry in record["history"]])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)
