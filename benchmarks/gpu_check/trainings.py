"""Trainings on the device: loss curves against the CPU's, resuming after a kill, two processes, leases."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState

from benchmarks.gpu_check.sizes import SEED, Sizes
from benchmarks.peers import TEMPLATE, nli_models, recipe
from benchmarks.setting import Setting
from benchmarks.training import training_rows
from hybridnli.data import TOPICS
from hybridnli.features import build_store
from hybridnli.training import HybridOptions, train_heads
from zsbench.data.authored_sets import TOPICS as TOPIC_TEXTS
from zsbench.data.authored_sets import read_authored
from zsbench.jobs.launch import machine_devices
from zsbench.jobs.leases import lease_folder, try_devices
from zsbench.recipe import Recipe
from zsbench.store.progress import progress_logger
from zsbench.store.provenance import write_json
from zsbench.training.loop import PROGRESS, Trainer
from zsbench.training.rows import EvaluationRows, TrainingRows

# Family -> its task, its options, and the additional package that it needs.
TASKS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "gliznet": ("zsbench.training.gliznet:GliZNetTask", {"dropout": 0.0}, None),
    "nli": ("zsbench.training.nli:NLITask", {"template": TEMPLATE}, None),
    "biencoder": ("zsbench.training.biencoder:BiEncoderTask", {}, "sentence_transformers"),
    "gliclass": ("zsbench.training.gliclass:GLiClassTask", {}, "gliclass"),
}
# Maximum difference of two loss curves, relative to the CPU's first loss.
TOLERANCE = {"fp32": 0.01, "bf16": 0.05}
SAME = 1e-3  # the same, for a training that was interrupted or distributed
ROWS, VALIDATION_ROWS = 96, 16
WAIT_SECONDS = 240


def train(job: dict[str, Any]) -> list[float]:
    """Run a training; returns its total loss, averaged over every two steps."""
    module, name = TASKS[job["family"]][0].split(":")
    rows = training_rows()
    part = TrainingRows(rows.texts[:ROWS], rows.positives[:ROWS], rows.negatives[:ROWS])
    held_out = slice(ROWS, ROWS + VALIDATION_ROWS)
    pairs = list(zip(rows.positives[held_out], rows.negatives[held_out], strict=True))
    validation = EvaluationRows(
        rows.texts[held_out],
        [[*true, *false] for true, false in pairs],
        [np.array([1] * len(true) + [0] * len(false)) for true, false in pairs],
    )
    plan = Recipe(**job["recipe"])
    task_class = getattr(importlib.import_module(module), name)
    task = task_class(Path(job["backbone"]), TASKS[job["family"]][1], part, validation, SEED, plan)
    AcceleratorState._reset_state(reset_partial_state=True)  # set by an earlier training
    trainer = Trainer(
        task, plan, SEED, Path(job["work"]), plan.per_device_batch, progress_logger(f"train {job['family']}")
    )
    record = trainer.run()
    trainer.accelerator.wait_for_everyone()
    return [entry["losses"]["total"] for entry in record["history"]]


def run_job(path: Path) -> None:
    """One process of a training: `python -m benchmarks.gpu_check --job FILE`; the first one writes the curve."""
    job = json.loads(path.read_text(encoding="utf-8"))
    if job["backend"]:
        torch.distributed.init_process_group(job["backend"], timeout=timedelta(seconds=WAIT_SECONDS))
        if job["backend"] == "gloo":
            os.environ["LOCAL_RANK"] = "0"  # both processes use the first device, which NCCL rejects
    curve = train(job)
    if os.environ.get("RANK", "0") == "0":
        write_json(Path(job["out"]), {"curve": curve})


def _job(family: str, backbone: Path, work: Path, plan: Recipe, backend: str | None = None) -> dict[str, Any]:
    """Input of `run_job`; `backend` is the communication backend of a distributed training."""
    return {
        "family": family,
        "backbone": str(backbone),
        "work": str(work / "work"),
        "out": str(work / "curve.json"),
        "recipe": asdict(plan),
        "backend": backend,
    }


def curve_recipe(setting: Setting, sizes: Sizes) -> Recipe:
    """A recipe with two micro-batches per step, so that two processes compute the same as one."""
    plan = recipe(replace(setting, precision="fp32"), sizes.curve_steps, sizes.curve_batch)
    half = sizes.curve_batch // 2
    return replace(plan, per_device_batch=half, evaluate_every=2, learning_rate=1e-3, head_learning_rate=1e-3)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables of this process while the block runs."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def distance(curve: list[float], reference: list[float]) -> float:
    """Largest difference of two loss curves, relative to the first value of the reference.

    Raises:
        ValueError: different lengths, or non-finite values.
    """
    if len(curve) != len(reference) or not np.isfinite(curve).all():
        raise ValueError(f"loss curves {curve} and {reference} cannot be compared")
    return float(np.abs(np.subtract(curve, reference)).max() / abs(reference[0]))


def measure_curves(family: str, setting: Setting, sizes: Sizes) -> dict[str, Any]:
    """A family's loss curves: on the CPU in fp32, on the device in fp32 and bf16."""
    needed = TASKS[family][2]
    if needed and importlib.util.find_spec(needed) is None:
        return {"skipped": f"package {needed} is not installed"}
    plan = curve_recipe(setting, sizes)

    def curve(precision: str, device: str) -> list[float]:
        with TemporaryDirectory() as folder, _environment(ACCELERATE_USE_CPU=str(device == "cpu").lower()):
            chosen = replace(plan, precision=precision)  # type: ignore[arg-type]
            return train(_job(family, setting.backbone, Path(folder), chosen))

    cpu = curve("fp32", "cpu")
    found: dict[str, Any] = {"cpu fp32": cpu}
    for precision, allowed in TOLERANCE.items():
        own = curve(precision, setting.device)
        away = distance(own, cpu)
        found[precision] = {"curve": own, "distance": away, "tolerance": allowed, "ok": away <= allowed}
    return found


