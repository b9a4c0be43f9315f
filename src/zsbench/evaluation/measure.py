"""Compute metrics from stored scores: decisions and `metrics.json` per cell, then tidy frames over all cells.

This depends only on the cells: no model, no torch, no network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zsbench.evaluation.calibration import (
    BINS,
    are_probabilities,
    auroc,
    bins,
    brier,
    calibrated_ece,
    ece,
    ece_interval,
    probabilities,
    risk_coverage,
    wilson,
)
from zsbench.evaluation.cells import Cell, read_cells
from zsbench.evaluation.metrics import chance, of_counts, of_scores, one_hot, per_label, point
from zsbench.evaluation.protocols import Decision, decide, write_decisions
from zsbench.plan.suites import is_random, suite_systems
from zsbench.store import frames
from zsbench.store.layout import Layout
from zsbench.store.provenance import file_sha256, read_json, write_json
from zsbench.systems.controls import draw

COST_FIELDS = ["seconds", "texts_per_second", "peak_memory_mb", "texts", "truncated_texts", "truncated_labels"]
FRAMES = ("metrics", "calibration", "coverage", "reliability", "cost", "sensitivity")  # from single cells
OVER_CHANCE = "macro_f1_over_chance"
DRAWS = 100  # of a random control; with a standard deviation of 0.03 per draw, the mean has one of 0.003
BOOTSTRAP = 2000  # draws of rows for the interval of a flip rate
Spec = dict[str, Any]
Values = dict[tuple[str, str], Any]  # (metric, label) -> value or None; label "" for a metric over all labels


def measure_job(root: Path, spec: Spec) -> None:
    """Write `decisions.parquet` and `metrics.json` of every cell of one system and seed, then `Layout.measured`.

    Args:
        spec: `Plan.measure_spec`.

    Raises:
        IntegrityError: a cell is missing or damaged; the message names it.
    """
    layout, sums = Layout(Path(root)), {}
    system = {"id": spec["system"], "seeds": [spec["seed"]]}
    for suite, entry in spec["suites"].items():
        cells = {dataset["id"]: read_cells(layout, suite, dataset, system) for dataset in entry["datasets"]}
        in_range = all(are_probabilities(cell.scores) for of_set in cells.values() for cell in of_set)
        for dataset in entry["datasets"]:
            numbers: dict[str, Any] = {"decisions": []}  # for a cell without scores
            for cell in cells[dataset["id"]]:
                numbers = _measure_cell(layout, cell, dataset, entry, spec["settings"], in_range)
            where = {"suite": suite, "dataset": dataset["id"], "system": spec["system"], "seed": spec["seed"]}
            path = layout.metrics(*where.values())
            write_json(path, where | numbers)
            sums[f"{suite}/{dataset['id']}"] = file_sha256(path)
    write_json(
        layout.measured(spec["system"], spec["seed"]), {"cells": list(sums), "metrics": sums, "volatile": ["metrics"]}
    )


def _measure_cell(
    layout: Layout, cell: Cell, dataset: Spec, suite: Spec, settings: Spec, in_range: bool
) -> dict[str, Any]:
    """The contents of a cell's `metrics.json`, except its id. Also writes the cell's decisions."""
    decisions = decide(cell, suite)
    write_decisions(layout, cell, decisions)
    if is_random({"settings": settings}):
        values = expected_values(cell, settings["control"], dataset, suite)
    else:
        values = [values_of(cell, dataset, decision) for decision in decisions]
    if dataset["task"] == "single":
        guessing = chance(cell.gold)
        for one in values:  # rescaled so that chance is 0: comparable in a mean over sets with two and twenty labels
            one[OVER_CHANCE, ""] = (one["macro_f1", ""] - guessing) / (1 - guessing)
    calibration, of_bins, coverage = calibration_of(cell, dataset["task"], in_range)
    sensitivity = layout.sensitivity(cell.suite, cell.dataset, cell.system, cell.seed)
    return {
        "scores_sha256": cell.card["scores_sha256"],
        "volatile": ["cost"],
        "label_names": dataset["label_names"],
        "decisions": [block_of(*pair) for pair in zip(decisions, values, strict=True)],
        "calibration": calibration,
        "reliability": of_bins,
        "coverage": coverage,
        "cost": {field: cell.card.get(field) for field in COST_FIELDS} | {"texts": len(cell.gold)},
        "sensitivity": list(sensitivity_records(read_json(sensitivity), suite["metric"]))
        if sensitivity.is_file()
        else [],
    }


def gather(root: Path, spec: Spec) -> None:
    """Write the frames (`FRAMES`), `analysis/<name>.parquet`, from every cell's `metrics.json`.

    A system that lacks scores on a dataset, even for a single seed, has no rows for it: a mean over fewer seeds than on
    other datasets would not be comparable.
    """
    layout = Layout(Path(root))
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in FRAMES}
    for suite, entry in spec["suites"].items():
        for system in suite_systems(spec, suite):
            for dataset in entry["datasets"]:
                paths = [layout.metrics(suite, dataset["id"], system["id"], seed) for seed in system["seeds"]]
                measured = [read_json(path) for path in paths]
                if all(one["decisions"] for one in measured):
                    _add_rows(rows, measured)
    for name in FRAMES:
        frames.write(layout, name, rows[name])


def _add_rows(rows: dict[str, list[dict[str, Any]]], measured: list[dict[str, Any]]) -> None:
    """Add the rows of one system on one dataset (all seeds) to the frames."""
    for one in measured:
        where = {key: one[key] for key in ("suite", "dataset", "system", "seed")}
        for block in one["decisions"]:
            decided = where | {"protocol": block["protocol"], "split": block["split"]}
            for metric, value in block["metrics"].items():
                rows["metrics"].append(decided | {"metric": metric, "label": "", "value": value})
            for label in one["label_names"] if block["labels"] else ():
                for metric, value in block["labels"][label].items():
                    rows["metrics"].append(decided | {"metric": metric, "label": label, "value": value})
        rows["calibration"].append(where | one["calibration"])
        rows["coverage"] += [where | record for record in one["coverage"]]
        rows["cost"].append(where | one["cost"])
        rows["sensitivity"] += [where | record for record in one["sensitivity"]]
    pooled = {
        key: np.sum([one["reliability"][key] for one in measured], axis=0) for key in ("count", "confidence", "correct")
    }
    where = {key: measured[0][key] for key in ("suite", "dataset", "system")}
    seeds = len(measured)  # all seeds score the same rows, so a bin has count / seeds rows
    lowest, highest = wilson(pooled["correct"] / seeds, pooled["count"] / seeds)
    for index, count in enumerate(pooled["count"].tolist()):  # an empty bin has no confidence and no accuracy
        means = {
            "confidence": pooled["confidence"][index] / count if count else None,
            "accuracy": pooled["correct"][index] / count if count else None,
            "accuracy_low": lowest[index],
            "accuracy_high": highest[index],
        }
        limits = {"bin": index, "low": index / BINS, "high": (index + 1) / BINS, "count": int(count)}
        rows["reliability"].append(where | limits | means)


def values_of(cell: Cell, dataset: dict[str, Any], decision: Decision) -> Values:
    """Every metric of a cell under one decision; means over its partitions."""
    gold, scores, task = cell.gold[decision.rows], cell.scores[decision.rows], dataset["task"]
    whole = of_counts(task, gold, decision.partitions) | of_scores(task, gold, scores)
    values: Values = {(name, ""): value for name, value in whole.items()}
    labels = [] if task == "single" else per_label(gold, decision.partitions, scores)
    for index, of_label in enumerate(labels):
        threshold = {} if decision.thresholds is None else {"threshold": float(decision.thresholds[index])}
        label = dataset["label_names"][index]
        values |= {(name, label): value for name, value in (of_label | threshold).items()}
    return values


def expected_values(cell: Cell, name: str, dataset: dict[str, Any], suite: dict[str, Any]) -> list[Values]:
    """`values_of` each decision of a random control: means over `DRAWS` draws, which estimate expectations.

    The cell stores one draw, which calibration and figures of single rows use.
    """
    gold, draws = cell.gold.astype(float), []
    suite = suite | {"partitions": 1}  # the mean over draws already averages out the partition
    for seed in range(DRAWS):
        drawn = replace(cell, scores=draw(name, seed, cell.dataset, dataset["task"], cell.split, gold))
        draws.append([values_of(drawn, dataset, decision) for decision in decide(drawn, suite)])
    return [_expectation(of_decision) for of_decision in zip(*draws, strict=True)]


def _expectation(draws: Sequence[Values]) -> Values:
    columns = {key: np.array([values[key] for values in draws], dtype=float) for key in draws[0]}  # None is nan
    return {key: None if np.isnan(column).any() else float(column.mean()) for key, column in columns.items()}


def calibration_of(
    cell: Cell, task: str, in_range: bool
) -> tuple[dict[str, Any], dict[str, list[float]], list[dict[str, Any]]]:
    """Calibration of one cell: ECE, Brier score and AUROC; sums of its reliability bins; its risk-coverage record.

    Single-label: the confidence of the argmax against its correctness. Multi-label: each (row, label) score against
    whether the label is gold, on the test split if there is one, otherwise on validation; no risk-coverage record,
    because it is not obvious what to abstain from when several labels can be correct.

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
    of_bins = bins(confidences, correct)
    expected, largest = calibrated_ece(confidences)
    low, high = ece_interval(confidences, correct)
    values = {
        "confidence_kind": kind,
        "rows": len(confidences),
        "ece": ece(of_bins),
        "ece_low": low,
        "ece_high": high,
        "ece_calibrated": expected,
        "ece_calibrated_high": largest,
        "brier": squares,
        "auroc": auroc(confidences, correct),
    }
    coverage = [risk_coverage(confidences, correct)] if task == "single" else []
    return values, {key: value.tolist() for key, value in of_bins.items()}, coverage


