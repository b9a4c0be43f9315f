"""The report of a run: `index.html` (a single self-contained file) and REPORT.md, its short form."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from zsbench.plan.claims import NOT_TESTABLE
from zsbench.plan.contents import absent
from zsbench.reporting.details import details, key_of
from zsbench.reporting.figures import INDEX
from zsbench.reporting.figures.style import INK, MUTED, RULE
from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.reporting.header import TIMED, header, sampled
from zsbench.reporting.index import write_summary
from zsbench.reporting.render import (
    Column,
    Table,
    embedded_json,
    environment,
    read_table,
    to_html,
    to_markdown,
    words_table,
)
from zsbench.reporting.same import TIMED_FIGURES
from zsbench.reporting.summary import sentences
from zsbench.reporting.tables.base import available_items, with_unmoved
from zsbench.store.provenance import read_json, write_text

SPEED_FACTS, SPEED_FIGURE = "page.json", "throughput_labels"  # written by the speed page for this report
SHORT = 12  # hex digits shown of a hash
SUITE_TEXT = {
    "single": "One label per text: the label with the highest score is predicted.",
    "multi": "Any number of labels per text: a label is predicted if its score reaches its threshold.",
}
SECTIONS = {  # sections after the suites: title and text
    "ablations": (
        "Ablations",
        "Each row is one variant minus another that differs only in the named factor; a compound deliberately changes"
        " several factors at once.",
    ),
    "claims": (
        "Claims",
        "What model cards and this project claim about these models, and what this run measured.",
    ),
    "cost": ("Cost", "Measured while scoring, on the device of the header card."),
    "speed": ("Speed", ""),
    "sensitivity": (
        "Sensitivity and calibration",
        "Whether answers change with the order or wording of the labels, and whether confident answers are correct.",
    ),
    "integrity": ("Data", "The rows of each dataset, their anomalies, and which systems have seen them in training."),
    "training": ("Training", ""),
    "reported": ("Reported numbers", "Published numbers on full test sets, next to the measurements of this run."),
}
IN_SHORT = ("suite", "multi", "deltas", "ablations", "claims")  # kinds of tables in REPORT.md
THEME = {INK: "ink", MUTED: "muted", RULE: "rule", "#ffffff": "paper", "#000000": "ink"}  # colours of figures


@dataclass
class Section:
    """A section of the page; empty sections are omitted."""

    name: str
    title: str
    texts: list[str] = field(default_factory=list)
    tables: list[Markup] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    cards: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)  # title, facts


def write_report(root: Path, spec: dict[str, Any], out: Path) -> None:
    """Write `index.html`, `REPORT.md` and `summary.json`.

    Args:
        out: `reports/<run>`; its `tables/` and `figures/` must exist already.
    """
    run, out = RunData(Path(root), spec), Path(out)
    tables = {name: read_table(out / "tables", name) for name in available_items(spec)}
    shared = {"run": spec["run"], "header": header(run), "summary": sentences(run), "newest": newest(run)}
    shared["absent"] = absent(spec)
    page = {"sections": sections(run, tables, out), "cells": embedded_json(details(run)), "timed": TIMED}
    write_text(out / "index.html", environment(True).get_template("page.html").render(shared | page))
    short = [(table.title, short_form(table)) for table in tables.values() if table.kind in IN_SHORT]
    write_text(out / "REPORT.md", environment(False).get_template("report.md").render(shared | {"tables": short}))
    write_summary(run, out)


def short_form(table: Table) -> str:
    """A table in the form for REPORT.md; for claims, only those that the run could test."""
    if table.kind != "claims":
        return to_markdown(table, short=True)
    judged = table.frame["verdict"] != NOT_TESTABLE
    left = int((~judged).sum())
    if not left:
        return to_markdown(table, short=True)
    more = f"{left:,} more claim{'s were' if left > 1 else ' was'} not testable in this run (listed on the page)."
    if not judged.any():
        return more.replace(" more", "") + "\n"
    return f"{to_markdown(replace(table, frame=table.frame[judged]), short=True)}\n{more}\n"


def sections(run: RunData, tables: dict[str, Table], out: Path) -> list[Section]:
    """The non-empty sections of the page, in order."""
    shown = {}
    for suite, entry in run.spec["suites"].items():
        text = f"{SUITE_TEXT[entry['task']]} Click a number for its labels, errors and texts."
        shown[f"suite-{suite}"] = Section(f"suite-{suite}", run.suite_title(suite), [text])
    shown |= {name: Section(name, title, [text] if text else []) for name, (title, text) in SECTIONS.items()}
    for name, table in tables.items():
        if len(table.frame):
            html = to_html(table, linker(run, table), _data_uri(out / "tables" / f"{name}.csv"))
            shown[table.section].tables.append(html)
    for figure in read_json(out / "figures" / INDEX):
        shown[figure["section"]].figures.append(figure | _held(out / "figures" / figure["name"], figure["alt"]))
    _add_speed(shown["speed"], out / "speed")
    shown["training"].tables += [to_html(training_table(run))] if run.trainings else []
    if run.missing:
        next(iter(shown.values())).tables.append(to_html(missing_table(run)))
    shown["integrity"].cards = [
        (card["title"], card_facts(card, run.scored_rows(name)))
        for name in run.titles
        if (card := run.dataset_card(name))
    ]
    return [section for section in shown.values() if section.tables or section.figures or section.cards]


def _add_speed(section: Section, folder: Path) -> None:
    """Add the speed page, if `python -m benchmarks page` has written one."""
    if not (folder / SPEED_FACTS).is_file():
        return
    facts = read_json(folder / SPEED_FACTS)
    section.texts = facts["sentences"]
    for name, title in facts["tables"]:
        frame = pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)
        csv = _data_uri(folder / f"{name}.csv")
        section.tables.append(to_html(words_table(name, title, frame), csv=csv))
    held = _held(folder / SPEED_FIGURE, facts["figure"]["alt"])
    section.figures.append(facts["figure"] | {"name": SPEED_FIGURE} | held)


def _held(stem: Path, alt: str) -> dict[str, Any]:
    """The embedded parts of a figure: the drawing and its data."""
    svg = inline_svg(stem.with_suffix(".svg").read_text(encoding="utf-8"), stem.name, alt)
    return {"svg": svg, "csv": _data_uri(stem.with_suffix(".csv")), "volatile": stem.name in TIMED_FIGURES}


def inline_svg(svg: str, name: str, alt: str) -> Markup:
    """A drawing to embed in the page: ids are made unique, and colours follow the theme of the page."""
    drawing = svg[svg.index("<svg") :].replace(' width="', ' data-width="', 1).replace(' height="', ' data-height="', 1)
    drawing = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", drawing)
    for color, variable in THEME.items():
        drawing = drawing.replace(color, f"var(--{variable})")
    return Markup(drawing.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1).strip())


def _data_uri(path: Path) -> str:
    """A CSV as a data URI, so that the page is self-contained, also in Snakemake's zipped report."""
    return "data:text/csv;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def linker(run: RunData, table: Table) -> Callable[[Mapping[str, Any], Column], str]:
    """Links from a table to cells: from a number to its cell, or from the system of a row to its cell."""
    known = {(dataset, system): key_of(suite, dataset, system) for suite, dataset, system, _ in run.cells()}

    def link(row: Mapping[str, Any], column: Column) -> str:
        shows_cell = column.value == "value" if table.spread else column.value == "system"
        if not shows_cell or "baseline" in row or row.get("dataset") == AVERAGE:
            return ""
        key = known.get((row.get("dataset", ""), row.get("system", "")))
        return f"#cell/{key}" if key else ""

    return link


