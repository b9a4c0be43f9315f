"""Figure of quality and cost against the number of labels."""

from zsbench.reporting.figures.style import (
    Drawing,
    figure,
    legend_below,
    log_ticks,
    new_figure,
    panels,
    series_style,
)
from zsbench.reporting.frames import RunData


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
        "the"
        " labels of all sets. Bands: 95 % bootstrap intervals over texts. Tokens: encoder input per additional text,"
        " without padding. Lines end where the token budget is exceeded."
    )
    columns = ["system", "kind", "labels", "accuracy", "low", "high", "macro_f1", "tokens", "milliseconds"]
    return Drawing(canvas, frame[columns], alt, caption)
