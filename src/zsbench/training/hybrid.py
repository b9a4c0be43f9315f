"""HybridNLI: the feature store of a topic set, and the heads trained on it.

n texts, L labels.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hybridnli.checkpoint import save_checkpoint
from hybridnli.encoder import NLIEncoder
from hybridnli.features import CheckedShards, FeatureStore, build_store
from hybridnli.thresholds import fit_thresholds
from hybridnli.training import HybridOptions, TrainedHeads, train_heads
from zsbench.data.fetched import open_fetched
from zsbench.jobs.runtime import prepare_torch
from zsbench.plan.code_identity import code_digest
from zsbench.store.integrity import check_rows, listing, open_model
from zsbench.store.layout import Layout
from zsbench.store.progress import counter_for, say_for
from zsbench.store.provenance import environment, file_sha256, read_json, write_json
from zsbench.systems.base import Neutraliser, well_formed
from zsbench.training.selection import NEVER_MOVED, never_moved

OPTION_NAMES = {  # config key -> HybridOptions field
    "epochs": "epochs",
    "batch_size": "batch",
    "learning_rate": "lr",
    "weight_decay": "weight_decay",
    "grad_clip": "clip",
    "patience": "patience",
    "blend_weight": "blend_weight",
    "kl_weight": "kl_weight",
    "num_codes": "num_codes",
    "proj_dim": "proj_dim",
    "selection": "selection",
}
CHECKPOINT = "multihead_v2.pt"  # the published file name


def nli_folder(spec: dict[str, Any], layout: Layout) -> Path:
    """Folder of the hybrid's NLI model: this run's training of the same seed, or a fetched one."""
    if spec["nli_kind"] == "trained":
        return open_model(layout, spec["nli"], spec["seed"])
    return open_fetched(layout.fetched(spec["nli"]))[0]


def store_folder(spec: dict[str, Any], layout: Layout) -> Path:
    """Folder of the features of the hybrid's NLI model, made by the present code; all hybrids over one share it."""
    seed = spec["seed"] if spec["nli_kind"] == "trained" else "-any"
    return layout.root / "features" / f"{spec['nli']}-seed{seed}-{code_digest('hybridnli.features')}"


def open_encoder(spec: dict[str, Any], layout: Layout, device: str) -> NLIEncoder:
    """The frozen NLI model with the hybrid's template."""
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[spec["precision"]]
    return NLIEncoder(nli_folder(spec, layout), template=spec["template"], device=device, dtype=dtype)


def features(
    spec: dict[str, Any],
    layout: Layout,
    encoder: NLIEncoder,
    texts: list[str],
    descriptions: dict[str, str],
    checked: CheckedShards | None = None,
) -> FeatureStore:
    """Features of these texts; what the store does not hold yet is computed, by one process at a time.

    Args:
        checked: one dict for all calls of a caller that goes through texts in blocks: no file is read twice.
    """
    folder = store_folder(spec, layout)
    counters = {stage: counter_for(f"features {spec['nli']} {stage}", unit) for stage, unit in STAGES.items()}
    neutralise = Neutraliser(encoder.tokenizer)
    return build_store(
        encoder,
        neutralise(well_formed(texts)),
        dict(zip(descriptions, neutralise(list(descriptions.values())), strict=True)),
        folder,
        max_length=spec["training"]["max_length"],
        token_budget=spec["token_budget"],
        progress=lambda stage, done, total: counters[stage](done, total),
        checked=checked,
    )


STAGES = {"tokens": "texts", "nli": "pairs"}


def train_hybrid(root: Path, spec: dict[str, Any]) -> None:
    """Build the features of a topic set and train heads and blend weights on its train split.

    Writes `checkpoint/multihead_v2.pt` (the published format) and then `training.json` beside it.

    Args:
        root: `results/<run>`.
        spec: `Plan.hybrid_spec` and `seed`: nli, nli_kind, dataset, nli_only, template, training,
            precision, token_budget.

    Raises:
        ValueError: the topic set lacks a train or validation split, or a label of `nli_only`.
    """
    device = prepare_torch()
    layout = Layout(Path(root))
    say = say_for(f"{spec['id']} seed {spec['seed']}")
    facts = read_json(layout.dataset_card(spec["dataset"]))
    names: list[str] = facts.get("label_names", facts["labels"])
    descriptions = dict(zip(names, facts["labels"], strict=True))
    frame = pd.read_parquet(check_rows(layout.dataset(spec["dataset"])))
    parts = {split: np.flatnonzero(frame["split"] == split) for split in ("train", "validation")}
    _check(spec, names, parts)
    encoder = open_encoder(spec, layout, device)
    store = features(spec, layout, encoder, frame["text"].tolist(), descriptions)
    gold = _gold_matrix(frame["gold"].tolist(), len(names))
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
            f"hybrid.{spec['id']}.nli_only: {unknown[0]!r} is no label of {spec['dataset']!r}; allowed: {names}"
        )


def _gold_matrix(gold: list[np.ndarray], n_labels: int) -> np.ndarray:
    """(n, L) float32 of 0 and 1 from lists of label indices."""
    matrix = np.zeros((len(gold), n_labels), dtype=np.float32)
    for row, indices in zip(matrix, gold, strict=True):
        row[np.asarray(indices, dtype=np.int64)] = 1.0
    return matrix


def _options(spec: dict[str, Any], names: list[str]) -> HybridOptions:
    values = {field: spec["training"][key] for key, field in OPTION_NAMES.items()}
    return HybridOptions(specialists=tuple(name for name in names if name not in spec["nli_only"]), **values)


def _line(record: dict[str, Any], epochs: int) -> str:
    """Progress line of an epoch."""
    loss = " ".join(f"{name} {value:.3f}" for name, value in record["loss"].items())
    return f"epoch {record['epoch']}/{epochs}  {loss}  validation {record['validation']:.4f}"


def _training_record(trained: TrainedHeads, rows: int, seconds: float) -> dict[str, Any]:
    """The history in the words of every other training record; a step is an epoch."""
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
