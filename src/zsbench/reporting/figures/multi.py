"""Figures of multi-label suites: per-label F1, F1 against threshold, precision-recall curves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from sklearn.metrics import precision_recall_curve

from hybridnli.thresholds import f1
from zsbench.evaluation.metrics import per_label
from zsbench.reporting.figures.style import (
    Drawing,
    figure,
    legend_below,
    new_figure,
    panels,
    range_rows,
    series_style,
    unit_axes,
)
from zsbench.reporting.frames import RunData

PROTOCOLS = {
    "held-out": "thresholds fitted on validation rows, evaluated on test rows",
    "cv": "out-of-fold thresholds",
    "train-cv": "thresholds fitted on folds of the train rows, which trained systems have seen",
    "heads-tuned": "as val-tuned, but 0.5 for labels without a head",
    "fixed-0.5": "all thresholds 0.5",
    "val-tuned": "thresholds fitted and evaluated on the same validation rows, which is optimistic",
}


def _seeds(run: RunData, names: list[str]) -> str:
    most = max(len(run.seeds(name)) for name in names)
    return "one seed each" if most == 1 else f"up to {most} seeds per system"


def _weights_note(run: RunData, names: list[str], dataset: str, split: str) -> str:
    """A warning in the caption about systems whose weights were selected on the rows shown."""
    chosen = [name for name in names if run.chosen_on(name, dataset, split)]
    return f" Weights selected on these rows: {', '.join(chosen)}." if chosen else ""


@figure("f1", "suite-{suite}", "F1 by label")
def label_f1(run: RunData, suite: str) -> Drawing | None:
    """F1 per label and macro-F1 on the first dataset of the suite: one mark per system, with the range over seeds."""
    (protocol, split), dataset = run.decision(suite), next(iter(run.datasets(suite)))
    labels = run.datasets(suite)[dataset]["label_names"]
    frame = run.decided(suite).query("dataset == @dataset")
    single = frame[(frame["metric"] == "f1") & frame["label"].isin(labels)]
    whole = frame[frame["metric"] == "macro_f1"].assign(label="macro-F1")
    grouped = pd.concat([whole, single]).groupby(["label", "system"], observed=True)["value"]
    table = grouped.agg(mean="mean", low="min", high="max", seeds="count").reset_index()
    names = [name for name in run.headline(suite) if name in set(table["system"])]
    if not names:
        return None
    table, rows = table[table["system"].isin(names)], ["macro-F1", *labels]
    series = {name: run.series[name] for name in names}
    canvas = new_figure(1.6 + len(rows) * (0.28 + 0.1 * len(names)))
    axis = canvas.subplots()
    range_rows(axis, table.rename(columns={"label": "row"}), rows, series)
    axis.set_yticks(range(len(rows)), rows)
    axis.get_yticklabels()[0].set_fontweight("bold")
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("F1")
    legend_below(canvas, series, lines=False)
    best = table[table["label"] == "macro-F1"].sort_values("mean").iloc[-1]
    alt = f"F1 of {len(names)} systems on {len(labels)} labels. Highest macro-F1: {best['system']}, {best['mean']:.3f}."
    caption = (
        f"On {dataset}, {split} split, protocol {protocol} ({PROTOCOLS[protocol]}). Marks: means; lines: range over "
        f"seeds; {_seeds(run, names)}.{_weights_note(run, names, dataset, split)}{run.shown_note(names, suite)}"
    )
    return Drawing(canvas, table, alt, caption)


@dataclass(frozen=True)
class Curves:
    """First-seed scores of the headline systems on the first dataset of a suite, and the thresholds of the protocol."""

    dataset: str
    labels: list[str]
    protocol: str
    split: str
    scores: dict[str, pd.DataFrame]
    thresholds: dict[str, dict[str, float]]

    @property
    def systems(self) -> list[str]:
        return list(self.scores)


def _curves(run: RunData, suite: str) -> Curves | None:
    (protocol, split), dataset = run.decision(suite), next(iter(run.datasets(suite)))
    if not protocol:
        return None
    frame = run.decided(suite).query("dataset == @dataset and metric == 'threshold'")
    scores, thresholds = {}, {}
    for name in run.headline(suite, limit=4):
        seed = run.seeds(name)[0]
        stored = run.scores(suite, dataset, name, seed)
        if stored is not None:
            scores[name] = stored[stored["split"] == split]
            rows = frame[(frame["system"] == name) & (frame["seed"] == seed)]
            thresholds[name] = rows.set_index("label")["value"].to_dict()
    labels = run.datasets(suite)[dataset]["label_names"]
    return Curves(dataset, labels, protocol, split, scores, thresholds) if scores else None


def _label(frame: pd.DataFrame, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(gold 0/1, score) of the label with this index; score columns are in label order."""
    columns = [column for column in frame.columns if column.startswith("score:")]
    gold = frame["gold"].map(lambda labels: number in labels).to_numpy()
    return gold, frame[columns[number]].to_numpy(dtype=float)


