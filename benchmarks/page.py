"""The speed page: tables, a figure and the measuring conditions, from a speed record only."""

from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.tables import (
    TWIN,
    backbones,
    gates,
    markdown,
    mixed,
    show,
    sweep_table,
    targets,
)
from benchmarks.timing import interval
from zsbench.reporting.figures.style import (
    Drawing,
    house_style,
    legend_below,
    log_ticks,
    new_figure,
    panels,
    save,
    series_style,
)
from zsbench.reporting.page import SPEED_FACTS, SPEED_FIGURE
from zsbench.store.provenance import read_json, write_json, write_text

TITLES = {
    "gliznet": "GliZNet",
    "invariant": "GliZNet, order-invariant",
    "apart": "GliZNet, labels apart",
    "gliclass": "gliclass pipeline",
    "nli-sorted": "NLI cross-encoder, sorted",
    "biencoder": "bi-encoder, labels kept",
}
TABLES = {
    "targets": "How many times faster",
    "mixed": "Every system on each workload",
    "sweep": "Labels and text length: measured beside the arithmetic",
    "gate": "Correctness gate",
}


def write_speed_page(record: Path, out: Path) -> list[Path]:
    """Write `speed.md`, one csv per table, and the figure of throughput against the number of labels.

    Args:
        record: `results/<run>/speed/speed.json`.
        out: folder to write to (`reports/<run>/speed`).

    Returns:
        The written files; the page is last.
    """
    data, out = read_json(record), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    made = (targets(data), mixed(data), sweep_table(data), gates(data))
    tables = dict(zip(TABLES, made, strict=True))
    written = []
    for name, table in tables.items():
        shown = pd.DataFrame([[show(value) for value in row] for row in table.itertuples(index=False)])
        shown.columns = table.columns
        write_text(out / f"{name}.csv", shown.to_csv(index=False, lineterminator="\n"))
        written.append(out / f"{name}.csv")
    write_text(out / "targets.md", markdown(tables["targets"]) + "\n\n" + _list(conditions(data)) + "\n")
    with house_style():
        drawing = throughput_labels(data)
    written += save(drawing, out, SPEED_FIGURE)
    figure = {"title": "Throughput against labels", "alt": drawing.alt, "caption": drawing.caption}
    tables_shown = [[name, TABLES[name]] for name in tables]
    write_json(
        out / SPEED_FACTS, {"sentences": [*conditions(data), ARITHMETIC], "tables": tables_shown, "figure": figure}
    )
    write_text(out / "speed.md", _page(data, tables, drawing))
    return [*written, out / "targets.md", out / SPEED_FACTS, out / "speed.md"]


def throughput_labels(data: dict[str, Any]) -> Drawing:
    """Texts per second against the number of labels: one row per backbone, one panel per text length."""
    table = sweep_table(data)
    rows, lengths, sizes = list(backbones(data)), sorted(table["tokens"].unique()), sorted(table["labels"].unique())
    places = {name: place for place, name in enumerate(TITLES) if name in set(table["system"])}
    figure = new_figure(1.5 + 2.4 * len(rows))
    cells = [(backbone, tokens) for backbone in rows for tokens in lengths]
    axes = panels(figure, len(cells), len(lengths), sharey=True, sharex=True)
    for axis, (backbone, tokens) in zip(axes, cells, strict=True):
        for name, place in places.items():
            chosen = (table["backbone"] == backbone) & (table["tokens"] == tokens) & (table["system"] == name)
            part = table[chosen].sort_values("labels")
            axis.plot(part["labels"], part["texts/s"], linewidth=1.8, markersize=6, **series_style(place))
            axis.fill_between(
                part["labels"], part["low"], part["high"], color=series_style(place)["color"], alpha=0.15, linewidth=0
            )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.grid()
        log_ticks(axis.yaxis, table["low"].min(), table["high"].max())
    for top, bottom, tokens in zip(axes, axes[-len(lengths) :], lengths, strict=False):
        top.set_title(f"{tokens} tokens")
        bottom.set_xlabel("labels")
    for axis, backbone in zip(axes[:: len(lengths)], rows, strict=True):
        axis.set_ylabel(f"{backbone}\ntexts per second (log)")
    legend_below(figure, {TITLES[name]: place for name, place in places.items()}, columns=2)
    alt = (
        f"Throughput of {len(places)} systems from {table['labels'].min()} to {table['labels'].max()} labels on"
        f" {' and '.join(rows)}; all but the bi-encoder slow down as labels are added."
    )
    return Drawing(figure, table, alt, _caption(data, rows))


