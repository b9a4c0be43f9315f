"""Figures on reliability: calibration, and spread over label orders and wordings."""

import pandas as pd

from zsbench.evaluation.calibration import wilson
from zsbench.reporting.figures.style import (
    COLORS,
    MUTED,
    Drawing,
    figure,
    legend_below,
    log_ticks,
    new_figure,
    panels,
    range_rows,
    series_style,
    unit_axes,
)
from zsbench.reporting.frames import SINGLE, RunData, capital

THIN = "#a3a3a3"  # for background lines; still visible in print
KINDS = {"order": "label order", "verbalisation": "label wording"}


@figure("reliability", "sensitivity", "Reliability")
def reliability(run: RunData) -> Drawing | None:
    """Accuracy against confidence: one panel per system, thin lines per dataset, a thick line for all rows."""
    frame = run.frame("reliability")
    suites = run.suites(SINGLE)
    frame = frame[frame["suite"].isin(suites) & (frame["count"] > 0)]
    names = [name for name in run.headline(*suites) if name in set(frame["system"])]
    if not names:
        return None
    columns = 2 if len(names) in (2, 4) else min(3, len(names))
    canvas = new_figure(0.8 + 2.6 * -(-len(names) // columns))
    axes = panels(canvas, len(names), columns, sharex=True, sharey=True)
    calibration = run.frame("calibration")
    ece = calibration[calibration["suite"].isin(suites)].groupby("system", observed=True)["ece"].mean()
    drawn = []
    for axis, name in zip(axes, names, strict=True):
        bins = frame[frame["system"] == name]
        for _, single in bins.groupby("dataset", observed=True):
            axis.plot(single["confidence"], single["accuracy"], color=THIN, linewidth=1.2)
        pooled = _pooled(bins, len(run.seeds(name)))
        axis.fill_between(
            pooled["confidence"],
            pooled["accuracy_low"],
            pooled["accuracy_high"],
            color=COLORS[0],
            alpha=0.15,
            linewidth=0,
        )
        axis.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axis.plot(pooled["confidence"], pooled["accuracy"], "o-", color=COLORS[0], linewidth=2, markersize=5)
        drawn.append(pooled.assign(system=name, dataset="all"))
        drawn.append(
            bins[["system", "dataset", "bin", "count", "confidence", "accuracy", "accuracy_low", "accuracy_high"]]
        )
    titles = [f"{name}\nECE {ece[name]:.3f}" for name in names]
    unit_axes(axes, titles, "confidence", "accuracy", columns)
    data = pd.concat(drawn)[
        ["system", "dataset", "bin", "count", "confidence", "accuracy", "accuracy_low", "accuracy_high"]
    ]
    alt = f"Reliability diagrams of {len(names)} systems; points below the diagonal are over-confident."
    caption = (
        "Accuracy against confidence in bins. Thick: all rows, with a 95 % Wilson band; thin: single datasets; dashed:"
        " perfect calibration. Below the dashed line a system is over-confident. ECE: mean over datasets and seeds."
        + run.shown_note(names, *suites)
    )
    return Drawing(canvas, data, alt, caption)


def _pooled(bins: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """Bins pooled over datasets, weighted by rows, with a 95 % Wilson interval of the accuracy.

    Args:
        seeds: number of seeds of the system, all of which score the same rows.
    """
    weighted = bins.assign(confidence=bins["confidence"] * bins["count"], accuracy=bins["accuracy"] * bins["count"])
    sums = weighted.groupby("bin", observed=True)[["count", "confidence", "accuracy"]].sum()
    sums[["confidence", "accuracy"]] = sums[["confidence", "accuracy"]].div(sums["count"], axis=0)
    low, high = wilson((sums["accuracy"] * sums["count"]).to_numpy() / seeds, sums["count"].to_numpy() / seeds)
    return sums.assign(accuracy_low=low, accuracy_high=high).reset_index()


@figure("sensitivity", "sensitivity", "Label order and wording")
def sensitivity(run: RunData) -> Drawing | None:
    """Mean and range of the headline metric over label orders and label wordings."""
    frame = run.frame("sensitivity")
    kinds = [kind for kind in KINDS if kind in set(frame["kind"])]
    suites = run.suites(SINGLE)
    metric = run.metric_names(suites)
    names = [name for name in run.headline(*suites) if name in set(frame["system"])]
    frame = frame[frame["system"].isin(names)]
    if frame.empty:
        return None
    rows = [name for name in run.titles if name in set(frame["dataset"])]
    ranges = {"k": ("k", "max"), "mean": ("mean", "mean"), "low": ("low", "min"), "high": ("high", "max")}
    grouped = frame.groupby(["kind", "dataset", "system"], observed=True)
    table = grouped.agg(**ranges, flip_rate=("flip_rate", "mean")).reset_index()
    canvas = new_figure(1.5 + len(rows) * (0.24 + 0.13 * len(names)))
    axes = panels(canvas, len(kinds), len(kinds), sharey=True, sharex=True)
    series = {name: run.series[name] for name in names}
    for axis, kind in zip(axes, kinds, strict=True):
        range_rows(axis, table[table["kind"] == kind].rename(columns={"dataset": "row"}), rows, series)
        counts = table.loc[table["kind"] == kind, "k"].astype(int)
        axis.set_title(f"{KINDS[kind]} ({'up to ' * (counts.nunique() > 1)}{counts.max()})")
        axis.set_xlabel(f"{metric} (axis cut)")
        axis.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(range(len(rows)), [run.titles[name] for name in rows])
    legend_below(canvas, series, lines=False)
    widest = table.loc[(table["high"] - table["low"]).idxmax()]
    alt = (
        f"Range of {metric} over label orders and wordings. Widest: {widest['system']} on {widest['dataset']},"
        f" {widest['low']:.3f} to {widest['high']:.3f} ({KINDS[widest['kind']]})."
    )
    caption = (
        f"{capital(metric)} of the same model on the same sample of texts, with several random label orders and with "
        "the named wordings of the dataset (numbers in the titles). Marks: means; lines: lowest to highest; no line: "
        "the scores do not change." + run.shown_note(names, *suites)
    )
    return Drawing(canvas, table, alt, caption)


@figure("label_counts", "cost", "Quality and cost by number of labels")
def label_counts(run: RunData) -> Drawing | None:
    """Three panels with a shared logarithmic axis: accuracy with interval, tokens and milliseconds per text."""
    frame = run.frame("label_counts")
    frame = frame[frame["accuracy"].notna() & frame["system"].isin(list(run.series))]
    if frame.empty:
        return None
    names = list(dict.fromkeys(frame["system"]))
    kinds = dict(zip(frame["system"], frame["kind"], strict=True))
    series = {name: run.series[name] for name in names}
    canvas = new_figure(3.6)
    axes = panels(canvas, 3, 3, sharex=True)
    for name in names:
        rows, style = frame[frame["system"] == name].sort_values("labels"), series_style(series[name])
        axes[0].fill_between(rows["labels"], rows["low"], rows["high"], color=style["color"], alpha=0.12, linewidth=0)
        for axis, column in zip(axes, ("accuracy", "tokens", "milliseconds"), strict=True):
            axis.plot(rows["labels"], rows[column], markersize=5, linewidth=1.6, **style)
    for axis, title in zip(axes, ("accuracy", "tokens per text", "ms per text"), strict=True):
        axis.set_title(title)
        axis.set_xscale("log")
        axis.set_xlabel("labels")
        log_ticks(axis.xaxis, frame["labels"].min(), frame["labels"].max())
    axes[0].set_ylim(-0.02, 1.02)
    for axis, column in zip(axes[1:], ("tokens", "milliseconds"), strict=True):
        values = frame[column][frame[column] > 0]
        if len(values):
            axis.set_yscale("log")
            log_ticks(axis.yaxis, values.min(), values.max() * 1000)  # the extended range makes it show only decades
    legend_below(canvas, {f"{name} ({kinds[name]})": number for name, number in series.items()})
    few, many = frame["labels"].min(), frame["labels"].max()
    alt = f"Accuracy, encoder tokens and time per text from {few:.0f} to {many:.0f} labels of {len(names)} systems."
    texts, datasets = frame["rows"].max(), frame["datasets"].iloc[0]
    caption = (
        f"The same {texts:.0f} texts ({datasets}) with their own labels and an increasing number of distractors from "
        f"the labels of all sets. Bands: {run.level} bootstrap intervals over texts. Tokens: encoder input per "
        "additional text, without padding. Lines end where the token budget is exceeded."
    )
    columns = ["system", "kind", "labels", "accuracy", "low", "high", "macro_f1", "tokens", "milliseconds"]
    return Drawing(canvas, frame[columns], alt, caption)
