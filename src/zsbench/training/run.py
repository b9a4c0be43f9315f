"""One training job: `zsbench job train`, started by the rule `train_model` through `zsbench launch`.

With the strategies ddp, zero2 and fsdp, several processes run it.
"""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import AutoModel

from gliznet.batching import position_limit
from gliznet.checkpoint_files import check_files
from gliznet.loading import check_complete
from zsbench.data.fetched import open_fetched
from zsbench.families import FAMILIES, MissingPackageError, import_class, versions
from zsbench.jobs.runtime import prepare_torch, resolve_precision
from zsbench.plan.code_identity import training_code
from zsbench.recipe import Recipe
from zsbench.store.errors import ConfigError
from zsbench.store.integrity import check_listed, check_rows
from zsbench.store.layout import Layout
from zsbench.store.progress import progress_logger
from zsbench.store.provenance import digest, environment, file_sha256, read_json, write_json
from zsbench.training import tracking
from zsbench.training.loop import Trainer
from zsbench.training.rows import read_evaluation_rows, read_training_rows
from zsbench.training.task import Task

VOLATILE = ("seconds", "environment")  # differs between equal trainings


def build_task(spec: dict[str, Any], layout: Layout) -> Task:
    """Build the task of a training spec.

    Args:
        spec: `Plan.training_spec`.
        layout: layout of the run.

    Raises:
        ConfigError: the family needs a package that is not installed, or `max_length` exceeds the encoder's number of
            positions.
        ValueError: the backbone is not a complete and safe checkpoint (`gliznet.checkpoint_files`).
    """
    try:
        versions(spec["family"])
    except MissingPackageError as error:
        raise ConfigError(f"`trained.{spec['id']}`: {error}") from error
    recipe = Recipe(**spec["recipe"])
    backbone, _ = open_fetched(layout.fetched(recipe.backbone))
    check_files(backbone)
    limit = position_limit(check_complete(AutoModel, backbone))
    if limit is not None and recipe.max_length > limit:
        raise ConfigError(
            f"recipe.max_length: {recipe.max_length} is too large; allowed: at most {limit}, the positions of "
            f"{recipe.backbone!r}"
        )
    rows = check_rows(layout.training_set(recipe.training_set))
    train, validation = read_training_rows(rows, recipe.label_draw), read_evaluation_rows(rows)
    task = import_class(str(FAMILIES[spec["family"]].task_class))
    return task(backbone, spec["options"], train, validation, spec["seed"], recipe)


