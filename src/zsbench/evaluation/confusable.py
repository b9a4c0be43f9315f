"""Accuracy between confusable labels, i.e. labels of a data set that are similar for the untrained encoder.

The label pairs are computed by a separate job (`label_pairs`). The rest is computed from stored scores, with the same
intervals, p values and verdicts as other differences.

n rows, L labels, S seeds.
"""

from pathlib import Path
from typing import Any

import numpy as np

from zsbench.evaluation.cells import paired_cells
from zsbench.evaluation.compare import AVERAGE, Comparisons, Evidence, Sample, bases, test_of
from zsbench.evaluation.statistics import coins, row_weights
from zsbench.plan.comparisons import Pair, derive
from zsbench.plan.suites import ARGMAX, suite_systems, suites_of
from zsbench.store import frames
from zsbench.store.layout import Layout
from zsbench.store.provenance import digest, read_json

TABLE = "confusable"


def confusable_accuracy(scores: np.ndarray, gold: np.ndarray, pairs: list[list[int]]) -> np.ndarray:
    """For each row, the share of labels confusable with its gold label that score below it, (n,).

    Ties count half; nan if the gold label is not confusable with any other.

    Args:
        scores: (n, L).
        gold: (n,) label indices.
        pairs: index pairs of confusable labels.
    """
    partners: dict[int, list[int]] = {}
    for a, b in pairs:
        partners.setdefault(a, []).append(b)
        partners.setdefault(b, []).append(a)
    values = np.full(len(gold), np.nan)
    for label, others in partners.items():
        rows = np.flatnonzero(gold == label)
        margin = scores[rows, label][:, None] - scores[rows][:, others]
        values[rows] = ((margin > 0) + 0.5 * (margin == 0)).mean(axis=1)
    return values


def compare_confusable(root: Path, spec: dict[str, Any]) -> None:
    """Write `analysis/confusable.parquet`: every contrast of variants, in the columns of `deltas`.

    All contrasts of a suite form one multiple-testing family. The frame is empty if no labels are similar, or if fewer
    than two variants were trained.
    """
    layout = Layout(Path(root))
    lookalikes = read_json(layout.label_pairs)["pairs"] if layout.label_pairs.is_file() else {}
    rows: list[dict[str, Any]] = []
    for suite in suites_of(spec, "single") if lookalikes else ():
        names = {system["id"] for system in suite_systems(spec, suite)}
        contrasts = [one for one in derive(spec["gliznet"]) if {one.system, one.baseline} <= names]
        pairs = [
            Pair(TABLE, suite, "test", one.system, ARGMAX, one.baseline, ARGMAX, one.factor, one.levels)
            for one in contrasts
        ]
        rows += _suite_rows(layout, spec, suite, pairs, lookalikes)
    frames.write(layout, TABLE, rows)


def _suite_rows(
    layout: Layout, spec: dict[str, Any], suite: str, pairs: list[Pair], lookalikes: dict[str, list[list[int]]]
) -> list[dict[str, Any]]:
    """Rows of one suite."""
    wanted = {name for pair in pairs for name in (pair.system, pair.baseline)}
    systems = [system for system in suite_systems(spec, suite) if system["id"] in wanted]
    evidence: dict[str, Evidence] = {}
    for dataset in spec["suites"][suite]["datasets"]:
        if not lookalikes.get(dataset["id"]):
            continue
        values = {}
        for system, cells in paired_cells(layout, suite, dataset, systems):
            of_seeds = [
                confusable_accuracy(cell.scores, cell.gold.argmax(axis=1), lookalikes[dataset["id"]]) for cell in cells
            ]
            values[system["id"]] = np.stack(of_seeds)  # (S, n)
        if values and not np.isnan(next(iter(values.values()))).all():
            evidence[dataset["id"]] = evidence_of(dataset["id"], values, pairs, spec["statistics"])
    count = sum(len(lookalikes[name]) for name in evidence)
    comparisons = Comparisons(evidence, bases(spec, suite), spec["statistics"])
    rows = []
    for row in comparisons.rows(pairs):
        sets = [row["dataset"]] if row["dataset"] != AVERAGE else list(evidence)
        keys = {side: ("test", row[side], ARGMAX) for side in ("system", "baseline")}
        sets = [name for name in sets if all(key in evidence[name].samples for key in keys.values())]
        means = {side: float(comparisons.sample(key, sets).points.mean()) for side, key in keys.items()}
        pairs_of = len(lookalikes[row["dataset"]]) if row["dataset"] != AVERAGE else count
        row |= {"metric": "confusable_accuracy", "value": means["system"], "baseline_value": means["baseline"]}
        rows.append(row | {"pairs": pairs_of})
    return rows


def evidence_of(dataset: str, values: dict[str, np.ndarray], pairs: list[Pair], statistics: dict[str, Any]) -> Evidence:
    """Resample one dataset, as `compare.resample` does for predictions; here the metric is a mean over rows.

    Args:
        values: system -> (S, n) from `confusable_accuracy`.
    """
    known = ~np.isnan(next(iter(values.values()))[0])
    values = {name: of_system[:, known] for name, of_system in values.items()}
    n, seed = int(known.sum()), int(digest([statistics["seed"], dataset, TABLE]), 16)
    weights = np.concatenate(list(row_weights(n, statistics["draws"], seed))) / n  # (D, n)
    signs = 1 - 2 * np.concatenate(list(coins(n, statistics["draws"], seed)))  # (D, n) of +1 and -1
    evidence = Evidence({}, {}, {"test": 2 / n**2}, {"test": 0})  # two unseen rows, see `verdicts.unseen_variance`
    for name, of_system in values.items():
        sample = Sample(name, of_system.mean(axis=1), weights @ of_system.T, of_system[0] > 0.5)
        evidence.samples["test", name, ARGMAX] = sample
    for pair in pairs:
        test = test_of(pair)
        if all(key in evidence.samples for key in test):
            first, second = (values[key[1]].mean(axis=0) for key in test)
            evidence.null[test] = signs @ (first - second) / n
    return evidence
