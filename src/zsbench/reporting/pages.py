"""The report of a run: `index.html` (one file, nothing loaded from elsewhere) and `REPORT.md`."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from zsbench.provenance import read_json, write_text
from zsbench.reporting.changes import grids
from zsbench.reporting.figures import INDEX
from zsbench.reporting.frames import RunData
from zsbench.reporting.grid import Grid, read_grid
from zsbench.reporting.sections import (
    CardGroup,
    DatasetCard,
    card_groups,
    dataset_cards,
    linker,
    newest,
    training_grid,
)
from zsbench.reporting.speed_page import FIGURE, PAGE
from zsbench.reporting.summary import sentences

TEMPLATES = Path(__file__).with_name("templates")
# Section -> title, text, its written tables (file name without ending -> caption).
SECTIONS: dict[str, tuple[str, str, dict[str, str]]] = {
    "summary": ("Summary", "", {}),
    "suite": (
        "Suite",
        "Single-label data sets: the label with the highest score wins; macro-F1 over the labels.",
        {
            "gliclass_suite": "Macro-F1 of every system on every data set",
            "peers": "Trained systems against each other",
        },
    ),
    "ablations": ("Ablations", "Pairs of variants that differ in one named factor.", {"ablations": "Ablations"}),
    "topics": (
        "Topics",
        "Several labels a text; what counts is where each label's threshold lies.",
        {"topics": "Topics"},
    ),
    "cost": ("Cost", "Measured while scoring, on the device that the cards name.", {"cost": "Cost"}),
    "speed": ("Speed", "", {}),
    "sensitivity": (
        "Sensitivity and calibration",
        "",
        {"sensitivity": "Label order and wording", "calibration": "Calibration"},
    ),
    "integrity": ("Integrity", "", {"integrity": "Rows, anomalies, overlap with training sets, seen flags"}),
    "training": ("Training", "", {}),
    "reported": (
        "Reported numbers",
        (
            "Printed elsewhere, on whole test sets; beside them what this run measured, where it has that system and"
            " data set."
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
        f"{len(spec['systems'])} systems, {datasets} data sets, {cells:,} cells (one system and seed on one data set)."
    )
    values = {"run": spec["run"], "sections": sections, "counts": counts, "newest": newest(run)}
    assets = {name: Markup(_template_text(file)) for name, file in ASSETS.items()}
    write_text(out / "index.html", _environment(True).get_template("page.html").render(values | assets))
    write_text(out / "REPORT.md", _environment(False).get_template("report.md").render(values))


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
    found["summary"].tables += grids(run)
    for name, (_, _, tables) in SECTIONS.items():
        for table, title in tables.items():
            path = out / "tables" / f"{table}.csv"
            if path.is_file():
                found[name].tables.append(read_grid(path, title, f"tables/{table}.csv", link))
                found[name].markdown.append(_markdown(path.with_suffix(".md"), title))
    add_speed(found["speed"], out / "speed")
    index = out / "figures" / INDEX
    for figure in read_json(index) if index.is_file() else []:
        image = _data_uri(out / "figures" / f"{figure['name']}.svg")
        found[figure["section"]].figures.append(figure | {"image": image})
    trainings = training_grid(run)
    if trainings is not None:
        found["training"].tables.append(trainings)
    found["integrity"].cards = dataset_cards(run)
    found["cells"].groups = card_groups(run)
    return list(found.values())


def add_speed(section: Section, folder: Path) -> None:
    """Show the speed page where `zsbench speed-page` has written one."""
    if not (folder / PAGE).is_file():
        return
    facts = read_json(folder / PAGE)
    section.sentences = facts["sentences"]
    for name, title in facts["tables"]:
        section.tables.append(read_grid(folder / f"{name}.csv", title, f"speed/{name}.csv", lambda row, column: ""))
    section.markdown.append(_markdown(folder / "targets.md", facts["tables"][0][1]))
    image = _data_uri(folder / f"{FIGURE}.svg")
    section.figures.append(facts["figure"] | {"name": FIGURE, "folder": "speed", "image": image})


def _markdown(path: Path, title: str) -> str:
    return f"### {title}\n\n{path.read_text(encoding='utf-8').strip()}" if path.is_file() else ""


def _data_uri(path: Path) -> str:
    """An svg as an address that holds the picture itself."""
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
