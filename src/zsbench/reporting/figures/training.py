"""Figures of trainings: losses, validation, gradient norms, blend weights."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

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

MOST_MODELS = 8
FEWEST_POINTS = 3  # shorter curves are not drawn
FLAT = 0.02  # blend weights that change less are not drawn as curves
SELECTION = {"mean_ap": "mean AP", "validation_loss": "loss"}  # `recipe.selection` in words


def _histories(run: RunData) -> pd.DataFrame:
    """Rows (model, seed, step, quantity, term, value) of all models trained by steps."""
    rows = []
    for (model, seed), record in run.trainings.items():
        for entry in record.get("history", []):
            if "alpha" not in entry:  # a hybrid counts epochs, and its own figure shows them
                rows.append((model, seed, entry["step"], "validation", "", entry["validation"]))
                rows += [(model, seed, entry["step"], "loss", term, value) for term, value in entry["losses"].items()]
                norms = entry.get("gradient_norms", {})
                rows += [(model, seed, entry["step"], "gradient norm", term, value) for term, value in norms.items()]
    return pd.DataFrame(rows, columns=["model", "seed", "step", "quantity", "term", "value"])


def _lines(axis: Axes, frame: pd.DataFrame, key: str, series: dict[str, int]) -> None:
    """Curves averaged over seeds, one per name."""
    for name, number in series.items():
        curve = frame[frame[key] == name].groupby("step")["value"].mean()
        axis.plot(
            curve.index,
            curve.to_numpy(),
            markersize=5,
            linewidth=1.6,
            markevery=max(1, len(curve) // 8),
            **series_style(number),
        )
    axis.grid()
    axis.set_xlabel("step")


@figure("training_curves", "training", "Training curves")
def training_curves(run: RunData) -> Drawing | None:
    """Total loss and validation metric of all models; loss terms and their gradient norms of the reference."""
    frame = _histories(run)
    if frame.groupby(["model", "seed"])["step"].nunique().max() < FEWEST_POINTS or frame.empty:
        return None
    trained = list(dict.fromkeys(frame["model"]))
    names = trained[:MOST_MODELS]
    models = {name: run.series.get(name, len(run.series) + number) for number, name in enumerate(names)}
    frame = frame[frame["model"].isin(names)]
    reference = run.reference if run.reference in models else names[0]
    canvas = new_figure(6.6)
    upper, lower = canvas.subfigures(2, 1, height_ratios=[1.12, 1])  # type: ignore[misc]
    loss, validation = upper.subplots(1, 2)
    _lines(loss, frame[(frame["quantity"] == "loss") & (frame["term"] == "total")], "model", models)
    loss.set_title("total loss (training)")
    _lines(validation, frame[frame["quantity"] == "validation"], "model", models)
    selected = {record["spec"]["recipe"]["selection"] for (name, _), record in run.trainings.items() if name in models}
    words = " or ".join(word for metric, word in SELECTION.items() if metric in selected)
    validation.set_title(f"validation ({words})")
    legend_below(upper, models, columns=4)
    _terms(lower, frame[frame["model"] == reference], reference)
    seeds = len(run.trained_seeds)
    best = frame[frame["quantity"] == "validation"].sort_values("value").iloc[-1 if "mean_ap" in selected else 0]
    alt = (
        f"Training curves of {len(models)} models. Best validation: {best['model']}, {best['value']:.3f} at step"
        f" {best['step']}."
    )
    measured = ((frame["model"] == reference) & (frame["quantity"] == "gradient norm")).any()
    norms = " and their gradient norms" if measured else ""
    left = len(trained) - len(names)
    more = f" {left} more models are listed only in the training table." if left else ""
    caption = (
        "Upper: total training loss (mean since the previous point; not comparable between models with different loss"
        f" terms) and validation ({words} over the labels of each validation text). Lower: unweighted loss terms"
        f" of {reference}{norms}. Mean over {seeds} seed{'s' if seeds > 1 else ''}.{more}"
    )
    return Drawing(canvas, frame, alt, caption)


def _terms(lower: SubFigure, curves: pd.DataFrame, reference: str) -> None:
    """Loss terms of one model and, if measured, their gradient norms."""
    names = [term for term in dict.fromkeys(curves.loc[curves["quantity"] == "loss", "term"]) if term != "total"]
    terms = {term: number for number, term in enumerate(names or ["total"])}
    norms = curves[(curves["quantity"] == "gradient norm") & curves["term"].isin(terms)]
    axes = lower.subplots(1, 1 if norms.empty else 2, squeeze=False)[0]
    _lines(axes[0], curves[curves["quantity"] == "loss"], "term", terms)
    axes[0].set_title(f"terms of {reference}")
    if len(norms):
        _lines(axes[1], norms, "term", terms)
        axes[1].set_yscale("log")
        log_ticks(axes[1].yaxis, *axes[1].get_ylim())
        axes[1].set_title("gradient norms of the terms (log)")
    legend_below(lower, terms, columns=4)


@figure("alpha", "training", "Blend weights over the epochs")
def alpha(run: RunData) -> Drawing | None:
    """Blend weight per label over the epochs, for each hybrid."""
    rows = [
        (model, seed, entry["step"], label, value)
        for (model, seed), record in run.trainings.items()
        for entry in record.get("history", [])
        for label, value in entry.get("alpha", {}).items()
    ]
    data = pd.DataFrame(rows, columns=["model", "seed", "step", "label", "value"])
    moved = data.groupby("model")["value"].agg(lambda values: values.max() - values.min() > FLAT)
    data = data[data["model"].isin(moved[moved.astype(bool)].index)]
    if data.empty:
        return None
    models = list(dict.fromkeys(data["model"]))
    labels = {label: number for number, label in enumerate(dict.fromkeys(data["label"]))}
    columns = min(2, len(models))
    canvas = new_figure(1.0 + 2.7 * -(-len(models) // columns))
    for axis, model in zip(panels(canvas, len(models), columns, sharey=True), models, strict=True):
        _lines(axis, data[data["model"] == model], "label", labels)
        axis.set_title(model)
        axis.set_xlabel("epoch")
        axis.set_ylim(0, 1)
    canvas.axes[0].set_ylabel("alpha (1: NLI alone)")
    legend_below(canvas, labels, columns=4)
    last = data.sort_values("step").groupby(["model", "label"]).tail(1)
    span = f"{last['value'].min():.2f} to {last['value'].max():.2f}"
    alt = f"Blend weights of {len(labels)} labels over the epochs of {', '.join(models)}; they end at {span}."
    seeds = len(run.trained_seeds)
    caption = (
        f"Blend weight per label after each epoch, mean over {seeds} seed{'s' if seeds > 1 else ''}."
        " Models whose blend weights do not change are omitted: without a blend loss, alpha has no gradient."
    )
    return Drawing(canvas, data.rename(columns={"step": "epoch", "value": "alpha"}), alt, caption)
