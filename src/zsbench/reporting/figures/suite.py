"""Figures of single-label suites: heat map, forest plots, quality against cost."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.patches import Rectangle

from zsbench.reporting.figures.style import (
    COLORS,
    MUTED,
    WIDTH,
    Drawing,
    figure,
    legend_below,
    log_ticks,
    new_figure,
    panels,
    series_style,
    tip,
)
from zsbench.reporting.frames import AVERAGE, SINGLE, RunData
from zsbench.reporting.render import interval_text, number, p_text


def seeds_text(run: RunData) -> str:
    """Number of seeds in words: `trained systems: mean over 3 seeds`."""
    seeds = len(run.trained_seeds)
    return f"trained systems: mean over {seeds} seeds" if seeds > 1 else "one seed each"


def interval_words(run: RunData) -> str:
    """How the intervals of the run were computed, in words."""
    statistics = run.spec["statistics"]
    return (
        f"{statistics['level'] * 100:g} % intervals from a paired bootstrap over rows ({statistics['draws']:,}"
        " draws, plus seed variation for systems with several seeds), p values corrected over all pairs of the suite"
    )


def _verdicts(run: RunData, suite: str) -> dict[tuple[str, str], str]:
    """Marks of (system, dataset) cells that are significantly above or below the reference system."""
    return {
        (row.system, row.dataset): "▲" if row.delta > 0 else "▼"
        for row in run.against_reference(suite).itertuples()
        if row.p_adjusted < run.alpha
    }


@figure("heatmap", "suite-{suite}", "{metric} by dataset and system")
def heatmap(run: RunData, suite: str) -> Drawing | None:
    """Headline metric of all systems on all datasets, with marks for significant differences from the reference."""
    means, metric = run.suite_means(suite), run.metric_name(suite)
    if means.empty:
        return None
    means = means.sort_values(AVERAGE, ascending=False, kind="stable")
    marks = _verdicts(run, suite)
    rows, columns = means.shape
    canvas = new_figure(1.6 + 0.28 * rows, width=max(WIDTH, 2.4 + 0.72 * columns))
    axis = canvas.subplots()
    words = {(system, name): cell.word for (kind, name, system), cell in run.missing.items() if kind == suite}
    titles = [*(run.titles.get(name, "Average") for name in means.columns)]
    mesh = _heat(axis, means, titles, marks, words)
    axis.set_xticks(_centers(columns), titles, rotation=30, ha="left", rotation_mode="anchor")
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
        f"{run.metric_title(suite)} on the test split, argmax over the labels; {seeds_text(run)}. ▲ / ▼:"
        f" significantly above / below {run.reference} (bold) on the same rows; {interval_words(run)}."
    )
    ranked = means.loc[means.index.isin(run.systems(suite, controls=False)), AVERAGE].dropna()
    alt = f"Heat map: {metric} of {rows} systems on {columns - 1} datasets."
    alt += f" Highest average: {ranked.idxmax()}, {ranked.max():.3f}." if len(ranked) else ""
    return Drawing(canvas, data, alt, caption)


GAP = 0.15  # between the datasets and their average, in cells


def _centers(columns: int) -> np.ndarray:
    return np.arange(columns) + 0.5 + GAP * (np.arange(columns) == columns - 1)


def _heat(
    axis: Axes,
    means: pd.DataFrame,
    titles: list[str],
    marks: dict[tuple[str, str], str],
    words: dict[tuple[str, str], str],
) -> QuadMesh:
    """Coloured cells with numbers, first row on top; missing cells are white and show their status."""
    values = means.to_numpy(dtype=float)
    rows, columns = values.shape
    for x, block in ((np.arange(columns), values[:, :-1]), (columns - 1 + GAP + np.arange(2), values[:, -1:])):
        mesh = axis.pcolormesh(x, np.arange(rows + 1), block, cmap="YlGnBu", vmin=0, vmax=1, edgecolors="white")
    for (i, j), value in np.ndenumerate(values):
        if not np.isfinite(value):
            word = words.get((means.index[i], means.columns[j]), "–")
            axis.text(float(_centers(columns)[j]), i + 0.5, word, ha="center", va="center", fontsize=9, color=MUTED)
        else:
            ink = "#fdfdfd" if value > 0.6 else "#101418"  # colours that do not follow the page's theme
            x, mark = float(_centers(columns)[j]), marks.get((means.index[i], means.columns[j]), "")
            axis.text(x - 0.06, i + 0.5, f"{value:.3f}", ha="center", va="center", fontsize=9, color=ink)
            axis.text(x + 0.37, i + 0.5, mark, ha="center", va="center", fontsize=7, color=ink)
            cell = axis.add_patch(Rectangle((x - 0.5, i), 1, 1, alpha=0))
            tip(cell, f"{means.index[i]}, {titles[j]}: {value:.3f} {mark}".strip())
    axis.invert_yaxis()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return mesh


def forest(axis: Axes, rows: pd.DataFrame, details: pd.DataFrame, alpha: float) -> None:
    """One line per row: the average delta with its interval, single datasets as small rings.

    Args:
        rows: `name`, `delta`, `low`, `high`, `p_adjusted`, `n_rows`, drawn from top to bottom.
        details: `name`, `dataset`, `delta` of single datasets.
        alpha: adjusted p below which a diamond is filled.
    """
    axis.axvline(0, color=MUTED, linewidth=1)
    for y, row in enumerate(rows.itertuples()):
        for single in details[details["name"] == row.name].itertuples():
            (ring,) = axis.plot(single.delta, y + 0.26, "o", color=MUTED, markersize=4, markerfacecolor="white")
            tip(ring, f"{single.dataset}: {number(single.delta, 3, signed=True)}")
        axis.plot([row.low, row.high], [y, y], color=COLORS[0], linewidth=2.2, solid_capstyle="butt")
        fill = COLORS[0] if row.p_adjusted < alpha else "white"
        (mark,) = axis.plot(row.delta, y, "D", color=COLORS[0], markersize=7, markerfacecolor=fill)
        p = "no test" if pd.isna(row.p_adjusted) else f"adjusted p {p_text(row.p_adjusted)}"  # two seeds have none
        name = row.name.replace("\n", " ")
        difference = f"{number(row.delta, 3, signed=True)} {interval_text(row.low, row.high)}"
        tip(mark, f"{name}: {difference}, {p}, {row.n_rows:,.0f} rows")
    axis.set_yticks(range(len(rows)), rows["name"])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
    axis.set_axisbelow(True)
    axis.locator_params(axis="x", nbins=5)


def _forest_drawing(run: RunData, deltas: pd.DataFrame, xlabel: str, subject: str, caption: str) -> Drawing | None:
    """Forest plot of deltas with a `name`: averages over datasets as diamonds, single datasets as rings."""
    whole, single = deltas[deltas["dataset"] == AVERAGE], deltas[deltas["dataset"] != AVERAGE]
    if whole.empty:
        return None
    partial = {
        row.name: f" ({row.n_sets:.0f} of {len(run.datasets(row.suite))} sets)"
        for row in whole[["suite", "name", "n_sets"]].itertuples(index=False)
        if row.n_sets < len(run.datasets(row.suite))
    }
    whole, single = (rows.assign(name=rows["name"] + rows["name"].map(partial).fillna("")) for rows in (whole, single))
    canvas = new_figure(1.0 + 0.4 * len(whole))
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
    rows = f" {int(whole['n_rows'].max()):,} rows, {seeds_text(run)}; {interval_words(run)}."
    return Drawing(canvas, deltas[columns], alt.replace("\n", " "), f"{caption}{legend}{rows}")


@figure("forest", "suite-{suite}", "Each system against the reference")
def delta_forest(run: RunData, suite: str) -> Drawing | None:
    """Each system against the reference."""
    deltas = run.against_reference(suite)
    deltas = deltas[~deltas["system"].isin(run.controls)].assign(name=deltas["system"])
    xlabel = f"{run.metric_name(suite)} minus that of {run.reference}"
    subject, caption = f"Each system against {run.reference}", f"Left of 0: {run.reference} is better."
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
    text = "Each line compares two variants that differ in one factor (or in a compound named in the config)."
    return _forest_drawing(run, deltas.assign(name=name), f"difference of {metrics}", "Ablations", text)


@figure("cost", "cost", "Quality against speed")
def cost(run: RunData) -> Drawing | None:
    """Average headline metric against texts per second, one panel per suite."""
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
            (mark,) = axis.plot(row.texts_per_second, row.value, markersize=10, **style)
            tip(mark, f"{row.system}: {row.value:.3f}, {row.texts_per_second:.0f} texts/s")
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
        "Average over the datasets of a suite against scoring speed over all its texts;"
        f" {seeds_text(run)}. Speeds were measured in this run, on the device in the header."
        + run.shown_note(list(dict.fromkeys(table["system"])), *suites)
    )
    return Drawing(canvas, table, alt, caption)


def _speed(run: RunData, suite: str) -> pd.DataFrame:
    """Texts per second and average headline metric (`value`) of each system that has both."""
    table = run.speed[run.speed.index.isin([suite], level="suite")].droplevel("suite")
    table = table[["texts_per_second", "peak_memory_mb"]]
    table = table.assign(value=run.suite_means(suite)[AVERAGE])
    names = [name for name in run.headline(suite, limit=8) if name in table.index]
    return table.loc[names].dropna(subset=["texts_per_second", "value"]).reset_index()
