"""From stored scores to numbers: every cell's `metrics.json` and the tidy frames that tables and figures read.

A pure function of the cells: no model, no torch, no network.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zsbench.evaluation.calibration import (
    BINS,
    Bins,
    are_probabilities,
    auroc,
    bins,
    brier,
    calibrated_ece,
    probabilities,
)
from zsbench.evaluation.cells import Cell, paired_cells, suite_systems
from zsbench.evaluation.metrics import chance, multi_label, per_label, single_label
from zsbench.evaluation.protocols import Decision, Folds, argmax, thresholded
from zsbench.store import integrity
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json, write_atomic, write_json
from zsbench.systems.controls import RANDOM, draw

METRIC_COLUMNS = ["suite", "dataset", "system", "seed", "protocol", "split", "metric", "label", "value"]
CALIBRATION_COLUMNS = [
    "suite",
    "dataset",
    "system",
    "seed",
    "confidence_kind",
    "rows",
    "ece",
    "ece_calibrated",
    "brier",
    "auroc",
]
RELIABILITY_COLUMNS = ["suite", "dataset", "system", "bin", "low", "high", "count", "confidence", "accuracy"]
COST_FIELDS = ["seconds", "texts_per_second", "peak_memory_mb", "texts", "truncated_texts", "truncated_labels"]
COST_COLUMNS = ["suite", "dataset", "system", "seed", *COST_FIELDS]
SENSITIVITY_COLUMNS = ["kind", "dataset", "system", "seed", "k", "mean", "low", "high"]
SENSITIVITY_COLUMNS += ["flip_rate", "flip_low", "flip_high", "floor", "rows"]
FRAMES = {
    "metrics": METRIC_COLUMNS,
    "calibration": CALIBRATION_COLUMNS,
    "reliability": RELIABILITY_COLUMNS,
    "cost": COST_COLUMNS,
    "sensitivity": SENSITIVITY_COLUMNS,
}
OVER_CHANCE = "macro_f1_over_chance"
DRAWS = 100  # of a random control; a draw's spread of .03 leaves .003 on the mean
# Columns that may hold missing values: stored as floating point also when every value is missing.
NUMBERS = {"value", "auroc", "confidence", "accuracy", *COST_FIELDS} - {"texts"}
NUMBERS |= {"p", "p_holm", "mcnemar_p", "df", "error", "equivalence_low", "equivalence_high", "mde", "optimism"}
NUMBERS |= {"needs_rows", "needs_seeds"}


def measure(root: Path, spec: dict[str, Any]) -> None:
    """Write every cell's `metrics.json` and `analysis/{metrics,calibration,reliability,cost,sensitivity}.parquet`.

    A system without scores on a dataset (of one of its seeds, even) has no rows of it in the frames, and no decisions
    in `metrics.json`.

    Args:
        root: `results/<run>`.
        spec: the analysis spec: `suites`, `systems` (others of its keys are not used).

    Raises:
        IntegrityError: a cell is missing, damaged, or holds other rows than its neighbours; the message names it.
    """
    layout = Layout(Path(root))
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in FRAMES}
    controls = {system["id"]: system["settings"].get("control") for system in spec["systems"]}
    guessing: dict[str, float] = {}  # of the rows of a single-label dataset
    for suite, dataset, cells, in_range in _systems_on_datasets(layout, spec):
        rows_digest = cells[0].rows_digest
        if dataset["task"] == "single" and rows_digest not in guessing:
            guessing[rows_digest] = chance(cells[0].gold)
        pooled: list[Bins] = []
        for cell in cells:
            decisions = decide(cell, dataset["task"], spec["suites"][suite])
            if controls[cell.system] in RANDOM:
                metrics = expected_rows(cell, controls[cell.system], dataset, spec["suites"][suite])
            else:
                metrics = list(metric_rows(cell, dataset, decisions))
            metrics += list(over_chance(metrics, guessing.get(rows_digest)))
            calibration, found = calibration_row(cell, dataset["task"], in_range)
            pooled.append(found)
            rows["metrics"] += metrics
            rows["calibration"].append(calibration)
            rows["cost"].append(cost_row(cell))
            rows["sensitivity"] += sensitivity_rows(layout, cell)
            path = layout.metrics(suite, cell.dataset, cell.system, cell.seed)
            write_json(path, summary(cell, decisions, metrics, calibration))
        rows["reliability"] += reliability_rows(cells[0], sum(pooled[1:], pooled[0]))
    _without_numbers(layout, spec, {(row["suite"], row["dataset"], row["system"]) for row in rows["calibration"]})
    for name, columns in FRAMES.items():
        write_frame(layout, name, rows[name], columns)


def _without_numbers(layout: Layout, spec: dict[str, Any], measured: set[tuple[str, str, str]]) -> None:
    """`metrics.json` of the cells that nothing was measured on: the workflow expects one of every cell."""
    for suite, entry in spec["suites"].items():
        for dataset, system in itertools.product(entry["datasets"], suite_systems(spec, suite)):
            if (suite, dataset["id"], system["id"]) not in measured:
                for seed in system["seeds"]:
                    where = {"suite": suite, "dataset": dataset["id"], "system": system["id"], "seed": seed}
                    write_json(layout.metrics(*where.values()), where | {"decisions": []})


def write_frame(layout: Layout, name: str, rows: list[dict[str, Any]], columns: list[str]) -> None:
    """`analysis/<name>.parquet` with exactly these columns, also when there are no rows."""
    frame = pd.DataFrame(rows, columns=columns)
    frame = frame.astype({column: "float64" for column in columns if column in NUMBERS})
    write_atomic(layout.root / "analysis" / f"{name}.parquet", lambda path: integrity.write_frame(path, frame))


def decide(cell: Cell, task: str, suite: dict[str, Any]) -> list[Decision]:
    """The cell's predictions: argmax for one label a row, else each protocol of its suite."""
    if task == "single":
        return argmax(cell)
    return thresholded(cell, suite["protocols"], Folds(suite["folds"], suite["fold_seed"], suite["partitions"]))


