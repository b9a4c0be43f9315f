"""Figures of single-label suites: heat map, forest plots, quality against cost, throughput."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.transforms import blended_transform_factory

from zsbench.reporting.figures.style import (
    INK,
    MUTED,
    WIDTH,
    Drawing,
    figure,
    legend_below,
    log_ticks,
    new_figure,
    panels,
    series_style,
)
from zsbench.reporting.frames import AVERAGE, SINGLE, RunData


def seeds_text(run: RunData, *suites: str) -> str:
    """`trained systems: mean over 3 seeds` in words."""
    counts = sorted({len(run.seeds(system)) for suite in suites for system in run.systems(suite, controls=False)})
    most = counts[-1] if counts else 1
    return "one seed each" if most == 1 else f"trained systems: mean over {most} seeds"


def interval_text(run: RunData) -> str:
    """How the run's intervals were made, in words."""
    statistics = run.spec["statistics"]
    return (
        f"{statistics['level'] * 100:g} % intervals from a paired bootstrap over sample ids ({statistics['draws']:,}"
        " draws; with an effect of seeds where there are several), p values corrected over all pairs of the suite"
    )


def _verdicts(run: RunData, suite: str) -> dict[tuple[str, str], str]:
    """Mark of a (system, dataset) cell: significantly above or below the reference system, or nothing."""
    tested = run.deltas[run.deltas["table"] == f"{suite}_suite"]
    marks = {}
    for row in tested.itertuples():
        if row.p_adjusted < run.alpha:
            marks[row.baseline, row.dataset] = "▲" if row.delta < 0 else "▼"
    return marks


@figure("heatmap", "suite-{suite}", "{metric} by dataset and system")
def heatmap(run: RunData, suite: str) -> Drawing | None:
    """Headline metric of every system on every dataset; a mark where it differs significantly from the reference."""
    means, metric = run.suite_means(suite), run.metric_name(suite)
    if means.empty:
        return None
    marks = _verdicts(run, suite)
    rows, columns = means.shape
    canvas = new_figure(1.9 + 0.34 * rows, width=max(WIDTH, 3.2 + 0.86 * columns))
    axis = canvas.subplots()
    words = {(system, name): cell.word for (kind, name, system), cell in run.missing.items() if kind == suite}
    mesh = _heat(axis, means, marks, words)
    titles = [entry["title"] for entry in run.datasets(suite).values()]
    axis.set_xticks(_centers(columns), [*titles, "Average"], rotation=30, ha="left", rotation_mode="anchor")
    axis.xaxis.tick_top()
    axis.set_yticks(np.arange(rows) + 0.5, means.index)
    for label in axis.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == run.reference else "normal")
    bar = canvas.colorbar(mesh, ax=axis, orientation="horizontal", shrink=0.5, aspect=40, pad=0.02)
    bar.set_label(metric)
    bar.outline.set_visible(False)  # type: ignore[operator]
    data = means.rename_axis("system").reset_index().melt("system", var_name="dataset", value_name=run.metric(suite))
    data["mark"] = [
        {"▲": "above", "▼": "below"}.get(marks.get((s, d), ""), "")
        for s, d in zip(data["system"], data["dataset"], strict=True)
    ]
    caption = (
        f"{run.metric_title(suite)} on the test split, argmax over the labels; {seeds_text(run, suite)}. ▲ / ▼:"
        f" significantly above / below {run.reference} (bold) on the same rows; {interval_text(run)}."
    )
    ranked = means.loc[means.index.isin(run.systems(suite, controls=False)), AVERAGE].dropna()
    alt = f"Table of colours: {metric} of {rows} systems on {columns - 1} datasets."
    alt += f" Highest average: {ranked.idxmax()}, {ranked.max():.3f}." if len(ranked) else ""
    return Drawing(canvas, data, alt, caption)


GAP = 0.15  # between the datasets and their average, in cells


def _centers(columns: int) -> np.ndarray:
    return np.arange(columns) + 0.5 + GAP * (np.arange(columns) == columns - 1)


def _heat(
    axis: Axes, means: pd.DataFrame, marks: dict[tuple[str, str], str], words: dict[tuple[str, str], str]
) -> QuadMesh:
    """Coloured cells with their numbers, the first row on top; a cell without a number is white, with its word."""
    values = means.to_numpy(dtype=float)
    rows, columns = values.shape
    for x, block in ((np.arange(columns), values[:, :-1]), (columns - 1 + GAP + np.arange(2), values[:, -1:])):
        mesh = axis.pcolormesh(x, np.arange(rows + 1), block, cmap="cividis", vmin=0, vmax=1, edgecolors="white")
    for (i, j), value in np.ndenumerate(values):
        if not np.isfinite(value):
            word = words.get((means.index[i], means.columns[j]), "–")
            axis.text(float(_centers(columns)[j]), i + 0.5, word, ha="center", va="center", fontsize=9.5, color=MUTED)
        else:
            text = f"{value:.3f}{marks.get((means.index[i], means.columns[j]), '')}"
            ink = "white" if value < 0.55 else INK
            axis.text(float(_centers(columns)[j]), i + 0.5, text, ha="center", va="center", fontsize=9.5, color=ink)
    axis.invert_yaxis()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return mesh


