"""Generated blocks in README and docs/, rendered from the numbers of a written report."""

import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from zsbench.plan.suites import METRICS
from zsbench.reporting.frames import AVERAGE
from zsbench.reporting.index import SUMMARY
from zsbench.reporting.render import (
    SIDECAR,
    Column,
    Table,
    escape_markdown,
    explained,
    interval_text,
    number,
    picked,
    read_table,
    to_markdown,
    words_table,
)
from zsbench.store.provenance import read_json

HEADLINE_ROWS = 5  # of the headline block
WIDTH = 118  # characters of a line of prose
SHOWN_PROTOCOL = "held-out"  # the only protocol of a multi-label suite that blocks show; the report has all
VERDICTS = ("System", "Against", "Factor", "Average Δ", "p (adjusted)", "MDE", "Verdict")
MULTI = ("System", "Macro-F1", "Exact match", "Macro P", "Macro R")
RATIOS = ("backbone", "comparison", "precision", "labels", "times", "goal", "met")
NO_SPEED = "Not measured in the committed sample; `make speed` measures it, `make sample` then shows it here."
_BLOCK = re.compile(r"<!-- begin:([\w-]+) -->\n(.*?)<!-- end:([\w-]+) -->", re.DOTALL)


def render(text: str, reports: Path) -> str:
    """The text with every marked block filled in from the report; idempotent.

    A block is `<!-- begin:suite -->` ... `<!-- end:suite -->`, each marker on a separate line. Its name is the name of
    a table of the report, or one of `BLOCKS`.

    Raises:
        ValueError: a block has an unknown name, no end marker, or one with another name; or a table lacks a column that
            the block shows.
    """

    def fill(block: re.Match[str]) -> str:
        name, end = block.group(1), block.group(3)
        if end != name:
            raise ValueError(f"block {name!r} ends with the marker of {end!r}")
        return f"<!-- begin:{name} -->\n{_body(name, reports)}\n<!-- end:{name} -->"

    filled = _BLOCK.sub(fill, text)
    if text.count("<!-- begin:") != len(_BLOCK.findall(text)):
        raise ValueError("a block has no end marker, or a marker is not on its own line")
    return filled


def written_tables(reports: Path) -> dict[str, Table]:
    """All tables of a written report by name."""
    folder = reports / "tables"
    return {path.stem: read_table(folder, path.stem) for path in sorted(folder.glob(f"*.{SIDECAR}"))}


def _body(name: str, reports: Path) -> str:
    if name in BLOCKS:
        return BLOCKS[name](reports).strip()
    tables = written_tables(reports)
    if name not in tables:
        raise ValueError(f"block {name!r}: no such table; allowed: {', '.join([*BLOCKS, *tables])}")
    table = tables[name]
    return to_markdown(_held_out(table) if table.kind == "multi" else table).strip()


def _held_out(table: Table) -> Table:
    """The rows of one protocol, and the notes that explain them."""
    shown = replace(table, frame=table.frame[table.frame["protocol"] == SHOWN_PROTOCOL])
    marks = explained(shown)
    return replace(shown, notes=tuple(n for n in table.notes if n in marks or f", {SHOWN_PROTOCOL} on " in n))


def _first(reports: Path, kind: str) -> Table:
    """The report's first table of a kind: "suite" for single-label suites, "multi" for multi-label ones."""
    for table in written_tables(reports).values():
        if table.kind == kind:
            return table
    raise ValueError(f"{reports}: no table of kind {kind!r}")


def headline(reports: Path) -> str:
    """The headline table, and a sentence that summarises it.

    At most five rows: the reference, the best systems, the best untrained one, the best control that uses no gold.
    """
    suite = _first(reports, "suite")
    rows, metric = averages(suite)
    whole = rows["n_sets"] == rows["of_sets"]
    ranked = rows[whole].sort_values("value", ascending=False, kind="stable")
    systems = ranked[~ranked["control"]]
    reference = rows[rows["reference"]].iloc[0]
    untrained = systems[systems["n_seeds"].isna()]["system"].tolist()[:1]
    controls = ranked[ranked["control"] & ~ranked["system"].isin(["oracle", "shuffled-oracle"])]
    names = list(dict.fromkeys([reference["system"], *untrained, *controls["system"].tolist()[:1]]))
    names += [name for name in systems["system"] if name not in names][: HEADLINE_ROWS - len(names)]
    columns = (
        Column("System", "system", marks=("system.unmoved",)),
        Column(
            f"Average {metric}",
            "value",
            "number",
            sets=("n_sets", "of_sets"),
            marks=("below", "differs", "checkpoint_differs"),
        ),
        Column(f"Δ to {reference['system']}", "delta", "signed", interval=("low", "high")),
        Column("p (adjusted)", "p_adjusted", "p"),
    )
    shown = pd.concat([ranked, rows[rows["reference"] & ~whole]])  # a reference that lacks a dataset comes last
    table = Table("", shown[shown["system"].isin(names)], columns, notes=suite.notes)
    notes = [line for note in explained(table) for line in ("", escape_markdown(note))]
    return "\n".join([to_markdown(replace(table, notes=())), _sentence(reference, systems, controls), *notes])


def averages(table: Table) -> tuple[pd.DataFrame, str]:
    """The rows of a suite table that are averages over datasets, and the display name of their metric."""
    rows = table.frame[table.frame["dataset"] == AVERAGE]
    return rows, METRICS[rows["metric"].iloc[0]].name