def measure_heads_curve(setting: Setting, rows: int) -> dict[str, Any]:
    """HybridNLI: features and heads on the device; compares the loss of every epoch with the CPU's."""
    data = read_authored(TOPIC_TEXTS)[: rows + max(4, rows // 4)]
    texts = [row["text"] for row in data]
    gold = np.array([[float(name in row["labels"]) for name in TOPICS.names] for row in data], dtype=np.float32)

    def curve(device: str) -> list[float]:
        encoder, _ = nli_models(replace(setting, device=device, precision="fp32"))
        options = HybridOptions(specialists=TOPICS.specialists, epochs=3, patience=3)
        with TemporaryDirectory() as folder:
            store = build_store(encoder, texts, TOPICS.descriptions, Path(folder), max_length=128, dtype="float32")
            trained = train_heads(
                store, gold, range(rows), range(rows, len(texts)), options=options, seed=SEED, device=device
            )
        return [sum(epoch["loss"].values()) for epoch in trained.history]

    cpu, own = curve("cpu"), curve(setting.device)
    away, allowed = distance(own, cpu), TOLERANCE["fp32"]
    found = {"curve": own, "distance": away, "tolerance": allowed, "ok": away <= allowed}
    return {"cpu fp32": cpu, "fp32": found}


def _write_job(job: dict[str, Any]) -> Path:
    path = Path(job["out"]).with_name("job.json")
    path.write_text(json.dumps(job), encoding="utf-8")
    return path


def measure_kill(setting: Setting, sizes: Sizes) -> dict[str, Any]:
    """Check that a launched training holds a lease, and that after a kill the same command resumes it."""
    plan = replace(curve_recipe(setting, sizes), precision="bf16")
    with TemporaryDirectory() as folder:
        fake = {} if setting.device == "cuda" else {"ZSBENCH_FAKE_GPUS": "1", "CUDA_VISIBLE_DEVICES": "0"}
        devices = list(machine_devices().values()) if setting.device == "cuda" else ["fake-0"]
        leases = lease_folder() if setting.device == "cuda" else Path(folder) / "leases"
        environment = fake | {"ZSBENCH_LEASES": str(leases)}
        job = _job("gliznet", setting.backbone, Path(folder), plan)
        state = Path(job["work"]) / "state" / PROGRESS
        command = [sys.executable, "-m", "benchmarks.gpu_check", "--launch", str(_write_job(job))]
        process, started = subprocess.Popen(command, env=os.environ | environment), time.monotonic()
        try:
            while not state.is_file() and process.poll() is None and time.monotonic() - started < WAIT_SECONDS:
                time.sleep(0.02)
            leased = len(devices) - _free(leases, devices)
            seen = _processes_on_gpus() if setting.device == "cuda" else None
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        step = json.loads(state.read_text(encoding="utf-8"))["step"]
        while _free(leases, devices) < len(devices) and time.monotonic() - started < WAIT_SECONDS:
            time.sleep(0.05)  # the job ends with its launcher, which releases the lease
        released = _free(leases, devices) == len(devices)
        continued = train(job)
        undisturbed = train(_job("gliznet", setting.backbone, Path(folder) / "undisturbed", plan))
    away = distance(continued, undisturbed)
    return {
        "killed after step": step,
        "steps": sizes.curve_steps,
        "leased while it ran": leased,
        "processes that nvidia-smi saw": seen,
        "free after the kill": released,
        "distance": away,
        "tolerance": SAME,
        "ok": away <= SAME and leased == 1 and released and step < sizes.curve_steps,
    }


def _free(leases: Path, devices: list[str]) -> int:
    """Number of devices that are not leased."""
    held = [try_devices(leases, [device], 1) for device in devices]
    for one in held:
        for handle in one.values():
            os.close(handle)
    return sum(map(bool, held))


def _processes_on_gpus() -> int:
    """Number of processes listed by `nvidia-smi` (possibly none in a container)."""
    query = ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"]
    return len(subprocess.run(query, capture_output=True, text=True, timeout=60).stdout.split())


def measure_two_processes(setting: Setting, sizes: Sizes) -> dict[str, Any]:
    """Check that data-parallel training in two processes has the loss curve of one (NCCL on two devices, else gloo)."""
    backend = "nccl" if setting.device == "cuda" and torch.cuda.device_count() > 1 else "gloo"
    plan = curve_recipe(setting, sizes)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if setting.device == "cpu":
        world["ACCELERATE_USE_CPU"] = "true"
    with TemporaryDirectory() as folder:
        alone = train(_job("gliznet", setting.backbone, Path(folder) / "alone", plan))
        job = _job("gliznet", setting.backbone, Path(folder), plan, backend)
        command = [sys.executable, "-m", "benchmarks.gpu_check", "--job", str(path := _write_job(job))]
        with _environment(**world, RANK="0", LOCAL_RANK="0"):
            AcceleratorState._reset_state(reset_partial_state=True)
            other = subprocess.Popen(command, env=os.environ | {"RANK": "1", "LOCAL_RANK": "1"})
            try:
                run_job(path)
            finally:
                other.kill()
                other.wait()
                if torch.distributed.is_initialized():
                    torch.distributed.destroy_process_group()
                AcceleratorState._reset_state(reset_partial_state=True)
        curve = json.loads(Path(job["out"]).read_text(encoding="utf-8"))["curve"]
    away = distance(curve, alone)
    return {"backend": backend, "curve": curve, "distance": away, "tolerance": SAME, "ok": away <= SAME}
