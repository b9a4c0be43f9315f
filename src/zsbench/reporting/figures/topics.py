"""Figures of the multi-label topic suite: per-label F1, F1 against threshold, precision-recall curves."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from sklearn.metrics import precision_recall_curve

from zsbench.reporting.figures.style import Drawing, legend_below, look, new_figure, panels, range_rows, unit_axes
from zsbench.reporting.frames import RunData
from zsbench.reporting.marks import chosen_on

SUITE = "topics"
PROTOCOLS = {
    "held-out": "thresholds fitted on validation rows, scored on test rows",
    "cv": "out-of-fold thresholds",
    "fixed-0.5": "every threshold 0.5",
    "val-tuned": "thresholds fitted and scored on the same validation rows, so these numbers are optimistic",
}


def _seeds(run: RunData, names: list[str]) -> str:
    most = max(len(run.seeds(name)) for name in names)
    return "one seed each" if most == 1 else f"up to {most} seeds a system"


def _weights_note(run: RunData, names: list[str], dataset: str, split: str) -> str:
    """A caption's warning of systems whose weights were chosen on the rows that it shows."""
    found = [name for name in names if chosen_on(run, name, dataset, split)]
    return f" Weights chosen on these rows: {', '.join(found)}." if found else ""


def topics_f1(run: RunData) -> Drawing | None:
    """F1 of each label and their mean, one mark a system, a line over the seeds' range."""
    shown = run.topic_protocol()
    if shown is None:
        return None
    dataset = next(iter(run.datasets(SUITE)))
    labels = run.datasets(SUITE)[dataset]["label_names"]
    table = _f1_table(run, dataset, labels, shown)
    names = [name for name in run.headline(SUITE) if name in set(table["system"])]
    if not names:
        return None
    table, rows = table[table["system"].isin(names)], ["macro-F1", *labels]
    places = {name: run.places[name] for name in names}
    figure = new_figure(1.6 + len(rows) * (0.28 + 0.1 * len(names)))
    axis = figure.subplots()
    range_rows(axis, table.rename(columns={"label": "row"}), rows, places)
    axis.set_yticks(range(len(rows)), rows)
    axis.get_yticklabels()[0].set_fontweight("bold")
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("F1")
    legend_below(figure, places, lines=False)
    best = table[table["label"] == "macro-F1"].sort_values("mean").iloc[-1]
    alt = f"F1 of {len(names)} systems on {len(labels)} labels. Highest macro-F1: {best['system']}, {best['mean']:.3f}."
    caption = (
        f"On {dataset}, {shown[1]} split, protocol {shown[0]} ({PROTOCOLS[shown[0]]}). Marks: means, lines:"
        f" range over seeds; {_seeds(run, names)}.{_weights_note(run, names, dataset, shown[1])}"
        f"{run.shown_note(SUITE, names)}"
    )
    return Drawing(figure, table, alt, caption)


def _f1_table(run: RunData, dataset: str, labels: list[str], shown: tuple[str, str]) -> pd.DataFrame:
    """F1 of each label and macro-F1 of each system: mean, lowest and highest seed."""
    frame = run.metrics
    frame = frame[(frame["suite"] == SUITE) & (frame["protocol"] == shown[0]) & (frame["split"] == shown[1])]
    frame = frame[frame["dataset"] == dataset]
    single = frame[(frame["metric"] == "f1") & frame["label"].isin(labels)]
    whole = frame[frame["metric"] == "macro_f1"].assign(label="macro-F1")
    grouped = pd.concat([whole, single]).groupby(["label", "system"], observed=True)["value"]
    return grouped.agg(mean="mean", low="min", high="max", seeds="count").reset_index()


def _curves(run: RunData) -> dict[str, Any] | None:
    """First-seed scores of the headline systems on the split that the figures show, with the chosen thresholds."""
    shown, datasets = run.topic_protocol(), run.datasets(SUITE)
    if shown is None:
        return None
    dataset = next(iter(datasets))
    chosen = run.metrics[
        (run.metrics["suite"] == SUITE)
        & (run.metrics["protocol"] == shown[0])
        & (run.metrics["split"] == shown[1])
        & (run.metrics["metric"] == "threshold")
    ]
    scores = {}
    for name in run.headline(SUITE, limit=4):
        seed = run.seeds(name)[0]
        frame = run.scores(SUITE, dataset, name, seed)
        if frame is not None:
            thresholds = chosen[(chosen["system"] == name) & (chosen["seed"] == seed) & (chosen["dataset"] == dataset)]
            scores[name] = (frame[frame["split"] == shown[1]], thresholds.set_index("label")["value"].to_dict())
    if not scores:
        return None
    return {"dataset": dataset, "entry": datasets[dataset], "scores": scores, "protocol": shown[0], "split": shown[1]}


def _label(frame: pd.DataFrame, place: int) -> tuple[np.ndarray, np.ndarray]:
    """(gold 0/1, score) of the label at this place of the label order; the score columns are in that order."""
    columns = [column for column in frame.columns if column.startswith("score:")]
    gold = frame["gold"].map(lambda found: place in found).to_numpy()
    return gold, frame[columns[place]].to_numpy(dtype=float)