def train_job(spec: dict[str, Any], layout: Layout, licences: dict[str, str] | None = None) -> None:
    """Train one model with one seed, resuming an interrupted job; writes `checkpoint/` and `training.json`.

    Args:
        spec: `Plan.training_spec`.
        layout: layout of the run.
        licences: licences of backbone and training set, for the record and the model card; editing them does not
            trigger retraining.
    """
    precision = resolve_precision(spec["recipe"]["precision"], prepare_torch())
    spec, licences = spec | {"recipe": spec["recipe"] | {"precision": precision}}, licences or {}
    recipe = Recipe(**spec["recipe"])
    record_path = layout.model(spec["id"], spec["seed"])
    work = record_path.with_name("work")
    inputs = [file_sha256(path) for path in (layout.training_set(recipe.training_set), layout.fetched(recipe.backbone))]
    key = digest([spec, training_code(spec["family"]), *inputs])
    say = progress_logger(f"{spec['id']} seed {spec['seed']}")
    # Its name depends on the spec, so that no process has to wait for another to clear it.
    too_large = record_path.with_name(f".too-large-{key[:16]}.json")
    with _alone(work):
        _forget_other(work, key)
        trainer = None
        while trainer is None:
            gc.collect()  # free device memory of the previous attempt
            torch.cuda.empty_cache()
            trainer, record = _attempt(spec, work, layout, licences, too_large, say)
        if trainer.accelerator.is_main_process:  # only the process that writes the record may remove the file
            record["did_not_fit"] = read_json(too_large) if too_large.is_file() else []
            record["licences"] = licences
            _finish(spec, record, trainer, record_path)
            too_large.unlink(missing_ok=True)
        trainer.accelerator.wait_for_everyone()
        trainer.accelerator.end_training()


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Lock the folder against a second job, such as one left running by a killed workflow. Released on exit."""
    work.parent.mkdir(parents=True, exist_ok=True)
    if os.environ.get("RANK", "0") != "0":
        yield  # only the first process holds the lock
        return
    with FileLock(work.with_name(".training.lock")):
        yield


def _forget_other(work: Path, key: str) -> None:
    """Delete the state of a training with another config or code, which must never be resumed.

    Only the first process does; the others read the folder later, after `wait_for_everyone` in `Trainer.run`.
    """
    marker = work / "key"
    if os.environ.get("RANK", "0") == "0":
        if work.exists() and (not marker.is_file() or marker.read_text() != key):
            shutil.rmtree(work)
        work.mkdir(parents=True, exist_ok=True)
        marker.write_text(key)


def _attempt(
    spec: dict[str, Any],
    work: Path,
    layout: Layout,
    licences: dict[str, str],
    too_large: Path,
    say: Callable[[str], None],
) -> tuple[Trainer | None, dict[str, Any]]:
    """Train with the largest per-device batch that is not known to be too large.

    Returns:
        The trainer and its record; no trainer if this batch did not fit into device memory either.

    Raises:
        torch.OutOfMemoryError: a single text does not fit, or there are several processes. In that case the others wait
            in a collective call, so the job has to end; the same command resumes with a smaller batch.
    """
    recipe = Recipe(**spec["recipe"])
    failed = read_json(too_large) if too_large.is_file() else []
    world = int(os.environ.get("WORLD_SIZE", "1"))
    size = recipe.smaller(world, failed[-1]) if failed else recipe.per_device_batch
    task = build_task(spec, layout)
    task.card_facts = {
        name: f"`{made_of}` (licence: {licences.get(made_of, 'not stated')})"
        for name, made_of in (("backbone", recipe.backbone), ("training data", recipe.training_set))
    } | {"seed": str(spec["seed"])}
    trainer = Trainer(task, recipe, spec["seed"], work, size, say)
    tracking.start(trainer.accelerator, f"{spec['id']} seed {spec['seed']}", spec["recipe"])
    try:
        return trainer, trainer.run()
    except torch.OutOfMemoryError as error:
        if size == 1:
            raise
        write_json(too_large, [*failed, size])
        words = f"out of memory with {size} texts a pass: {recipe.smaller(world, size)} from here on, effective batch "
        if world > 1:
            raise torch.OutOfMemoryError(f"{words}as before; run the same command again") from error
        say(f"{words}as before")
    return None, {}


def _finish(spec: dict[str, Any], record: dict[str, Any], trainer: Trainer, record_path: Path) -> None:
    """Put the best checkpoint in place, then write the record, which marks the model as complete."""
    checkpoint = record_path.with_name("checkpoint")
    record_path.unlink(missing_ok=True)  # it describes the files that are replaced now
    shutil.rmtree(checkpoint, ignore_errors=True)
    shutil.copytree(trainer.best, checkpoint)
    record["files"] = record["best"].pop("files")
    check_listed(checkpoint, record["files"], trainer.work)
    record["parameters"] = sum(parameter.numel() for parameter in trainer.task.model.parameters())
    record["weights_sha256"] = file_sha256(checkpoint / "model.safetensors")
    record["seconds"] = round(record["seconds"], 2)
    facts = {"spec": spec, "environment": environment(), "source": training_code(spec["family"])}
    write_json(record_path, facts | record | {"volatile": list(VOLATILE)})
    shutil.rmtree(trainer.work)