def _sentence(reference: pd.Series, systems: pd.DataFrame, controls: pd.DataFrame) -> str:
    """The main result of the table in one sentence, with its interval."""
    if systems.empty:
        return "No system has results on all datasets."
    best, name = systems.iloc[0], reference["system"]
    other = systems.iloc[min(1, len(systems) - 1)] if best["system"] == name else best
    difference = f"{number(other['delta'], 3, signed=True)} {interval_text(other['low'], other['high'])}"
    if len(systems) == 1:
        sentence = f"`{best['system']}` is the only system{' with all datasets' * (best['system'] != name)}"
    elif best["system"] == name:
        sentence = (
            f"`{name}` has the highest average of {len(systems)} systems; `{other['system']}`, the next, differs from"
        )
        sentence += f" it by {difference}"
    else:
        sentence = f"`{best['system']}` has the highest average of {len(systems)} systems, {difference} from `{name}`"
    if len(controls):
        control = controls.iloc[0]
        sentence += f"; the best control that reads no text, `{control['system']}`, reaches {control['value']:.3f}"
    return f"{sentence}."


def scale(reports: Path) -> str:
    """The size of the sample run: training steps, seeds of the reference, rows and test sets."""
    table = _first(reports, "suite")
    rows, _ = averages(table)
    reference = rows[rows["reference"]].iloc[0]
    sizes = read_table(reports / "tables", "integrity").frame
    counts = sorted(sizes[sizes["suite"].isin(rows["suite"])]["scored:test"].dropna().astype(int))
    seeds = 0 if pd.isna(reference["n_seeds"]) else int(reference["n_seeds"])
    shown = f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
    facts = _facts(reports)
    steps = [facts["Training"]] if "Training" in facts else []
    took = (
        f" Its jobs took {facts['Computing']}, on {facts['Device']} in {facts['Precision']}."
        if "Computing" in facts
        else ""
    )
    parts = [*_size(reports, reference["system"]), *steps, f"{seeds or 'no'} seed{'s' * (seeds != 1)}"]
    return textwrap.fill(
        f"**A demonstration, not a benchmark result**: {', '.join(parts)}, {shown} rows of each of {len(counts)} test"
        f" set{'s' * (len(counts) != 1)}.{took}",
        WIDTH,
        break_on_hyphens=False,
    )


def _size(reports: Path, system: str) -> list[str]:
    """Number of parameters of a system, from the report's table; [] if it does not list the system."""
    table = written_tables(reports).get("parameters")
    counts = table.frame.loc[table.frame["system"] == system, "parameters"] if table else []
    return [f"a {count / 1e6:.1f} M model" for count in counts]


def _facts(reports: Path) -> dict[str, str]:
    """The header card of the report; {} if it has none."""
    path = reports / SUMMARY
    return read_json(path)["facts"] if path.is_file() else {}


def _verdicts(reports: Path) -> str:
    table = picked(read_table(reports / "tables", "ablations"), VERDICTS)
    return to_markdown(replace(table, notes=(), signature=""))


def scores(reports: Path) -> str:
    """The suite's metric only: systems by datasets and their average, with marks and their explanations."""
    table = _first(reports, "suite")
    shown = tuple(column for column in table.columns if column.kind == "text" or column.value == "value")
    return _narrow(replace(table, columns=shown))


def multi(reports: Path) -> str:
    """The report's first multi-label suite under one protocol, without the per-label columns."""
    table = _held_out(_first(reports, "multi"))
    return _narrow(picked(table, tuple(column.title for column in table.columns if column.title in MULTI)))


def _narrow(table: Table) -> str:
    """The table as Markdown, with only those notes that explain a printed mark."""
    return to_markdown(replace(table, notes=explained(table), signature=""))


def _targets(reports: Path) -> pd.DataFrame | None:
    """The comparisons of the speed page; None if there is none."""
    path = reports / "speed" / "targets.csv"
    return pd.read_csv(path, dtype=str, keep_default_na=False) if path.is_file() else None


def _ratios(reports: Path) -> str:
    frame = _targets(reports)
    if frame is None:
        return NO_SPEED
    return to_markdown(picked(words_table("targets", "", frame), RATIOS))


def speed_sentence(reports: Path) -> str:
    """How fast scoring is on the first backbone of the speed page, in one wrapped sentence; and the goals met."""
    frame = _targets(reports)
    if frame is None:
        return NO_SPEED
    backbone, labels = frame[["backbone", "labels"]].iloc[0]
    shown = frame[(frame["backbone"] == backbone) & frame["labels"].isin([labels, ""])]

    def times(comparison: str) -> str:
        rows = shown[shown["comparison"] == comparison]
        return " and ".join(f"{row.times} ({row.precision})" for row in rows.itertuples())

    verdicts = frame["met"][frame["met"] != ""]
    return textwrap.fill(
        f"Speed with {backbone} and {labels} labels, at equal precision and each peer's best batch size: GliZNet is"
        f" {times('GliZNet vs gliclass')} times as fast as the gliclass pipeline and"
        f" {times('GliZNet vs transformers pipeline')} times as fast as the transformers zero-shot pipeline, and"
        f" HybridNLI's NLI pass is {times('NLI pass vs transformers pipeline')} times as fast as that pipeline."
        f" {(verdicts == 'yes').sum()} of {len(verdicts)} [goals](docs/speed.md) are met.",
        WIDTH,
        break_on_hyphens=False,
    )


def _speed(reports: Path) -> str:
    path = reports / "speed" / "targets.md"
    return path.read_text(encoding="utf-8") if path.is_file() else NO_SPEED


# Blocks that are not simply one table of the report.
BLOCKS: dict[str, Callable[[Path], str]] = {
    "headline": headline,
    "scale": scale,
    "suite": lambda reports: to_markdown(_first(reports, "suite")),
    "scores": scores,
    "multi": multi,
    "verdicts": _verdicts,
    "ratios": _ratios,
    "speed": _speed,
    "speed-sentence": speed_sentence,
}
