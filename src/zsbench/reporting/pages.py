"""The report of a run: `index.html` (one file, nothing loaded from elsewhere) and `REPORT.md`."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from zsbench.reporting.figures import INDEX
from zsbench.reporting.frames import RunData
from zsbench.reporting.grid import Grid, read_grid
from zsbench.reporting.sections import (
    CardGroup,
    DatasetCard,
    card_groups,
    dataset_cards,
    linker,
    missing_grid,
    newest,
    training_grid,
)
from zsbench.reporting.summary import sentences
from zsbench.store.provenance import read_json, write_text

SPEED_FACTS, SPEED_FIGURE = "page.json", "throughput_labels"  # what the speed page leaves for this report
MOST_ROWS = 40  # of a table in REPORT.md
TEMPLATES = Path(__file__).with_name("templates")
# Section -> title, text, its written tables (file name without ending -> caption).
SECTIONS: dict[str, tuple[str, str, dict[str, str]]] = {
    "summary": ("Summary", "", {}),
    "suite": (
        "Suite",
        "One label a text: the label with the highest score wins. Macro-F1 is the mean over labels of their F1.",
        {
            "gliclass_suite": "Macro-F1 of every system on every dataset",
            "peers": "Trained systems against each other",
        },
    ),
    "ablations": (
        "Ablations",
        "Pairs of variants that differ in one named factor: what the change does to macro-F1.",
        {"ablations": "First variant minus second"},
    ),
    "topics": (
        "Topics",
        "Several labels a text; what counts is where each label's threshold lies.",
        {
            "topics": "Every system under every protocol; F1 a label in the last columns",
            "topic_deltas": "Differences: ablations of the hybrid, thresholds alone, against NLI",
        },
    ),
    "cost": (
        "Cost",
        "Measured while scoring, on the device that the cards name.",
        {"cost": "Time and memory of scoring"},
    ),
    "speed": ("Speed", "", {}),
    "sensitivity": (
        "Sensitivity and calibration",
        "",
        {
            "sensitivity": "Macro-F1 under other label orders and wordings",
            "calibration": "How far confidence can be trusted",
        },
    ),
    "integrity": ("Integrity", "", {"integrity": "Rows, anomalies, overlap with training sets, seen flags"}),
    "training": ("Training", "", {}),
    "reported": (
        "Reported numbers",
        (
            "Printed elsewhere, on whole test sets; beside them what this run measured, where it has that system and"
            " dataset."
        ),
        {"published": "Reported and measured"},
    ),
    "cells": (
        "Cells",
        (
            "The main facts of every cell's card; hashes are shortened. The whole card lies beside the scores, in"
            " results/RUN/cells/SUITE/DATASET/SYSTEM/seedK/card.json, and zsbench explain prints how its number came"
            " to be."
        ),
        {},
    ),
}


@dataclass
class Section:
    """One part of the page; an empty one is left out."""

    name: str
    title: str
    text: str = ""
    sentences: list[str] = field(default_factory=list)
    tables: list[Grid] = field(default_factory=list)
    markdown: list[str] = field(default_factory=list)  # the tables' md files, for REPORT.md
    figures: list[dict[str, str]] = field(default_factory=list)
    cards: list[DatasetCard] = field(default_factory=list)
    groups: list[CardGroup] = field(default_factory=list)

    @property
    def filled(self) -> bool:
        return bool(self.sentences or self.tables or self.figures or self.cards or self.groups)


def write_report(root: Path, spec: dict[str, Any], out: Path) -> None:
    """Write `index.html` and `REPORT.md`.

    Args:
        root: `results/<run>`.
        spec: the analysis spec.
        out: `reports/<run>`; its `tables/` and `figures/` are shown, so they are written before.
    """
    run, out = RunData(Path(root), spec), Path(out)
    sections = [section for section in _sections(run, out) if section.filled]
    cells = len(run.cells())
    datasets = sum(len(run.datasets(suite)) for suite in spec["suites"])
    counts = (
        f"{len(spec['systems'])} systems, {datasets} datasets, {cells:,} cells (one system and seed on one dataset)."
    )
    without = sum(len(missing.seeds) for missing in run.missing.values())
    counts += f" {without} more hold no scores." if without else ""
    values = {"run": spec["run"], "sections": sections, "counts": counts, "newest": newest(run)}
    assets = {name: Markup(_template_text(file)) for name, file in ASSETS.items()}
    write_text(out / "index.html", _environment(True).get_template("page.html").render(values | assets))
    write_text(out / "REPORT.md", _environment(False).get_template("report.md").render(values))


TYPES = {".svg": "image/svg+xml", ".csv": "text/csv"}
ASSETS = {"style": "style.css", "sorter": "tablesort.js", "script": "report.js"}


def _template_text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _environment(html: bool) -> jinja2.Environment:
    """Templates with every value escaped in HTML, and an error for a value that is missing."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=not html,
        lstrip_blocks=not html,
        keep_trailing_newline=True,
    )