def forest(axis: Axes, rows: pd.DataFrame, details: pd.DataFrame, alpha: float) -> None:
    """One line a row: the pooled delta with its interval, single datasets as small rings, the numbers at the right.

    Args:
        rows: `name`, `delta`, `low`, `high`, `p_adjusted`, drawn from top to bottom.
        details: `name`, `delta` of single datasets.
        alpha: adjusted p below which a diamond is filled.
    """
    axis.axvline(0, color=MUTED, linewidth=1)
    right = blended_transform_factory(axis.transAxes, axis.transData)
    for y, row in enumerate(rows.itertuples()):
        sure = row.p_adjusted < alpha
        single = details.loc[details["name"] == row.name, "delta"]
        axis.plot(
            single,
            np.full(len(single), y + 0.24),
            "o",
            color=MUTED,
            markersize=4,
            markerfacecolor="white",
            linestyle="none",
        )
        axis.plot([row.low, row.high], [y, y], color="#0072b2", linewidth=2.2, solid_capstyle="butt")
        axis.plot(row.delta, y, "D", color="#0072b2", markersize=7, markerfacecolor="#0072b2" if sure else "white")
        p = "p < 0.001" if row.p_adjusted < 0.001 else f"p = {row.p_adjusted:.3f}"
        p = "no test" if pd.isna(row.p_adjusted) else p  # two seeds
        text = f"{row.delta:+.3f} [{row.low:+.3f}, {row.high:+.3f}]  {p}"
        axis.text(1.02, y, text.replace("-", "−"), transform=right, va="center", ha="left", fontsize=9.5)
    axis.text(
        1.02, -0.75, "difference [interval]  p", transform=right, va="bottom", ha="left", fontsize=9.5, color=MUTED
    )
    axis.set_yticks(range(len(rows)), rows["name"])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
    axis.set_axisbelow(True)
    axis.locator_params(axis="x", nbins=5)


def _forest_drawing(run: RunData, deltas: pd.DataFrame, xlabel: str, subject: str, caption: str) -> Drawing | None:
    """Forest plot of deltas that carry a `name`; the rows over all datasets lead, single ones are detail."""
    whole, single = deltas[deltas["dataset"] == AVERAGE], deltas[deltas["dataset"] != AVERAGE]
    if whole.empty:
        return None
    suites = list(dict.fromkeys(deltas["suite"]))
    partial = {
        row.name: f" ({row.n_sets:.0f} of {len(run.datasets(row.suite))} sets)"
        for row in whole[["suite", "name", "n_sets"]].itertuples(index=False)
        if row.n_sets < len(run.datasets(row.suite))
    }
    whole, single = (rows.assign(name=rows["name"] + rows["name"].map(partial).fillna("")) for rows in (whole, single))
    canvas = new_figure(1.3 + 0.46 * len(whole), width=WIDTH + 1.2)
    axis = canvas.subplots()
    forest(axis, whole, single, run.alpha)
    axis.set_xlabel(xlabel)
    sure = whole[whole["p_adjusted"] < run.alpha]
    alt = f"{subject}: {len(whole)} average differences with intervals; {len(sure)} significant" + (
        f": {', '.join(f'{r.name} {r.delta:+.3f}' for r in sure.itertuples())}." if len(sure) else "."
    )
    columns = ["suite", "name", "dataset", "system", "baseline"]
    columns += ["delta", "low", "high", "p", "p_adjusted", "n_rows", "n_seeds"]
    legend = f" Diamonds: average over datasets, filled where adjusted p < {run.alpha:g}; rings: single datasets."
    rows = f" {int(whole['n_rows'].max()):,} rows, {seeds_text(run, *suites)}; {interval_text(run)}."
    return Drawing(canvas, deltas[columns], alt.replace("\n", " "), f"{caption}{legend}{rows}")


@figure("forest", "suite-{suite}", "The reference against each competitor")
def delta_forest(run: RunData, suite: str) -> Drawing | None:
    """The reference system against each competitor."""
    deltas = run.deltas[run.deltas["table"] == f"{suite}_suite"]
    deltas = deltas[deltas["baseline"].isin(run.systems(suite, controls=False))]
    deltas = deltas.assign(name="against " + deltas["baseline"].astype(str))
    xlabel = f"{run.metric_name(suite)} of {run.reference} minus competitor's"
    subject, caption = f"{run.reference} against each competitor", f"Right of 0: {run.reference} is better."
    return _forest_drawing(run, deltas, xlabel, subject, caption)


@figure("ablations", "ablations", "What each factor changes")
def ablations(run: RunData) -> Drawing | None:
    """One-factor contrasts between variants, and named compounds."""
    deltas = run.deltas[(run.deltas["table"] == "ablations") & run.deltas["suite"].isin(run.suites(SINGLE))]
    sides = [deltas[side].astype(str).str.removeprefix("gliznet-") for side in ("system", "baseline")]
    name = deltas["factor"].astype(str) + ":\n" + sides[0] + " − " + sides[1]
    suites = list(dict.fromkeys(deltas["suite"]))
    if len(suites) > 1:
        name = deltas["suite"].map(run.suite_title) + ", " + name
    metrics = " or ".join(dict.fromkeys(map(run.metric_name, suites)))
    text = "Each line: two variants that differ in one named factor (or in a compound that the config names)."
    return _forest_drawing(run, deltas.assign(name=name), f"difference of {metrics}", "Ablations", text)


