"""A system's results in other formats: a BTZSC result file, and the model index of a hub model card."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from zsbench import __version__
from zsbench.evaluation.cells import Cell
from zsbench.evaluation.metrics import of_counts
from zsbench.evaluation.protocols import argmax, representative_decision
from zsbench.families import FAMILIES, MODEL_TYPES
from zsbench.reporting.explain import open_cell
from zsbench.store.cells import OK, cell_ids, dataset_card, status
from zsbench.store.errors import ConfigError, suggest
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json

# Our id -> BTZSC name and task group. Same data sets, but BTZSC samples rows and words labels differently.
BTZSC = {
    "imdb": ("imdb", "sentiment"),
    "rotten-tomatoes": ("rottentomatoes", "sentiment"),
    "financial-phrasebank": ("financialphrasebank", "sentiment"),
    "emotion": ("emotiondair", "emotion"),
    "banking77": ("banking77", "intent"),
    "massive": ("massive", "intent"),
    "ag-news": ("agnews", "topic"),
}
BTZSC_METRICS = ("macro_f1", "accuracy", "macro_precision", "macro_recall")
NAMES = {"macro_f1": "Macro-F1", "accuracy": "Accuracy", "micro_f1": "Micro-F1", "exact_match": "Exact match"}
TYPES = {"macro_f1": "f1", "accuracy": "accuracy", "micro_f1": "f1", "exact_match": "exact_match"}


def btzsc(root: Path, system: str, model_type: str = "") -> dict[str, Any]:
    """A result file of BTZSC's leaderboard schema 1.0 (package btzsc 0.1.2), from stored scores.

    `by_dataset` has every single-label dataset of the run (under BTZSC's name if BTZSC has it, too), as means over
    seeds. The file is valid BTZSC, but was not produced by BTZSC's harness; the entry `zsbench` records the rows and
    label wordings. BTZSC's submission check will list its datasets that are missing.

    Args:
        model_type: embedding, nli, reranker or llm; by default that of the system's family.

    Raises:
        ConfigError: the run has no such system, `model_type` is unknown, or it is not given and the family has none.
        IntegrityError: the system has no single-label cell.
    """
    cells = [cell for cell in cells_of(Path(root), system) if cell.card["task"] == "single"]
    if not cells:
        raise IntegrityError(f"{root}: {system} has no single-label results, which BTZSC requires")
    first = cells[0].card
    by_seed: dict[str, list[dict[str, float]]] = {}
    for cell in cells:
        by_seed.setdefault(BTZSC.get(cell.dataset, (cell.dataset,))[0], []).append(_btzsc_metrics(cell))
    by_dataset = {name: _means(metrics) for name, metrics in by_seed.items()}
    groups: dict[str, list[dict[str, float]]] = {}
    for cell in {cell.dataset: cell for cell in cells}.values():
        if cell.dataset in BTZSC:
            name, task = BTZSC[cell.dataset]
            groups.setdefault(task, []).append(by_dataset[name])
    return {
        "schema_version": "1.0",
        "model": {
            "name": system,
            "model_type": _model_type(first["family"], system, model_type),
            "params": f"{first['parameters'] / 1e6:.0f}M" if first.get("parameters") else "unknown",
            "revision": first.get("weights_sha256") or "unknown",
            "url": "",
        },
        "evaluation": {
            "btzsc_version": f"none (zsbench {__version__})",
            "btzsc_commit": "none",
            "timestamp": "",
            "device": first["device"],
            "precision": first["precision"],
            "batch_size": None,
            "max_samples": max(len(cell.gold) for cell in cells),
        },
        "results": {
            "overall": _means(list(by_dataset.values())),
            "by_task": {task: _means(metrics) for task, metrics in groups.items()},
            "by_dataset": by_dataset,
        },
        "zsbench": {
            "run": Path(root).name,
            "seeds": sorted({cell.seed for cell in cells}),
            "note": "Rows and label words are this run's, not BTZSC's; not a result of BTZSC's harness.",
            "datasets": {
                BTZSC.get(cell.dataset, (cell.dataset,))[0]: {
                    "id": cell.dataset,
                    "rows": len(cell.gold),
                    "revision": cell.card["revision"],
                    "labels": cell.card["labels"],
                    "seen": cell.card["seen"],
                }
                for cell in cells
            },
        },
    }


def model_index(root: Path, system: str, seed: int | None = None) -> str:
    """The `model-index` block (YAML) of a hub model card: the results of one checkpoint.

    Built with huggingface_hub's `EvalResult`, so that the hub can parse it: macro-F1 and accuracy on single-label sets;
    macro-F1, micro-F1 and exact match on multi-label sets, under the protocol of `representative_decision`.

    Raises:
        ConfigError: the run has no such system or seed.
    """
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    layout, results = Layout(Path(root)), []
    for cell in cells_of_seed(Path(root), system, seed):
        facts = dataset_card(layout, cell.dataset)
        split, protocol, values = shown_metrics(cell, layout)
        origin = str(facts.get("origin", cell.dataset)).rpartition("datasets/")[2]
        for metric, value in values.items():
            results.append(
                EvalResult(
                    task_type="zero-shot-classification",
                    task_name="Zero-shot text classification",
                    dataset_type=origin,
                    dataset_name=facts.get("title", cell.dataset),
                    dataset_config=cell.dataset,  # keeps two sets of one source apart
                    dataset_revision=cell.card["revision"],
                    dataset_split=split,
                    dataset_args={"rows": int((cell.split == split).sum()), "wording": cell.card["verbalisation"]},
                    metric_type=TYPES[metric],
                    metric_name=f"{NAMES[metric]} ({protocol})",
                    metric_value=round(value, 6),
                    metric_args={"protocol": protocol, "seen": cell.card["seen"]},
                )
            )
    block = {"model-index": eval_results_to_model_index(system, results)}
    return yaml.safe_dump(block, sort_keys=False, allow_unicode=True)


def write_model_index(folder: Path, block: str) -> Path:
    """Put a `model-index` block into the metadata of a checkpoint's README.md, replacing an existing one.

    Returns:
        The path of the README.md.

    Raises:
        IntegrityError: the folder has no README.md.
    """
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard_data import model_index_to_eval_results

    path = Path(folder) / "README.md"
    if not path.is_file():
        raise IntegrityError(f"{path} is missing; expected a checkpoint folder with a model card")
    card = ModelCard.load(path)
    name, results = model_index_to_eval_results(yaml.safe_load(block)["model-index"])
    card.data.model_name, card.data.eval_results = name, results
    card.save(path)
    return path


def cells_of(root: Path, system: str) -> list[Cell]:
    """All cells of a system that have scores, sorted by suite, dataset and seed.

    Raises:
        ConfigError: the run has no such system.
        IntegrityError: none of its cells has scores, or a cell is damaged.
    """
    layout = Layout(root)
    ids = cell_ids(root)
    known = sorted({cell_id[2] for cell_id in ids})
    if system not in known:
        raise ConfigError(f"{root} has no system {system!r}{suggest(system, known)}")
    cards = {cell_id: read_json(layout.card(*cell_id)) for cell_id in ids if cell_id[2] == system}
    cells = [open_cell(layout, cell_id) for cell_id, card in cards.items() if status(card) == OK]
    if not cells:
        reason = next(card["reason"] for card in cards.values())
        raise IntegrityError(f"{root}: {system!r} has no scores: {reason}")
    return cells


def cells_of_seed(root: Path, system: str, seed: int | None) -> list[Cell]:
    """`cells_of` a system with one seed, by default its first.

    Raises:
        ConfigError: the run has no such system or seed.
    """
    cells = cells_of(root, system)
    seeds = sorted({cell.seed for cell in cells})
    if seed is not None and seed not in seeds:
        raise ConfigError(f"{system}: no seed {seed}; allowed: {', '.join(map(str, seeds))}")
    return [cell for cell in cells if cell.seed == (seeds[0] if seed is None else seed)]


def _btzsc_metrics(cell: Cell) -> dict[str, float]:
    """Accuracy and macro means over the labels that occur in gold or predictions, like btzsc's `compute_metrics`."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    gold, predicted = cell.gold.argmax(axis=1), argmax(cell)[0].predictions.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(gold, predicted, average="macro", zero_division=0.0)
    values = (f1, accuracy_score(gold, predicted), precision, recall)
    return {name: float(value) for name, value in zip(BTZSC_METRICS, values, strict=True)}


def shown_metrics(cell: Cell, layout: Layout) -> tuple[str, str, dict[str, float]]:
    """(split, protocol, metrics) that a model card shows for a cell.

    Raises:
        IntegrityError: the cell has not been measured.
    """
    if cell.card["task"] == "single":
        single = _btzsc_metrics(cell)
        return str(cell.split[0]), "argmax", {name: single[name] for name in ("macro_f1", "accuracy")}
    decision = representative_decision(layout, cell)
    values = of_counts("multi", cell.gold[decision.rows], decision.partitions)
    return decision.split, decision.protocol, {name: values[name] for name in ("macro_f1", "micro_f1", "exact_match")}


def _means(metrics: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([values[name] for values in metrics])) for name in BTZSC_METRICS}


def _model_type(family: str, system: str, given: str) -> str:
    if given and given not in MODEL_TYPES:
        raise ConfigError(f"--model-type: BTZSC has no model type {given!r}; allowed: {', '.join(MODEL_TYPES)}")
    family_type = FAMILIES[family].model_type
    if not given and family_type is None:
        raise ConfigError(
            f"{system}: BTZSC has no model type for family {family!r}; choose one with"
            f" --model-type {{{', '.join(MODEL_TYPES)}}}"
        )
    return given or str(family_type)
