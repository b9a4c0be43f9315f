"""HybridNLI: trains heads on the features of a topic set.

Shapes: n texts, L labels.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hybridnli.checkpoint import save_checkpoint
from hybridnli.thresholds import fit_thresholds
from hybridnli.training import HybridOptions, TrainedHeads, train_heads
from zsbench.jobs.runtime import prepare_torch, resolve_precision
from zsbench.plan.code_identity import code_digest
from zsbench.store.integrity import check_rows, listing
from zsbench.store.layout import Layout
from zsbench.store.progress import progress_logger
from zsbench.store.provenance import environment, file_sha256, read_json, write_json
from zsbench.systems import gold_matrix
from zsbench.systems.hybrid_features import CHECKPOINT, features, open_encoder
from zsbench.training.selection import NEVER_MOVED, never_moved


def train_hybrid(root: Path, spec: dict[str, Any], licences: dict[str, str] | None = None) -> None:
    """Compute the features of a topic set and train heads and blend weights on its train split.

    Writes `checkpoint/multihead_v2.pt` (the published format) and then `training.json`.

    Args:
        root: `results/<run>`.
        spec: `Plan.hybrid_spec` and `seed`: nli, nli_kind, dataset, nli_only, template, training,
            precision, token_budget.
        licences: source id -> licence, for the record; editing a licence does not trigger retraining.

    Raises:
        ValueError: the topic set lacks a train or validation split, or a label listed in `nli_only`.
    """
    device = prepare_torch()
    spec = spec | {"precision": resolve_precision(spec["precision"], device)}
    layout = Layout(Path(root))
    say = progress_logger(f"{spec['id']} seed {spec['seed']}")
    facts = read_json(layout.dataset_card(spec["dataset"]))
    names: list[str] = facts.get("label_names", facts["labels"])
    descriptions = dict(zip(names, facts["labels"], strict=True))
    frame = pd.read_parquet(check_rows(layout.dataset(spec["dataset"])))
    parts = {split: np.flatnonzero(frame["split"] == split) for split in ("train", "validation")}
    _check(spec, names, parts)
    encoder = open_encoder(spec, layout, device)
    store = features(spec, layout, encoder, frame["text"].tolist(), descriptions)
    gold = gold_matrix(frame["gold"].tolist(), len(names)).astype(np.float32)
    options = _options(spec, names)

    def progress(epoch: dict[str, Any]) -> None:
        say(_line(epoch, options.epochs))

    started = time.perf_counter()
    rows = parts["train"], parts["validation"]
    trained = train_heads(store, gold, *rows, options=options, seed=spec["seed"], progress=progress, device=device)
    seconds = time.perf_counter() - started
    never = never_moved([epoch["validation"] for epoch in trained.history])
    if never:
        say(NEVER_MOVED)
    cuts = fit_thresholds(trained.scores(store, parts["validation"]), gold[parts["validation"]])
    thresholds = dict(zip(names, cuts.tolist(), strict=True))
    path = layout.checkpoint(spec["id"], spec["seed"]) / CHECKPOINT
    save_checkpoint(trained.model, thresholds, path, {"hypothesis_template": spec["template"]})
    record = {
        "spec": spec,
        "licences": licences or {},
        "labels": descriptions,
        "nli_identity": encoder.identity,
        **_training_record(trained, len(parts["train"]), seconds),
        "selection_never_moved": never,
        "thresholds": thresholds,
        "files": listing(path.parent),
        "weights_sha256": file_sha256(path),
        "device": device,
        "environment": environment(),
        "source": code_digest("zsbench.training.hybrid"),
        "volatile": ["seconds", "rows_per_second", "environment"],  # differs between equal trainings
    }
    write_json(layout.model(spec["id"], spec["seed"]), record)


def _check(spec: dict[str, Any], names: list[str], parts: dict[str, np.ndarray]) -> None:
    empty = [split for split, rows in parts.items() if not len(rows)]
    if empty:
        raise ValueError(f"hybrid.{spec['id']}.dataset: {spec['dataset']!r} has no rows in split {empty[0]!r}")
    unknown = [label for label in spec["nli_only"] if label not in names]
    if unknown:
        raise ValueError(
            f"hybrid.{spec['id']}.nli_only: {unknown[0]!r} is not a label of {spec['dataset']!r}; allowed: {names}"
        )


def _options(spec: dict[str, Any], names: list[str]) -> HybridOptions:
    values = {name: value for name, value in spec["training"].items() if name != "max_length"}
    return HybridOptions(specialists=tuple(name for name in names if name not in spec["nli_only"]), **values)


def _line(record: dict[str, Any], epochs: int) -> str:
    """Progress line of an epoch."""
    loss = " ".join(f"{name} {value:.3f}" for name, value in record["loss"].items())
    return f"epoch {record['epoch']}/{epochs}  {loss}  validation {record['validation']:.4f}"


def _training_record(trained: TrainedHeads, rows: int, seconds: float) -> dict[str, Any]:
    """The training history in the format of the other families; a step is an epoch."""
    history = [
        {
            "step": record["epoch"],
            "losses": record["loss"],
            "validation": record["validation"],
            "gradient_norms": {},
            "learning_rate": record["lr"],
            "alpha": record["alpha"],
        }
        for record in trained.history
    ]
    best = history[trained.best_epoch - 1]
    return {
        "history": history,
        "best": {"step": best["step"], "validation": best["validation"]},
        "alphas": best["alpha"],
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "seconds": round(seconds, 2),
        "rows_per_second": round(rows * len(history) / max(seconds, 1e-9), 2),
    }