def card_facts(card: dict[str, Any], scored: dict[str, int]) -> list[tuple[str, str]]:
    """Origin, scored rows by split, anomalies and licence of a dataset."""
    quality, sample = card["quality"], card.get("sample")
    rows = ", ".join(f"{split} {count:,}" for split, count in scored.items())
    drawn = f" (a stratified sample, seed {sample['seed']}, of {quality['rows']:,})" if sample and sampled(card) else ""
    odd = [
        f"{quality[key]:,} {words}"
        for key, words in (
            ("empty_texts", "empty texts"),
            ("duplicate_texts", "duplicate texts"),
            ("rows_without_gold", "rows without a gold label"),
        )
    ]
    facts = {
        "rows scored": rows and rows + drawn,
        "in the full set": ", ".join(odd),
        "words per text": f"mean {quality['words_mean']}, 95th percentile {quality['words_p95']}",
        "labels": f"{len(card['labels'])}, wording {card['verbalisation']}: {', '.join(card['labels'])}",
        "origin": f"{card['origin']}, revision {card['revision']}",
        "licence": card["licence"],
        "citation": card["citation"],
        "note": card.get("note", ""),
    }
    return [(key, value) for key, value in facts.items() if value]


def missing_table(run: RunData) -> Table:
    """One row per system and dataset without results."""
    rows = [
        {
            "System": system,
            "Dataset": run.titles[dataset],
            "Seeds": ", ".join(map(str, cell.seeds)),
            "Cell": cell.word,
            "Why": cell.reason,
        }
        for (_, dataset, system), cell in run.missing.items()
    ]
    title = "Missing results (n/a: the system cannot handle the label set; failed: repeat the command to retry)"
    columns = tuple(Column(name, name) for name in rows[0])
    return Table(title, pd.DataFrame(rows), columns, name="missing")


def training_table(run: RunData) -> Table:
    """One row per trained model and seed."""
    rows = [
        {"system": model, "seed": seed, **record["best"], "weights": record["weights_sha256"][:SHORT]}
        | {name: record[name] for name in ("seconds", "parameters", "device")}
        for (model, seed), record in run.trainings.items()
    ]
    columns = (
        Column("Model", "system"),
        Column("Seed", "seed", "count"),
        Column("Best validation", "validation", "number"),
        Column("At step or epoch", "step", "count"),
        Column("Seconds", "seconds", "count", volatile=True),
        Column("Parameters", "parameters", "count"),
        Column("Device", "device", extra=True),
        Column("Weights", "weights", extra=True),
    )
    return with_unmoved(Table("Trained models", pd.DataFrame(rows), columns, name="trainings"), run)


def newest(run: RunData) -> str:
    """Time of the newest card of the run in UTC; "" for a run without cells. It does not depend on the current time."""
    times = [run.layout.card(*cell).stat().st_mtime for cell in run.cells()]
    return pd.Timestamp(max(times), unit="s").strftime("%Y-%m-%d %H:%M UTC") if times else ""