def _at(gold: np.ndarray, score: np.ndarray, threshold: float) -> tuple[float, float, float]:
    """Precision, recall and F1 of one label at a threshold; a ratio over nothing is 0, as in the tables."""
    taken = score >= threshold
    hits = float((taken & gold).sum())
    precision = hits / taken.sum() if taken.any() else 0.0
    recall = hits / gold.sum() if gold.any() else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if hits else 0.0


def _small_multiples(count: int) -> tuple[Any, list[Any]]:
    figure = new_figure(0.9 + 2.5 * -(-count // 3))
    return figure, panels(figure, count, 3, sharex=True, sharey=True)


def _chosen(axis: Axes, x: float, y: float, style: dict[str, Any]) -> None:
    """The mark at a chosen threshold."""
    axis.plot(
        x, y, style["marker"], color=style["color"], markersize=9, markeredgecolor="white", zorder=4, clip_on=False
    )


def pr_curves(run: RunData) -> Drawing | None:
    """Precision against recall of each label; a mark at the chosen threshold."""
    found = _curves(run)
    if found is None:
        return None
    names, labels, rows = list(found["scores"]), found["entry"]["label_names"], []
    figure, axes = _small_multiples(len(labels))
    for column, axis in enumerate(axes):
        for name in names:
            frame, thresholds = found["scores"][name]
            gold, score = _label(frame, column)
            style = look(run.places[name])
            precision, recall, _ = precision_recall_curve(gold, score, drop_intermediate=True)
            axis.step(
                recall, precision, where="post", color=style["color"], linestyle=style["linestyle"], linewidth=1.6
            )
            rows += [(labels[column], name, "curve", r, p, "") for r, p in zip(recall, precision, strict=True)]
            if labels[column] in thresholds:
                threshold = thresholds[labels[column]]
                p, r, _ = _at(gold, score, threshold)
                _chosen(axis, r, p, style)
                rows.append((labels[column], name, "chosen", r, p, f"{threshold:.6f}"))
        share = float(_label(found["scores"][names[0]][0], column)[0].mean())
        axis.axhline(share, color="0.4", linestyle=":", linewidth=1.2)
        rows += [(labels[column], "random guess", "baseline", recall, share, "") for recall in (0.0, 1.0)]
    unit_axes(axes, labels, "recall", "precision", 3)
    legend_below(figure, {name: run.places[name] for name in names})
    data = pd.DataFrame(rows, columns=["label", "system", "kind", "recall", "precision", "threshold"])
    n = len(next(iter(found["scores"].values()))[0])
    alt = (
        f"Precision-recall curves of {len(names)} systems for {len(labels)} labels, with the chosen thresholds marked."
    )
    caption = (
        f"On {found['dataset']}, {found['split']} split ({n:,} rows), first seed of each system. Marks: the threshold"
        f" that protocol {found['protocol']} uses ({PROTOCOLS[found['protocol']]}). Dotted: the share of"
        f" positive rows, which is the precision of a random guess."
        f"{_weights_note(run, names, found['dataset'], found['split'])}{run.shown_note(SUITE, names)}"
    )
    return Drawing(figure, data, alt, caption)


def threshold_sensitivity(run: RunData) -> Drawing | None:
    """F1 of each label at every threshold; a mark at the chosen one."""
    found = _curves(run)
    if found is None:
        return None
    names, labels, rows = list(found["scores"]), found["entry"]["label_names"], []
    figure, axes = _small_multiples(len(labels))
    grid = np.linspace(0, 1, 101)
    for column, axis in enumerate(axes):
        for name in names:
            frame, thresholds = found["scores"][name]
            gold, score = _label(frame, column)
            style = look(run.places[name])
            f1 = [_at(gold, score, threshold)[2] for threshold in grid]
            axis.plot(grid, f1, color=style["color"], linestyle=style["linestyle"], linewidth=1.6)
            rows += [(labels[column], name, "curve", t, value) for t, value in zip(grid, f1, strict=True)]
            if labels[column] in thresholds:
                threshold = thresholds[labels[column]]
                value = _at(gold, score, threshold)[2]
                _chosen(axis, threshold, value, style)
                rows.append((labels[column], name, "chosen", threshold, value))
    unit_axes(axes, labels, "threshold", "F1", 3)
    legend_below(figure, {name: run.places[name] for name in names})
    data = pd.DataFrame(rows, columns=["label", "system", "kind", "threshold", "f1"])
    alt = (
        f"F1 of {len(names)} systems against the threshold, for {len(labels)} labels, with the chosen thresholds"
        " marked."
    )
    caption = (
        f"On {found['dataset']}, {found['split']} split, first seed of each system. Marks: the threshold that protocol"
        f" {found['protocol']} uses. A broad hill: the choice matters little."
        f"{_weights_note(run, names, found['dataset'], found['split'])}{run.shown_note(SUITE, names)}"
    )
    return Drawing(figure, data, alt, caption)