def _at(gold: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, Any]:
    """Precision, recall and F1 of one label at a threshold, as in the tables."""
    return per_label(gold[:, None], (score >= threshold)[None, :, None], score[:, None])[0]


def _small_multiples(count: int) -> tuple[Any, list[Any]]:
    canvas = new_figure(0.9 + 2.5 * -(-count // 3))
    return canvas, panels(canvas, count, 3, sharex=True, sharey=True)


def _chosen(axis: Axes, x: float, y: float, style: dict[str, Any]) -> None:
    """The mark at a chosen threshold."""
    axis.plot(
        x, y, style["marker"], color=style["color"], markersize=9, markeredgecolor="white", zorder=4, clip_on=False
    )


@figure("pr_curves", "suite-{suite}", "Precision against recall")
def pr_curves(run: RunData, suite: str) -> Drawing | None:
    """Precision against recall of each label; a mark at the chosen threshold."""
    curves = _curves(run, suite)
    if curves is None:
        return None
    rows: list[tuple[Any, ...]] = []
    canvas, axes = _small_multiples(len(curves.labels))
    for column, (axis, label) in enumerate(zip(axes, curves.labels, strict=True)):
        for name, frame in curves.scores.items():
            gold, score = _label(frame, column)
            style = series_style(run.series[name])
            precision, recall, _ = precision_recall_curve(gold, score, drop_intermediate=True)
            line = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.6}
            axis.step(recall, precision, where="post", **line)
            rows += [(label, name, "curve", r, p, "") for r, p in zip(recall, precision, strict=True)]
            if label in curves.thresholds[name]:
                threshold = curves.thresholds[name][label]
                at = _at(gold, score, threshold)
                _chosen(axis, at["recall"], at["precision"], style)
                rows.append((label, name, "chosen", at["recall"], at["precision"], f"{threshold:.6f}"))
        share = float(gold.mean())
        axis.axhline(share, color="0.4", linestyle=":", linewidth=1.2)
        rows += [(label, "random guess", "baseline", recall, share, "") for recall in (0.0, 1.0)]
    unit_axes(axes, curves.labels, "recall", "precision", 3)
    legend_below(canvas, {name: run.series[name] for name in curves.systems})
    data = pd.DataFrame(rows, columns=["label", "system", "kind", "recall", "precision", "threshold"])
    alt = (
        f"Precision-recall curves of {len(curves.systems)} systems for {len(curves.labels)} labels, with the chosen"
        " thresholds marked."
    )
    n = len(next(iter(curves.scores.values())))
    caption = (
        f"On {curves.dataset}, {curves.split} split ({n:,} rows), first seed of each system. Marks: the threshold"
        f" of protocol {curves.protocol} ({PROTOCOLS[curves.protocol]}). Dotted: share of positive rows, i.e. the"
        " precision of random guessing."
        f"{_weights_note(run, curves.systems, curves.dataset, curves.split)}{run.shown_note(curves.systems, suite)}"
    )
    return Drawing(canvas, data, alt, caption)


@figure("threshold_sensitivity", "suite-{suite}", "F1 against the threshold")
def threshold_sensitivity(run: RunData, suite: str) -> Drawing | None:
    """F1 of each label at every threshold; a mark at the chosen one."""
    curves = _curves(run, suite)
    if curves is None:
        return None
    rows: list[tuple[Any, ...]] = []
    canvas, axes = _small_multiples(len(curves.labels))
    grid = np.linspace(0, 1, 101)
    for column, (axis, label) in enumerate(zip(axes, curves.labels, strict=True)):
        for name, frame in curves.scores.items():
            gold, score = _label(frame, column)
            style = series_style(run.series[name])
            taken = score[:, None] >= grid
            values = f1((taken & gold[:, None]).sum(0), taken.sum(0), gold.sum())
            axis.plot(grid, values, color=style["color"], linestyle=style["linestyle"], linewidth=1.6)
            rows += [(label, name, "curve", t, value) for t, value in zip(grid, values, strict=True)]
            if label in curves.thresholds[name]:
                threshold = curves.thresholds[name][label]
                value = _at(gold, score, threshold)["f1"]
                _chosen(axis, threshold, value, style)
                rows.append((label, name, "chosen", threshold, value))
    unit_axes(axes, curves.labels, "threshold", "F1", 3)
    legend_below(canvas, {name: run.series[name] for name in curves.systems})
    data = pd.DataFrame(rows, columns=["label", "system", "kind", "threshold", "f1"])
    alt = (
        f"F1 of {len(curves.systems)} systems against the threshold, for {len(curves.labels)} labels, with the chosen"
        " thresholds marked."
    )
    caption = (
        f"On {curves.dataset}, {curves.split} split, first seed of each system. Marks: the threshold of protocol"
        f" {curves.protocol}. A broad peak means that the choice of threshold matters little."
        f"{_weights_note(run, curves.systems, curves.dataset, curves.split)}{run.shown_note(curves.systems, suite)}"
    )
    return Drawing(canvas, data, alt, caption)
