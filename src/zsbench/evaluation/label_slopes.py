"""Accuracy, tokens and time by number of labels, and their slopes, from the records of `label_counts`.

n texts, K labels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zsbench.evaluation.metrics import one_hot, point
from zsbench.store import frames
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json

BOOTSTRAP = 2000


def gather_label_counts(root: Path, spec: dict[str, Any]) -> None:
    """Write `analysis/label_counts.parquet` and `analysis/label_slopes.parquet` from the stored answers.

    Args:
        spec: the analysis spec; its `label_counts` names the systems.
    """
    layout = Layout(Path(root))
    rows: list[dict[str, Any]] = []
    slopes: list[dict[str, Any]] = []
    for system, kind in spec.get("label_counts", {}).items():
        record = read_json(layout.label_counts(system))
        if not record["sets"]:
            words = {"system": system, "kind": kind, "seed": record["spec"]["seed"], "skipped": record["reason"]}
            rows.append(words | {"datasets": ", ".join(record["spec"]["datasets"])})
            continue
        of_system = list(count_rows(record, spec["statistics"]))
        rows += [{"system": system, "kind": kind, **row} for row in of_system]
        slopes += [{"system": system, "kind": kind, **row} for row in slope_rows(record, of_system, spec["statistics"])]
    frames.write(layout, "label_counts", rows)
    frames.write(layout, "label_slopes", slopes)


def correctness(record: dict[str, Any]) -> tuple[list[int], list[np.ndarray]]:
    """Numbers of labels measured on every data set, and for each data set the correct answers, (n, C) bool."""
    sets = record["sets"].values()
    known = [{one["labels"] for one in of_set["counts"] if not one["skipped"]} for of_set in sets]
    counts = sorted(set.intersection(*known))
    right = []
    for of_set in sets:
        answers = {one["labels"]: one["answers"] for one in of_set["counts"] if not one["skipped"]}
        right.append(np.array(of_set["gold"])[:, None] == np.array([answers[K] for K in counts]).T)
    return counts, right


def count_rows(record: dict[str, Any], statistics: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One row per number of labels: accuracy with a bootstrap interval over texts, mean macro-F1, encoder input."""
    counts, right = correctness(record)
    sets = list(record["sets"].values())
    shared = {"seed": record["spec"]["seed"], "datasets": ", ".join(record["sets"])}
    rows = sum(len(of_set) for of_set in right)
    for column, K in enumerate(counts):
        at = [next(one for one in entry["counts"] if one["labels"] == K) for entry in sets]
        drawn = _drawn([of_set[:, column] for of_set in right], statistics["seed"])
        low, high = np.quantile(drawn, [(1 - statistics["level"]) / 2, (1 + statistics["level"]) / 2])
        f1 = [
            point("macro_f1", one_hot(entry["gold"], K), one_hot(one["answers"], K)[None], single=True)[0]
            for entry, one in zip(sets, at, strict=True)
        ]
        means = {key: _mean([one[key] for one in at]) for key in ("tokens", "first_tokens", "sequences")}
        seconds = sum(one["seconds"] for one in at)
        yield shared | {
            "labels": K,
            "rows": rows,
            "accuracy": float(np.mean([of_set[:, column].mean() for of_set in right])),
            "low": float(low),
            "high": float(high),
            "macro_f1": float(np.mean(f1)),
            **means,
            "milliseconds": 1000 * seconds / rows,
            "skipped": "",
        }
    skipped: dict[int, str] = {}
    for entry in sets:
        skipped |= {one["labels"]: one["skipped"] for one in entry["counts"] if one["skipped"]}
        skipped |= {
            K: f"the pool has {entry['available']} labels" for K in record["spec"]["counts"] if entry["available"] < K
        }
    for K in sorted(skipped.keys() - set(counts)):
        yield shared | {"labels": K, "skipped": skipped[K]}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _drawn(sets: list[np.ndarray], seed: int) -> np.ndarray:
    """Bootstrap draws (BOOTSTRAP,) of the mean over data sets of each one's mean; texts are resampled within each.

    Args:
        sets: for each data set, a value per text, (n,).
    """
    generator = np.random.default_rng(seed)
    return np.mean(
        [values[generator.integers(len(values), size=(BOOTSTRAP, len(values)))].mean(axis=1) for values in sets], axis=0
    )


def slope_rows(
    record: dict[str, Any], rows: list[dict[str, Any]], statistics: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Slopes of accuracy, tokens and time over the number of labels; no rows with fewer than three counts."""
    counts, right = correctness(record)
    if len(counts) < 3:
        return
    rows = [row for row in rows if not row["skipped"]]
    shared = {"fewest": counts[0], "most": counts[-1], "rows": rows[0]["rows"], "datasets": rows[0]["datasets"]}
    value, low, high = accuracy_slope(np.array(counts), right, statistics["level"], statistics["seed"])
    ends = {"first": rows[0]["accuracy"], "last": rows[-1]["accuracy"]}
    yield shared | {"metric": "accuracy", "slope": value, "low": low, "high": high, **ends}
    for metric in ("tokens", "milliseconds"):
        values = [row[metric] for row in rows]
        if None not in values:
            value, low, high = line_slope(np.array(counts), np.array(values), statistics["level"])
            yield shared | {
                "metric": metric,
                "slope": value,
                "low": low,
                "high": high,
                "first": values[0],
                "last": values[-1],
            }


def accuracy_slope(counts: np.ndarray, right: list[np.ndarray], level: float, seed: int) -> tuple[float, float, float]:
    """Slope of accuracy over log10 of the number of labels, and its percentile interval over texts.

    A least-squares slope is linear in the answers, so it is the mean of the slopes of single texts. These are
    resampled, which keeps all answers to a text together.

    Args:
        counts: (C,) numbers of labels.
        right: for each data set, (n, C) bool.

    Returns:
        slope, low, high.
    """
    x = np.log10(counts) - np.log10(counts).mean()
    slopes = [of_set @ x / (x @ x) for of_set in right]  # (n,) of each set
    low, high = np.quantile(_drawn(slopes, seed), [(1 - level) / 2, (1 + level) / 2])
    value = float(np.mean([of_set.mean() for of_set in slopes]))
    return round(value, 12), round(float(low), 12), round(float(high), 12)  # exactly 0 if nothing changes


def line_slope(counts: np.ndarray, values: np.ndarray, level: float) -> tuple[float, float, float]:
    """Least-squares slope of values over counts, with a Student's t interval of C - 2 degrees of freedom.

    Residuals (from label chunks and timing noise) are treated as independent errors of equal variance.

    Args:
        counts, values: (C,).

    Returns:
        slope, low, high.
    """
    from scipy.stats import linregress, t

    if np.ptp(values) == 0:
        return 0.0, 0.0, 0.0
    fit = linregress(counts, values)
    half = float(t.ppf((1 + level) / 2, len(counts) - 2)) * float(fit.stderr)
    return float(fit.slope), float(fit.slope) - half, float(fit.slope) + half
