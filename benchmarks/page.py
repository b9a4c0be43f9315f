"""The speed page: tables, a figure and the measuring conditions, from a speed record only."""

from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.tables import (
    TWIN,
    backbones,
    compiled,
    gates,
    latency,
    markdown,
    mixed,
    show,
    sweep_table,
    targets,
)
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
    "mixed": "Mixed texts",
    "latency": "One text at a time",
    "sweep": "Labels and text length: measured beside the arithmetic",
    "compiled": "torch.compile",
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
    made = (targets(data), mixed(data), latency(data), sweep_table(data), compiled(data), gates(data))
    tables = {name: table for name, table in zip(TABLES, made, strict=True) if len(table)}
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
    """Texts per second against the number of labels: one row per backbone, one panel per text length, best batches."""
    table = sweep_table(data)
    table = table[table["batch"] == "best"]
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
        f"Texts a second on {' and '.join(rows)} ({data['device']}, {spec['precision']}), a panel a text length, each"
        f" system at its best batch; line: median of {spec['sweep']['repeats']} interleaved repeats, band: quartiles."
        " Both axes are logarithmic."
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
    work, hybrid = spec["mixed"], spec["hybrid"]
    names = dict(zip(spec["shapes"], backbones(data), strict=True))
    first = data["shapes"][spec["shapes"][0]]
    mean, ceiling = first["tokens"]["mean"], first["ceiling"]
    load = max(value for part in parts for value in part["load"])
    padded = " or ".join(f"{work['padded_texts'][shape]} ({name})" for shape, name in names.items())
    minutes = sum(part["seconds"] for part in parts) / 60
    return [
        f"Device: {data['device']}; precision {spec['precision']}; every contender on the same backbone, cut at"
        f" {work['max_tokens']} tokens, token budget {spec['token_budget']} where it takes one; peers' pipelines at the"
        " best of their batch sizes.",
        f"Mixed texts: {work['texts']} (mean {mean:.0f} tokens), {work['labels']} labels, tokenisation included; the"
        f" padded batch holds the first {padded}, ways that score a pair at a time get the first"
        f" {work['slow_texts']} ({work['many_texts']} with {work['many_labels']} labels), and so does what they are"
        " compared with.",
        *_twin(spec),
        "The bi-encoder's label vectors are made before the clock starts; every other way encodes its labels while it"
        " runs.",
        f"The gliclass pipeline puts labels and text into one sequence; where they are longer than {work['max_tokens']}"
        " tokens together, it reads only their beginning, which is less work than the others do.",
        "Share of matrix products: the encoder's arithmetic a second over that of one large product on the same device"
        f" and precision, {ceiling / 1e9:,.0f} GFLOP/s.",
        f"HybridNLI: {hybrid['nli_rows']} topic texts with five descriptions; heads trained on {hybrid['rows']} texts"
        f" for {hybrid['epochs']} whole epochs, with the store's own encoder pass counted.",
        "Times are medians over interleaved rounds, low and high their quartiles. Times (encoder tokens): how many more"
        " tokens, padding included, the other way puts through its encoder; the rest of a ratio is what a token costs"
        " and what is done around the encoder.",
        f"Highest load average seen while it ran ({minutes:.0f} minutes): {load:.1f}. A load above the number of cores"
        " means that wall times are not to be trusted, and that CPU times are only a little better.",
    ]


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