def _systems_on_datasets(
    layout: Layout, spec: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any], list[Cell], bool]]:
    """(suite, dataset, cells of one system, whether the system's scores are probabilities on the whole suite)."""
    for suite, entry in spec["suites"].items():
        systems = suite_systems(spec, suite)
        found: dict[str, list[tuple[dict[str, Any], list[Cell]]]] = {system["id"]: [] for system in systems}
        for dataset in entry["datasets"]:
            for system, cells in paired_cells(layout, suite, dataset, systems):
                found[system["id"]].append((dataset, cells))
        for of_system in found.values():
            in_range = all(are_probabilities(cell.scores) for _, cells in of_system for cell in cells)
            for dataset, cells in of_system:
                yield suite, dataset, cells, in_range


def metric_rows(cell: Cell, dataset: dict[str, Any], decisions: list[Decision]) -> Iterator[dict[str, Any]]:
    """Tidy rows of one cell; `label` is "" for a metric of the whole."""
    for decision in decisions:
        gold = cell.gold[decision.rows]
        where = {
            "suite": cell.suite,
            "dataset": cell.dataset,
            "system": cell.system,
            "seed": cell.seed,
            "protocol": decision.protocol,
            "split": decision.split,
        }
        whole = single_label if dataset["task"] == "single" else multi_label
        for metric, value in _mean([whole(gold, predictions) for predictions in decision.partitions]).items():
            yield where | {"metric": metric, "label": "", "value": value}
        if dataset["task"] == "single":
            continue
        scores = cell.scores[decision.rows]
        values = [per_label(gold, predictions, scores) for predictions in decision.partitions]
        for index, label in enumerate(dataset["label_names"]):
            threshold = {} if decision.thresholds is None else {"threshold": float(decision.thresholds[index])}
            for metric, of_label in (_mean([found[index] for found in values]) | threshold).items():
                yield where | {"metric": metric, "label": label, "value": of_label}


def _mean(found: list[dict[str, Any]]) -> dict[str, float | None]:
    """Mean of each metric; None where it has no value."""
    return {
        name: None if found[0][name] is None else float(np.mean([values[name] for values in found]))
        for name in found[0]
    }


def over_chance(rows: list[dict[str, Any]], guessing: float | None) -> Iterator[dict[str, Any]]:
    """Macro-F1 as the share of what lies above chance, (F - F0) / (1 - F0): twenty labels and two weigh alike in a
    mean.
        Args:
            guessing: F0; None where rows have several labels.
    """
    for row in rows:
        if guessing is not None and row["metric"] == "macro_f1":
            yield row | {"metric": OVER_CHANCE, "value": (row["value"] - guessing) / (1 - guessing)}


def expected_rows(cell: Cell, name: str, dataset: dict[str, Any], suite: dict[str, Any]) -> list[dict[str, Any]]:
    """As `metric_rows`, for a random control: each value is the mean over `DRAWS` draws, its expectation.

    The cell stores one of them, which calibration and figures of single rows show.
    """
    gold, found = cell.gold.astype(float), []
    suite = suite | {"partitions": 1}  # the draws average over more than partitions do
    for seed in range(DRAWS):
        drawn = replace(cell, scores=draw(name, seed, cell.dataset, dataset["task"], cell.split, gold))
        found.append(list(metric_rows(drawn, dataset, decide(drawn, dataset["task"], suite))))
    values = np.array([[row["value"] for row in rows] for rows in found], dtype=float)  # (draws, rows); None is nan
    means = [None if np.isnan(column).any() else float(column.mean()) for column in values.T]
    return [row | {"value": value} for row, value in zip(found[0], means, strict=True)]


