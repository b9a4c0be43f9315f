"""Every difference that a table prints: `analysis/deltas.parquet`, from stored scores alone.

Axis legend: D draws, S seeds, n rows, L labels, M prediction sets.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zsbench.evaluation.cells import paired_cells, suite_systems
from zsbench.evaluation.f1 import point_macro_f1
from zsbench.evaluation.measure import decide, write_frame
from zsbench.evaluation.protocols import Decision
from zsbench.evaluation.statistics import (
    bootstrap_macro_f1,
    difference,
    holm,
    mcnemar,
    seed_effects,
    seed_sd,
)
from zsbench.plan.comparisons import Pair, hybrid_pairs, single_pairs, topic_pairs
from zsbench.store.layout import Layout
from zsbench.store.provenance import digest

AVERAGE = "average"
COLUMNS = [
    *("table", "suite", "dataset", "metric", "protocol", "split", "system", "baseline", "baseline_protocol"),
    *("factor", "levels", "delta", "low", "high", "p", "p_holm", "tests"),
    *("n_rows", "n_sets", "n_seeds", "n_baseline_seeds", "mcnemar_p"),
]


@dataclass(frozen=True)
class Sample:
    """Macro-F1 of one system on one dataset under one protocol: by seed, and by seed in every draw.

    Attributes:
        points: (S,).
        draws: (D, S).
        correct: (n,) right and wrong rows of the first seed (all labels right, where there are many).
    """

    system: str
    points: np.ndarray
    draws: np.ndarray
    correct: np.ndarray


Samples = dict[tuple[str, str, str], Sample]  # (split, system, protocol)


def compare(root: Path, spec: dict[str, Any]) -> None:
    """Write `analysis/deltas.parquet`: paired differences with interval, p, Holm's p and McNemar's p.

    Tables: `gliclass_suite` (the named system against every other), `ablations` (contrasts derived from the variants),
    `peers` (the named system and every other trained kind against each other), `topics`, `topic_deltas` (ablations of
    the hybrid); see `pairs`. Each pair has a row a dataset and a row `average`, in which datasets are strata; both are
    over the datasets that both sides have scores on (`n_sets` of them), and a pair without any has no row. Holm's
    families: the average rows of a table (under one protocol, on one split), and apart from them its dataset rows;
    comparisons with controls are outside (p_holm missing).

    Args:
        root: `results/<run>`.
        spec: the analysis spec.

    Raises:
        IntegrityError: a cell is missing, damaged or unpaired.
        ValueError: `statistics.system` is not a system of the run.
        ConfoundedContrastError: see `contrasts`.
    """
    layout = Layout(Path(root))
    rows: list[dict[str, Any]] = []
    named, known = spec["statistics"]["system"], [system["id"] for system in spec["systems"]]
    if named not in known:
        raise ValueError(f"statistics.system: {named!r} is not a system of the run; allowed: {', '.join(known)}")
    for suite, entry in spec["suites"].items():
        samples = {dataset["id"]: sample(layout, suite, dataset, spec) for dataset in entry["datasets"]}
        shared = available(samples)
        single = all(dataset["task"] == "single" for dataset in entry["datasets"])
        pairs = [*single_pairs(spec, suite)] if single else [*topic_pairs(spec, suite, shared)]
        pairs += [] if single else hybrid_pairs(spec, suite, shared)
        for pair in pairs:
            rows += delta_rows(pair, samples, spec["statistics"])
    correct_families(rows)
    write_frame(layout, "deltas", rows, COLUMNS)


def available(samples: dict[str, Samples]) -> set[tuple[str, str, str]]:
    """(split, system, protocol) that can be compared: decided on every dataset on which the system has scores at all.

    A protocol that a dataset does not allow (no test split) is left out for every system.
    """
    scored = [found for found in samples.values() if found]
    everywhere = [{(split, protocol) for split, _, protocol in found} for found in scored]
    places = set.intersection(*everywhere) if everywhere else set()
    return {key for found in scored for key in found if (key[0], key[2]) in places}


def sample(layout: Layout, suite: str, dataset: dict[str, Any], spec: dict[str, Any]) -> Samples:
    """Bootstrap every system of the suite on one dataset; all share the draws of each split's rows."""
    statistics, single = spec["statistics"], dataset["task"] == "single"
    decided: dict[str, list[tuple[dict[str, Any], tuple[Decision, ...]]]] = {}
    gold: dict[str, np.ndarray] = {}
    for system, cells in paired_cells(layout, suite, dataset, suite_systems(spec, suite)):
        by_seed = [decide(cell, dataset["task"], spec["suites"][suite]) for cell in cells]
        for decisions in zip(*by_seed, strict=True):  # one protocol and split, all seeds
            decided.setdefault(decisions[0].split, []).append((system, decisions))
            gold[decisions[0].split] = cells[0].gold[decisions[0].rows]
    found: Samples = {}
    for split, sets in decided.items():
        predictions = np.stack([decision.predictions for _, decisions in sets for decision in decisions])  # (M, n, L)
        seed = int(digest([statistics["seed"], dataset["id"], split]), 16)
        draws = bootstrap_macro_f1(gold[split], predictions, statistics["draws"], seed, skip_absent=single)
        points = point_macro_f1(gold[split], predictions, skip_absent=single)
        start = 0
        for system, decisions in sets:
            stop = start + len(decisions)
            correct = (predictions[start] == gold[split]).all(axis=1)
            key = split, system["id"], decisions[0].protocol
            found[key] = Sample(system["id"], points[start:stop], draws[:, start:stop], correct)
            start = stop
    return found