@figure("cost", "cost", "Quality against speed")
def cost(run: RunData) -> Drawing | None:
    """Average of each suite's headline metric against texts per second, a panel per suite."""
    suites = [suite for suite in run.suites(SINGLE) if len(_speed(run, suite))]
    if not suites:
        return None
    tables = {suite: _speed(run, suite) for suite in suites}
    table = pd.concat([frame.assign(suite=suite) for suite, frame in tables.items()], ignore_index=True)
    canvas = new_figure(1.2 + 3.0 * len(suites))
    low, high = table["texts_per_second"].min() / 1.5, table["texts_per_second"].max() * 1.5
    for axis, (suite, frame) in zip(panels(canvas, len(suites), 1, sharex=True), tables.items(), strict=True):
        for row in frame.itertuples():
            style = series_style(run.series[row.system]) | {"linestyle": "none"}
            axis.plot(row.texts_per_second, row.value, markersize=10, **style)
        axis.set_xscale("log")
        axis.set_xlim(low, high)
        log_ticks(axis.xaxis, low, high)
        axis.set_ylabel(f"average {run.metric_name(suite)}\n(axis cut)")
        axis.margins(y=0.12)
        axis.grid()
        if len(suites) > 1:
            axis.set_title(run.suite_title(suite))
    axis.set_xlabel("texts per second (log scale; right is faster)")
    legend_below(canvas, {name: run.series[name] for name in dict.fromkeys(table["system"])}, lines=False)
    fastest, best = table.loc[table["texts_per_second"].idxmax()], table.loc[table["value"].idxmax()]
    alt = (
        f"Quality against speed of {table['system'].nunique()} systems: {best.system} has the highest average"
        f" ({best.value:.3f}), {fastest.system} is the fastest ({fastest.texts_per_second:.0f} texts/s)."
    )
    caption = (
        "Average over a suite's datasets against scoring speed, all texts of the suite together;"
        f" {seeds_text(run, *suites)}. Speeds are as measured in this run, on the device that the cards name."
        + run.shown_note(list(dict.fromkeys(table["system"])), *suites)
    )
    return Drawing(canvas, table, alt, caption)


def _speed(run: RunData, suite: str) -> pd.DataFrame:
    """Texts per second and average headline metric (`value`) of each system that has both."""
    cost = run.cost[run.cost["suite"] == suite]
    sums = cost.groupby("system", observed=True)[["texts", "seconds"]].sum()
    memory = cost.groupby("system", observed=True)["peak_memory_mb"].max()
    table = pd.DataFrame({"texts_per_second": sums["texts"] / sums["seconds"], "peak_memory_mb": memory})
    table["value"] = run.suite_means(suite)[AVERAGE]
    names = [name for name in run.headline(suite, limit=8) if name in table.index]
    return table.loc[names].dropna(subset=["texts_per_second", "value"]).rename_axis("system").reset_index()


@figure("throughput", "cost", "Speed against the number of labels")
def throughput(run: RunData) -> Drawing | None:
    """Texts per second against the number of labels."""
    suites = run.suites(SINGLE)
    labels = {name: len(entry["labels"]) for suite in suites for name, entry in run.datasets(suite).items()}
    cost = run.cost[run.cost["dataset"].isin(labels)]
    names = [name for name in run.headline(*suites, limit=8) if name in set(cost["system"])]
    if not names:
        return None
    table = cost[cost["system"].isin(names)].assign(labels=cost["dataset"].map(labels))
    table = table.groupby(["system", "labels"], observed=True)[["texts", "seconds"]].sum().reset_index()
    table["texts_per_second"] = table["texts"] / table["seconds"]
    canvas = new_figure(4.2)
    axis = canvas.subplots()
    for name in names:
        line = table[table["system"] == name].sort_values("labels")
        axis.plot(
            line["labels"], line["texts_per_second"], linewidth=1.8, markersize=7, **series_style(run.series[name])
        )
    axis.set_xscale("log")
    ticks = sorted(set(labels.values()))
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.set_yscale("log")
    log_ticks(axis.yaxis, *axis.get_ylim())
    axis.set_xlabel("labels of the dataset (log scale)")
    axis.set_ylabel("texts per second (log scale)")
    axis.grid()
    legend_below(canvas, {name: run.series[name] for name in names})
    alt = f"Texts per second of {len(names)} systems on datasets with {ticks[0]} to {ticks[-1]} labels."
    caption = (
        "Scoring speed against the number of labels, datasets with the same number together. Texts differ in length"
        " between datasets, so a line shows labels and lengths at once." + run.shown_note(names, *suites)
    )
    return Drawing(canvas, table, alt, caption)
