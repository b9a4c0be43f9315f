"""A speed run: the parts of every encoder, then memory; the record is written when all are complete."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.backbones import deberta_twin
from benchmarks.measures import GateError, Products
from benchmarks.memory import measure_memory_alone
from benchmarks.parts import Parts
from benchmarks.setting import Setting
from benchmarks.shape import Shape
from benchmarks.timing import clock_of
from zsbench.jobs.runtime import prepare_torch
from zsbench.plan.code_identity import code_digest
from zsbench.store.layout import Layout
from zsbench.store.provenance import digest, environment, write_json

__all__ = ["GateError", "run_speed"]


def run_speed(root: Path, spec: dict[str, Any]) -> Path:
    """Measure everything in the spec and write `speed/speed.json`; if interrupted, the same call resumes.

    Args:
        root: `results/<run>`.
        spec: the run's `speed` block and `run`.

    Returns:
        Path of the record.

    Raises:
        GateError: a way of scoring differs from the reference.
    """
    device = prepare_torch()
    if device == "cpu":
        torch.set_num_threads(spec["threads"])
    layout = Layout(Path(root))
    own = layout.fetched(spec["backbone"]).parent / "files"
    record: dict[str, Any] = {
        "spec": spec,
        "environment": environment(),
        "source": code_digest("benchmarks.run"),
        "device": torch.cuda.get_device_name() if device == "cuda" else f"CPU, threads: {torch.get_num_threads()}",
        "clock": clock_of(device),
    }
    parts = Parts(layout.speed.parent / "parts", digest(record))
    products = {precision: Products(device, precision) for precision in spec["precisions"]}
    record["shapes"] = {}
    with TemporaryDirectory() as folder:
        for shape in spec["shapes"]:
            backbone = own if shape == "own" else deberta_twin(own, Path(folder) / shape, spec["seed"])
            one = Shape(_setting(spec, backbone, device), spec, shape, products)
            record["shapes"][shape] = one.measure(parts)
    plan, threads = spec["memory"], torch.get_num_threads()
    record["memory"] = parts.get(
        "memory",
        lambda: measure_memory_alone(own, plan["texts"], plan["labels"], plan["block"], spec["seed"], threads),
    )
    record["parts"] = parts.facts
    write_json(layout.speed, record)
    parts.clear()
    return layout.speed


def _setting(spec: dict[str, Any], backbone: Path, device: str) -> Setting:
    return Setting(
        backbone=backbone,
        device=device,
        precision=spec["precisions"][0],
        max_tokens=spec["mixed"]["max_tokens"],
        token_budget=spec["token_budget"],
        batch_sizes=tuple(spec["gliclass_batches"]),
        pipeline_batch_sizes=tuple(spec["pipeline_batches"]),
        most_labels=max([spec["mixed"]["labels"], spec["mixed"]["many_labels"], *spec["sweep"]["labels"]]),
        seed=spec["seed"],
    )