def delta_rows(pair: Pair, samples: dict[str, Samples], statistics: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One row a dataset that both sides have and one for their average (also of a single dataset)."""
    keys = (pair.split, pair.system, pair.protocol), (pair.split, pair.baseline, pair.baseline_protocol)
    common = {name: found for name, found in samples.items() if all(key in found for key in keys)}
    if not common:
        return
    sides = [[of_dataset[key] for of_dataset in common.values()] for key in keys]
    names = [*common, AVERAGE]
    for name, system, baseline in zip(names, *([*side, average(side)] for side in sides), strict=True):
        found = difference(*paired(system, baseline, statistics), statistics["level"])
        yield {
            **dataclasses.asdict(pair),
            **dataclasses.asdict(found),
            "dataset": name,
            "metric": "macro_f1",
            "p_holm": math.nan,
            "tests": 0,
            "n_rows": len(system.correct),
            "n_sets": len(common) if name == AVERAGE else 1,
            "n_seeds": len(system.points),
            "n_baseline_seeds": len(baseline.points),
            "mcnemar_p": math.nan if name == AVERAGE else mcnemar(system.correct, baseline.correct),
        }


def average(samples: list[Sample]) -> Sample:
    """Mean macro-F1 over datasets, seed by seed and draw by draw: datasets are strata, a seed is one model."""
    return Sample(
        samples[0].system,
        np.mean([sample.points for sample in samples], axis=0),
        np.mean([sample.draws for sample in samples], axis=0),
        np.concatenate([sample.correct for sample in samples]),
    )


def paired(system: Sample, baseline: Sample, statistics: dict[str, Any]) -> tuple[float, np.ndarray]:
    """Delta of the means over seeds, and its draws (D,): rows drawn in common, seed effects drawn for each system.

    A system against itself under another protocol shares its seeds, so its effects are those of the differences.
    """
    delta = float(system.points.mean() - baseline.points.mean())
    draws = system.draws.mean(axis=1) - baseline.draws.mean(axis=1)
    if system.system == baseline.system:
        sd = (system.points - baseline.points).std(ddof=1) if len(system.points) > 1 else 0.0
        return delta, draws + sd * _effects(system, statistics)
    for side, sign in ((system, 1.0), (baseline, -1.0)):
        draws = draws + sign * seed_sd(side.points, side.draws) * _effects(side, statistics)
    return delta, draws


def _effects(sample: Sample, statistics: dict[str, Any]) -> np.ndarray:
    seed = int(digest([statistics["seed"], "seeds", sample.system]), 16)
    return seed_effects(len(sample.points), statistics["draws"], seed)


def correct_families(rows: list[dict[str, Any]]) -> None:
    """Fill `p_holm` and `tests` (the size of the family) in place."""
    families: dict[tuple[str, str, str, bool], list[dict[str, Any]]] = {}
    for row in rows:
        if row["corrected"]:
            key = row["table"], row["protocol"], row["split"], row["dataset"] == AVERAGE
            families.setdefault(key, []).append(row)
    for family in families.values():
        for row, p in zip(family, holm(np.array([row["p"] for row in family])), strict=True):
            row["p_holm"], row["tests"] = float(p), len(family)
