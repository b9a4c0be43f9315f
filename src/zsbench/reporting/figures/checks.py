"""Figures of what a classifier owes its reader: calibration, and spread over label orders and wordings."""

import numpy as np
import pandas as pd

from zsbench.reporting.figures.style import MUTED, RULE, Drawing, legend_below, look, new_figure, panels
from zsbench.reporting.frames import RunData

SUITE = "gliclass"
KINDS = {"order": "label order", "verbalisation": "label wording"}


def reliability(run: RunData) -> Drawing | None:
    """Accuracy against confidence: one panel a system, thin lines for data sets, a thick one for all rows together."""
    frame = run.frame("reliability")
    frame = frame[(frame["suite"] == SUITE) & (frame["count"] > 0)]
    names = [name for name in run.headline(SUITE) if name in set(frame["system"])]
    if not names:
        return None
    columns = 2 if len(names) in (2, 4) else min(3, len(names))
    figure = new_figure(0.8 + 2.6 * -(-len(names) // columns))
    axes = panels(figure, len(names), columns, sharex=True, sharey=True)
    calibration = run.frame("calibration")
    ece = calibration[calibration["suite"] == SUITE].groupby("system", observed=True)["ece"].mean()
    drawn = []
    for place, (axis, name) in enumerate(zip(axes, names, strict=True)):
        part = frame[frame["system"] == name]
        for _, single in part.groupby("dataset", observed=True):
            axis.plot(single["confidence"], single["accuracy"], color=RULE, linewidth=1.2)
        pooled = _pooled(part)
        axis.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axis.plot(pooled["confidence"], pooled["accuracy"], "o-", color="#0072b2", linewidth=2, markersize=5)
        axis.set_title(f"{name}\nECE {ece[name]:.3f}" if name in ece.index else name)
        axis.set_xlim(0, 1.02)
        axis.set_ylim(0, 1.02)
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        last = place + columns >= len(axes)
        axis.tick_params(labelbottom=last)
        if last:
            axis.set_xlabel("confidence")
        if place % columns == 0:
            axis.set_ylabel("accuracy")
        drawn.append(pooled.assign(system=name, dataset="all"))
        drawn.append(part[["system", "dataset", "bin", "count", "confidence", "accuracy"]])
    data = pd.concat(drawn)[["system", "dataset", "bin", "count", "confidence", "accuracy"]]
    alt = f"Reliability diagrams of {len(names)} systems; points below the diagonal are over-confident."
    caption = (
        "Accuracy against confidence in bins; thick: all rows of the suite, thin: single datasets, dashed: perfect"
        " calibration. Below the dashed line a system is surer than it is right. ECE: mean over datasets and seeds."
        + run.shown_note(SUITE, names)
    )
    return Drawing(figure, data, alt, caption)


def _pooled(part: pd.DataFrame) -> pd.DataFrame:
    """Bins of all datasets together: means weighted by the rows in them."""
    weighted = part.assign(confidence=part["confidence"] * part["count"], accuracy=part["accuracy"] * part["count"])
    sums = weighted.groupby("bin", observed=True)[["count", "confidence", "accuracy"]].sum()
    sums[["confidence", "accuracy"]] = sums[["confidence", "accuracy"]].div(sums["count"], axis=0)
    return sums.reset_index()


def sensitivity(run: RunData) -> Drawing | None:
    """Mean and range of macro-F1 over permutations of the labels and over their wordings."""
    frame = run.frame("sensitivity")
    kinds = [kind for kind in KINDS if kind in set(frame["kind"])]
    found = set(frame["system"])
    names = [name for name in run.headline(SUITE) if name in found] or [
        name for name in run.systems(SUITE, controls=False) if name in found
    ][:6]
    entries = run.datasets(SUITE)
    frame = frame[frame["system"].isin(names) & frame["dataset"].isin(entries)]
    if frame.empty:
        return None
    rows = [name for name in entries if name in set(frame["dataset"])]
    table = (
        frame.groupby(["kind", "dataset", "system"], observed=True)
        .agg(
            k=("k", "max"),
            mean=("mean", "mean"),
            low=("low", "min"),
            high=("high", "max"),
            flip_rate=("flip_rate", "mean"),
        )
        .reset_index()
    )
    figure = new_figure(1.5 + len(rows) * (0.24 + 0.13 * len(names)))
    axes = panels(figure, len(kinds), len(kinds), sharey=True, sharex=True)
    step = 0.7 / len(names)
    for axis, kind in zip(axes, kinds, strict=True):
        for place, name in enumerate(names):
            part = table[(table["kind"] == kind) & (table["system"] == name)].set_index("dataset").reindex(rows)
            y = np.arange(len(rows)) + (place - (len(names) - 1) / 2) * step
            style = look(run.places[name]) | {"linestyle": "none"}
            axis.hlines(y, part["low"], part["high"], color=style["color"], linewidth=2)
            axis.plot(part["mean"], y, markersize=6, **style)
        for edge in range(1, len(rows)):
            axis.axhline(edge - 0.5, color=RULE, linewidth=0.8)
        k = int(table.loc[table["kind"] == kind, "k"].max())
        axis.set_title(f"{KINDS[kind]} (k = {k})")
        axis.set_xlabel("macro-F1 (part of the range)")
        axis.locator_params(axis="x", nbins=4)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x")
    axes[0].set_yticks(range(len(rows)), [entries[name]["title"] for name in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    legend_below(figure, {name: run.places[name] for name in names}, lines=False)
    widest = table.loc[(table["high"] - table["low"]).idxmax()]
    alt = (
        f"Range of macro-F1 over label orders and wordings. Widest: {widest['system']} on {widest['dataset']},"
        f" {widest['low']:.3f} to {widest['high']:.3f} ({KINDS[widest['kind']]})."
    )
    caption = (
        "Macro-F1 of the same model on the same subsample under k seeded orders of its labels, and under the dataset's"
        " named wordings. Marks: means, lines: lowest to highest. No line: the scores do not depend on it."
        + run.shown_note(SUITE, names)
    )
    return Drawing(figure, table, alt, caption)