def calibration_row(cell: Cell, task: str, in_range: bool) -> tuple[dict[str, Any], Bins]:
    """ECE, Brier and AUROC of one cell, and its reliability bins.

    Single label: confidence of the argmax against its correctness. Multi-label: each (row, label) score against the
    label's presence, on the test split where there is one, else on validation.

    Args:
        in_range: the system's scores lie in [0, 1] on every dataset of the suite.
    """
    if task == "single":
        kind = "cosine" if cell.card.get("family") == "biencoder" else "score" if in_range else "softmax"
        stated = probabilities(cell.scores, cell.gold, kind)
        confidences, squares = stated.max(axis=1), brier(stated, cell.gold)
        correct = cell.gold[np.arange(len(cell.gold)), cell.winners]
    else:
        rows = cell.split == ("test" if "test" in cell.split else "validation")
        confidences, correct, kind = cell.scores[rows].ravel(), cell.gold[rows].ravel(), "label score"
        squares = brier(confidences[:, None], correct[:, None])
    found = bins(confidences, correct)
    row = {
        "suite": cell.suite,
        "dataset": cell.dataset,
        "system": cell.system,
        "seed": cell.seed,
        "confidence_kind": kind,
        "rows": len(confidences),
        "ece": found.ece,
        "ece_calibrated": calibrated_ece(confidences),
        "brier": squares,
        "auroc": auroc(confidences, correct),
    }
    return row, found


def reliability_rows(cell: Cell, pooled: Bins) -> Iterator[dict[str, Any]]:
    """The bins of one system on one dataset, pooled over seeds; an empty bin has no confidence and no accuracy."""
    for index in range(BINS):
        count = int(pooled.count[index])
        yield {
            "suite": cell.suite,
            "dataset": cell.dataset,
            "system": cell.system,
            "bin": index,
            "low": index / BINS,
            "high": (index + 1) / BINS,
            "count": count,
            "confidence": float(pooled.confidence[index]) / count if count else None,
            "accuracy": float(pooled.correct[index]) / count if count else None,
        }


def cost_row(cell: Cell) -> dict[str, Any]:
    """What scoring the cell took, from its card."""
    values = {field: cell.card.get(field) for field in COST_FIELDS} | {"texts": len(cell.gold)}
    return {"suite": cell.suite, "dataset": cell.dataset, "system": cell.system, "seed": cell.seed} | values


def sensitivity_rows(layout: Layout, cell: Cell) -> Iterator[dict[str, Any]]:
    """Records of the cell's `sensitivity.json` (other label orders, other wordings), where the run made one."""
    path = layout.cell(cell.suite, cell.dataset, cell.system, cell.seed) / "sensitivity.json"
    for record in read_json(path)["records"] if path.is_file() else []:
        where = {"dataset": cell.dataset, "system": cell.system, "seed": cell.seed}
        yield where | {key: record[key] for key in SENSITIVITY_COLUMNS if key not in where}


def summary(
    cell: Cell, decisions: list[Decision], metrics: list[dict[str, Any]], calibration: dict[str, Any]
) -> dict[str, Any]:
    """`metrics.json`: one block a protocol and split, with the split its thresholds were fitted on."""
    blocks = []
    for decision in decisions:
        mine = [row for row in metrics if (row["protocol"], row["split"]) == (decision.protocol, decision.split)]
        labels = dict.fromkeys(row["label"] for row in mine if row["label"])
        block = {
            "protocol": decision.protocol,
            "split": decision.split,
            "rows": len(decision.rows),
            "thresholds_fitted_on": decision.fitted_on,
            "metrics": {row["metric"]: row["value"] for row in mine if not row["label"]},
            "labels": {
                label: {row["metric"]: row["value"] for row in mine if row["label"] == label} for label in labels
            },
        }
        blocks.append(block)
    return {
        "suite": cell.suite,
        "dataset": cell.dataset,
        "system": cell.system,
        "seed": cell.seed,
        "scores_sha256": cell.card["scores_sha256"],
        "decisions": blocks,
        "calibration": {
            key: calibration[key] for key in ("confidence_kind", "ece", "ece_calibrated", "brier", "auroc")
        },
    }
