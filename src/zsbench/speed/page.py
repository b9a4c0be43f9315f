"""The speed page: tables and a figure from `speed.json` alone."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from zsbench.provenance import read_json, write_text
from zsbench.reporting.figures.style import (
    Drawing,
    house_style,
    legend_below,
    log_ticks,
    look,
    new_figure,
    panels,
    save,
)

TITLES = {
    "gliznet": "GliZNet",
    "gliclass": "gliclass pipeline",
    "nli-sorted": "NLI cross-encoder, sorted",
    "biencoder": "bi-encoder, labels kept",
}
SHAPES = {"own": "the run's backbone", "deberta": "DeBERTa-v3 of the same size (random weights)"}


def write_speed_page(record: Path, out: Path) -> list[Path]:
    """Write `speed.md`, a csv a table and the figure of throughput against the number of labels.

    Args:
        record: `results/<run>/speed/speed.json`.
        out: folder to write to (`reports/<run>/speed`).

    Returns:
        The written files.
    """
    data, out = read_json(record), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tables = {
        "targets": targets(data),
        "mixed": mixed(data),
        "latency": latency(data),
        "sweep": sweep_table(data),
        "gate": gates(data),
    }
    written = []
    for name, table in tables.items():
        path = out / f"{name}.csv"
        write_text(path, table.to_csv(index=False, float_format="%.4g", lineterminator="\n"))
        written.append(path)
    with house_style():
        drawing = throughput_labels(data)
    if drawing is not None:
        written += save(drawing, out, "throughput_labels")
    write_text(out / "speed.md", _page(data, tables, drawing))
    return [*written, out / "speed.md"]


def targets(data: dict[str, Any]) -> pd.DataFrame:
    """Every comparison with a target: how many times faster, in wall time and in CPU time."""
    rows = [
        {
            "backbone": shape,
            "comparison": one["comparison"],
            "against": one["against"],
            "labels": "" if one["labels"] is None else str(one["labels"]),
            "times": one["times"]["wall"]["median"],
            "low": one["times"]["wall"]["low"],
            "high": one["times"]["wall"]["high"],
            "times (CPU time)": one["times"]["cpu"]["median"],
            "at least": one["at_least"],
            "met": "yes" if one["times"]["wall"]["median"] >= one["at_least"] else "no",
        }
        for shape, found in data["shapes"].items()
        for one in found["ratios"]
    ]
    if "memory" in data:
        grown = data["memory"]["growth_mb"]
        title = f"growth over {data['memory']['texts']:,} texts, MB (at most)"
        rows.append(
            {
                "backbone": "tiny",
                "comparison": title,
                "times": grown,
                "at least": 200.0,
                "met": "yes" if grown < 200 else "no",
            }
        )
    return pd.DataFrame(rows)


def mixed(data: dict[str, Any]) -> pd.DataFrame:
    """Every contender on the mixed texts."""
    rows = []
    for shape, found in data["shapes"].items():
        limit = found["mixed"]["bare"]["texts_per_second"]["wall"]["median"]
        for part in ("mixed", "slow", "many"):
            for name, one in found[part].items():
                rate = one["texts_per_second"]["wall"]
                rows.append(
                    {
                        "backbone": shape,
                        "labels": one["labels"],
                        "system": name,
                        "texts": one["texts"],
                        "texts/s": rate["median"],
                        "low": rate["low"],
                        "high": rate["high"],
                        "pairs/s": one["pairs_per_second"]["wall"]["median"],
                        "share of bare encoder": rate["median"] / limit if part == "mixed" else math.nan,
                        "padding efficiency": one["padding_efficiency"],
                        "peak MB": one["peak_mb"],
                    }
                )
    return pd.DataFrame(rows)


def latency(data: dict[str, Any]) -> pd.DataFrame:
    """One text at a time."""
    return pd.DataFrame(
        {
            "backbone": shape,
            "system": name,
            "p50 ms": one["p50"] * 1e3,
            "p95 ms": one["p95"] * 1e3,
            "texts": one["texts"],
        }
        for shape, found in data["shapes"].items()
        for name, one in found["latency"].items()
    )


def sweep_table(data: dict[str, Any]) -> pd.DataFrame:
    """Labels x text length x batch: what was measured beside what the arithmetic says, relative to GliZNet."""
    rows = []
    for shape, found in data["shapes"].items():
        base = {(r["labels"], r["tokens"], r["batch"]): r for r in found["sweep"] if r["system"] == "gliznet"}
        for row in found["sweep"]:
            ours, rate = base[row["labels"], row["tokens"], row["batch"]], row["texts_per_second"]["wall"]
            rows.append(
                {
                    "backbone": shape,
                    **{key: row[key] for key in ("labels", "tokens", "batch", "system", "texts")},
                    "texts/s": rate["median"],
                    "low": rate["low"],
                    "high": rate["high"],
                    "pairs/s": rate["median"] * row["labels"],
                    "GFLOP a text": row["operations"] / 1e9,
                    "GliZNet faster, measured": ours["texts_per_second"]["wall"]["median"] / rate["median"],
                    "GliZNet faster, arithmetic": row["operations"] / ours["operations"],
                }
            )
    return pd.DataFrame(rows)


def gates(data: dict[str, Any]) -> pd.DataFrame:
    """What the correctness gate found."""
    return pd.DataFrame(
        {"backbone": shape, "ways": ways, **facts}
        for shape, found in data["shapes"].items()
        for ways, facts in found["gate"].items()
    )


def throughput_labels(data: dict[str, Any]) -> Drawing | None:
    """Texts a second against the number of labels, a panel a text length, best batches."""
    table = sweep_table(data)
    if table.empty:
        return None
    shape = next(iter(data["shapes"]))
    table = table[(table["backbone"] == shape) & (table["batch"] == "best")]
    lengths = sorted(table["tokens"].unique())
    places = {name: place for place, name in enumerate(TITLES) if name in set(table["system"])}
    figure = new_figure(3.9)
    for axis, tokens in zip(panels(figure, len(lengths), len(lengths), sharey=True), lengths, strict=True):
        for name, place in places.items():
            part = table[(table["tokens"] == tokens) & (table["system"] == name)].sort_values("labels")
            axis.plot(part["labels"], part["texts/s"], linewidth=1.8, markersize=6, **look(place))
            axis.fill_between(
                part["labels"], part["low"], part["high"], color=look(place)["color"], alpha=0.15, linewidth=0
            )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_title(f"{tokens} tokens")
        axis.set_xlabel("labels")
        axis.grid()
        log_ticks(axis.yaxis, table["low"].min(), table["high"].max())
    figure.axes[0].set_ylabel("texts per second (log)")
    legend_below(figure, {TITLES[name]: place for name, place in places.items()}, columns=2)
    repeats = data["spec"]["sweep"]["repeats"]
    caption = (
        f"Texts a second on {SHAPES.get(shape, shape)} ({data['device']}, {data['spec']['precision']}), a panel a text"
        f" length, each system at its best batch; line: median of {repeats} interleaved repeats, band: quartiles. Both"
        " axes are logarithmic."
    )
    most = table["labels"].max()
    alt = (
        f"Throughput of {len(places)} systems from {table['labels'].min()} to {most} labels; all but the bi-encoder"
        " slow down as labels are added."
    )
    return Drawing(figure, table, alt, caption)


def _page(data: dict[str, Any], tables: dict[str, pd.DataFrame], drawing: Drawing | None) -> str:
    spec = data["spec"]
    first = next(iter(data["shapes"].values()))
    workload = spec["mixed"]
    intro = (
        f"Device: {data['device']}; precision {spec['precision']}; every contender on the same backbone, cut at"
        f" {workload['max_tokens']} tokens, token budget {spec['token_budget']} where it takes one. Mixed workload:"
        f" {workload['texts']} texts (mean {first['tokens']['mean']:.0f} tokens), {workload['labels']} labels,"
        f" {workload['repeats']} interleaved repeats, tokenisation included; ways that score a pair at a time get the"
        f" first {workload['slow_texts']} texts ({workload['many_texts']} with {workload['many_labels']} labels), and"
        " what they are compared with gets the same. Load average of the machine before and after:"
        f" {data['load_before']:.1f}, {data['load_after']:.1f}. A load above the number of cores means that wall times"
        " are not to be trusted, and that CPU times are only a little better."
    )
    arithmetic = (
        "Arithmetic of one sequence of T tokens: 2 N (4 D² + 2 D I) T + 4 N D T² operations (N layers, D hidden, I"
        " intermediate; 8 N D T² with relative positions). K labels of l tokens and a text of t tokens are one sequence"
        " of t + 2 + K (l + 1) tokens (at most 20 labels each) for a joint encoder and K sequences of t + l + 3 for a"
        " cross-encoder: the ratio tends to (t + l) / l for many labels and to K only where the text is much longer"
        " than all labels."
    )
    parts = ["# Speed", intro, "## Targets", _markdown(tables["targets"]), "## Mixed texts", _markdown(tables["mixed"])]
    parts += ["## One text at a time", _markdown(tables["latency"]), "## Correctness gate", _markdown(tables["gate"])]
    if drawing is not None:
        parts += ["## Labels and text length", f"![{drawing.alt}](throughput_labels.svg)", drawing.caption]
    parts += [arithmetic, _markdown(tables["sweep"])]
    return "\n\n".join(parts) + "\n"


def _markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, numbers with three significant digits."""
    rows = [[str(name) for name in table.columns], ["---"] * len(table.columns)]
    rows += [[_show(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _show(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)