def _caption(data: dict[str, Any], rows: list[str]) -> str:
    spec = data["spec"]
    return (
        f"Texts per second on {' and '.join(rows)} ({data['device']}, {spec['precisions'][0]}), one panel per text"
        f" length; line: mean of {spec['repeats']} interleaved rounds, band: 95 % interval. Both axes are logarithmic."
    )


ARITHMETIC = (
    "Arithmetic of one sequence of T tokens: 2 N (4 D² + 2 D I) T + 4 N D T² operations (N layers, D hidden, I"
    " intermediate; 8 N D T² with relative positions). K labels of l tokens and a text of t tokens are one sequence of"
    " t + 2 + K (l + 1) tokens (at most 20 labels each) for a joint encoder and K sequences of t + l + 3 for a"
    " cross-encoder: the ratio tends to (t + l) / l for many labels, and to K only where the text is much longer than"
    " all labels."
)


def conditions(data: dict[str, Any]) -> list[str]:
    """The measuring conditions: what all contenders share, the machine, and its load."""
    spec, parts = data["spec"], data["parts"].values()
    work, shapes = spec["mixed"], backbones(data)
    load = max(value for part in parts for value in part["load"])
    minutes = sum(part["seconds"] for part in parts) / 60
    clock = "CPU time of the process" if data["clock"] == "cpu" else "wall time"
    return [
        f"Device: {data['device']}. Every system has the same backbone, cut at {work['max_tokens']} tokens; token"
        f" budget {spec['token_budget']} where it takes one. Ratios and rates are of {clock}, tokenisation included.",
        f"Mixed texts: {work['texts']} (mean {next(iter(shapes.values()))['tokens']['mean']:.0f} tokens),"
        f" {work['labels']} labels. Against the pipeline: as many texts of {work['slow_texts']} lengths, quantiles of"
        f" the mixed ones, of which the pipeline scores one each ({work['many_texts']} with {work['many_labels']}"
        " labels); ratios are of times per text, and labels apart are encoded once for all texts. Topics:"
        f" {spec['hybrid']['nli_rows']} texts with the five published descriptions, and five more labels.",
        *_twin(spec),
        "times: geometric mean of the ratios of single rounds, with a 95 % interval (Student's t on their logarithms)."
        " met: yes if the whole interval reaches the goal, no if none of it does, otherwise undecided.",
        "tokens: how many more encoder tokens, padding included, the slower way needs; kernels: the rest of the ratio,"
        " which is what a token costs and what is done around the encoder; mainly: the larger of the two.",
        "Other packages' pipelines run at the fastest of their batch sizes, with weights converted in bf16; default"
        " call: as documented, in fp32 at the default batch size (gliclass 8, transformers 1).",
        *(
            f"{backbone}: a large matrix product reaches {_products(found, data['clock'])}."
            for backbone, found in shapes.items()
        ),
        "Share of matrix products: the arithmetic of the encoder's real tokens per second over that rate, which is"
        " measured in the same rounds. In a training, a backward pass counts as two forward passes; the bare encoder"
        " has the same batches, clipping and AdamW, but neither head nor losses; gradient norms are measured every"
        f" {spec['training']['norms_every']} steps.",
        "The bi-encoder's label vectors are made before the clock starts; every other way encodes its labels while it"
        " runs.",
        f"The gliclass pipeline puts labels and text into one sequence; where they are longer than {work['max_tokens']}"
        " tokens together, it reads only their beginning, which is less work than the others do.",
        f"Highest load average seen while it ran ({minutes:.0f} minutes): {load:.1f}. A load above the number of cores"
        " means that wall times are not to be trusted, and that CPU times are only a little better.",
    ]


def _products(found: dict[str, Any], clock: str) -> str:
    """The rate of the large matrix product in each precision, and how PyTorch computes it."""
    rates = []
    for name, one in found["mixed"].items():
        if name.startswith("products/"):
            seconds = interval([turn[clock] for turn in one["rounds"]])["mean"]
            rates.append(f"{one['operations'] / seconds / 1e9:,.0f} GFLOP/s in {name.split('/')[1]} ({one['way']})")
    return " and ".join(rates)


def _twin(spec: dict[str, Any]) -> list[str]:
    sentence = f"{TWIN}: a DeBERTa-v3 of the size of {spec['backbone']}; its speed needs no trained weights."
    return [sentence] if "deberta" in spec["shapes"] else []


def _list(sentences: list[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _page(data: dict[str, Any], tables: dict[str, pd.DataFrame], drawing: Drawing) -> str:
    parts = ["# Speed", _list(conditions(data))]
    for name, table in tables.items():
        parts.append(f"## {TABLES[name]}")
        if name == "sweep":
            parts += [f"![{drawing.alt}]({SPEED_FIGURE}.svg)", drawing.caption, ARITHMETIC]
        parts.append(markdown(table))
    return "\n\n".join(parts) + "\n"