def _sections(run: RunData, out: Path) -> list[Section]:
    """All sections with the tables and figures that are written."""
    found = {name: Section(name, title, text) for name, (title, text, _) in SECTIONS.items()}
    link = linker(run)
    found["summary"].sentences = sentences(run)
    missing = missing_grid(run)
    found["summary"].tables += [missing] if missing else []
    for name, (_, _, tables) in SECTIONS.items():
        for table, title in tables.items():
            path = out / "tables" / f"{table}.csv"
            if path.is_file():
                found[name].tables.append(read_grid(path, title, _data_uri(path), link))
                found[name].markdown.append(_markdown(path.with_suffix(".md"), title))
    add_speed(found["speed"], out / "speed")
    index = out / "figures" / INDEX
    for figure in read_json(index) if index.is_file() else []:
        found[figure["section"]].figures.append(figure | _held(out / "figures" / figure["name"]))
    trainings = training_grid(run)
    if trainings is not None:
        found["training"].tables.append(trainings)
    found["integrity"].cards = dataset_cards(run)
    found["cells"].groups = card_groups(run)
    return list(found.values())


def add_speed(section: Section, folder: Path) -> None:
    """Show the speed page where `zsbench speed-page` has written one."""
    if not (folder / SPEED_FACTS).is_file():
        return
    facts = read_json(folder / SPEED_FACTS)
    section.sentences = facts["sentences"]
    for name, title in facts["tables"]:
        path = folder / f"{name}.csv"
        section.tables.append(read_grid(path, title, _data_uri(path), lambda row, column: ""))
    section.markdown.append(_markdown(folder / "targets.md", facts["tables"][0][1]))
    section.figures.append(facts["figure"] | {"name": SPEED_FIGURE, "folder": "speed"} | _held(folder / SPEED_FIGURE))


def _markdown(path: Path, title: str) -> str:
    """A table for REPORT.md; of a long one the first rows, and where the others are."""
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8").strip().splitlines()
    rows = sum(line.startswith("|") for line in lines) - 2
    if rows > MOST_ROWS:
        more = f"The first {MOST_ROWS} of {rows} rows; all: [{path.name}]({path.parent.name}/{path.name})."
        lines = [*lines[: 2 + MOST_ROWS], "", more, *lines[2 + rows :]]
    return "\n".join([f"### {title}", "", *lines])


def _held(stem: Path) -> dict[str, str]:
    """What the page holds of a figure: the picture and the numbers that were drawn."""
    return {"image": _data_uri(stem.with_suffix(".svg")), "data": _data_uri(stem.with_suffix(".csv"))}


def _data_uri(path: Path) -> str:
    """A file as an address that holds it: the page goes anywhere alone, also into Snakemake's zipped report."""
    return f"data:{TYPES[path.suffix]};base64," + base64.b64encode(path.read_bytes()).decode("ascii")