def sensitivity_records(answers: dict[str, Any], metric: str) -> Iterator[dict[str, Any]]:
    """Rows of the frame `sensitivity` from the answers of a cell (`evaluation.sensitivity.answers`).

    - `mean`, `low`, `high`: mean, minimum and maximum of the suite's metric over the K orders or wordings;
    - `flip_rate`: share of answers that differ from the answer under the labels in use, with a 95 % interval over rows;
    - `floor`: flip rate when the same labels are scored again;
    - `median_shift`: median of |p - p_0| over rows and other orders (or wordings), where p is the probability of the
      answer under the labels in use.
    """
    gold, labels = np.array(answers["gold"]), answers["labels"]
    for kind in ("order", "verbalisation"):
        if not answers[kind]:
            continue
        answered, stated = np.array(answers[kind]), np.array(answers[f"{kind}_p"])  # (K, n)
        values = point(metric, one_hot(gold, labels), one_hot(answered, labels), single=True)
        of_row = (answered[1:] != answered[0]).mean(axis=0) if len(answered) > 1 else np.zeros(len(gold))
        drawn = np.random.default_rng(0).integers(len(gold), size=(BOOTSTRAP, len(gold)))
        low, high = np.quantile(of_row[drawn].mean(axis=1), [0.025, 0.975])
        yield {
            "kind": kind,
            "k": len(answered),
            "mean": float(values.mean()),
            "low": float(values.min()),
            "high": float(values.max()),
            "flip_rate": float(of_row.mean()),
            "flip_low": float(low),
            "flip_high": float(high),
            "floor": float((np.array(answers["again"]) != answered[0]).mean()),
            "median_shift": float(np.median(np.abs(stated[1:] - stated[0]))) if len(stated) > 1 else 0.0,
            "rows": len(gold),
        }


def block_of(decision: Decision, values: Values) -> dict[str, Any]:
    """What `metrics.json` records of a decision: row count, the split its thresholds were fitted on, and metrics."""
    labels: dict[str, dict[str, float | None]] = {}
    for (metric, label), value in values.items():
        if label:
            labels.setdefault(label, {})[metric] = value
    return {
        "protocol": decision.protocol,
        "split": decision.split,
        "rows": len(decision.rows),
        "thresholds_fitted_on": decision.fitted_on,
        "metrics": {metric: value for (metric, label), value in values.items() if not label},
        "labels": labels,
    }
