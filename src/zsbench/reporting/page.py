"""The report of a run: `index.html` (one file, nothing loaded from elsewhere) and `REPORT.md`."""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from zsbench.reporting.figures import INDEX
from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.reporting.render import (
    SIDECAR,
    TEMPLATES,
    Column,
    Table,
    environment,
    read_table,
    to_html,
    to_markdown,
    words_table,
)
from zsbench.reporting.summary import sentences
from zsbench.reporting.tables.base import available_items, with_unmoved
from zsbench.store.provenance import read_json, write_text

SPEED_FACTS, SPEED_FIGURE = "page.json", "throughput_labels"  # what the speed page leaves for this report
MOST_ROWS = 40  # of a table in REPORT.md
SHORT = 12  # hex digits of a hash that a page shows
SUITE_TEXT = {
    "single": "One label per text: the label with the highest score wins.",
    "multi": "Any number of labels per text; what counts is where each label's threshold lies.",
}
SECTIONS = {  # behind the summary and the suites: title and text
    "ablations": (
        "Ablations",
        "Pairs of variants that differ in one named factor, and systems of different kinds: what the change does.",
    ),
    "cost": ("Cost", "Measured while scoring, on the device that the cards name."),
    "speed": ("Speed", ""),
    "sensitivity": ("Sensitivity and calibration", ""),
    "integrity": ("Integrity", ""),
    "training": ("Training", ""),
    "reported": (
        "Reported numbers",
        "Printed elsewhere, on whole test sets; beside them what this run measured, where it has that system and"
        " dataset.",
    ),
    "more": ("Further tables", ""),
    "cells": (
        "Cells",
        "The main facts of every cell's card; hashes are shortened. The whole card lies beside the scores, in"
        " results/RUN/cells/SUITE/DATASET/SYSTEM/seedK/card.json, and zsbench explain prints how its number came to"
        " be.",
    ),
}
TYPES = {".svg": "image/svg+xml", ".csv": "text/csv"}
ASSETS = {"style": "style.css", "sorter": "tablesort.js", "script": "report.js"}


@dataclass
class Section:
    """One section of the page; an empty one is left out."""

    name: str
    title: str
    text: str = ""
    sentences: list[str] = field(default_factory=list)
    tables: list[Markup] = field(default_factory=list)
    markdown: list[str] = field(default_factory=list)  # the tables, for REPORT.md
    figures: list[dict[str, str]] = field(default_factory=list)
    cards: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)  # title, facts
    groups: list[tuple[str, str, Markup]] = field(default_factory=list)  # title, shared facts, table

    def __bool__(self) -> bool:
        return any((self.sentences, self.tables, self.figures, self.cards, self.groups))


def write_report(root: Path, spec: dict[str, Any], out: Path) -> None:
    """Write `index.html` and `REPORT.md`.

    Args:
        root: `results/<run>`.
        spec: the analysis spec.
        out: `reports/<run>`; its `tables/` and `figures/` are shown, so they are written before.
    """
    run, out = RunData(Path(root), spec), Path(out)
    sections = [section for section in _sections(run, out) if section]
    datasets = sum(len(run.datasets(suite)) for suite in spec["suites"])
    counts = (
        f"{len(spec['systems'])} systems, {datasets} datasets, {len(run.cells()):,} cells (one system and seed on one"
        " dataset)."
    )
    without = sum(len(missing.seeds) for missing in run.missing.values())
    counts += f" {without} more hold no scores." if without else ""
    values = {"run": spec["run"], "sections": sections, "counts": counts, "newest": newest(run)}
    assets = {name: Markup((TEMPLATES / file).read_text(encoding="utf-8")) for name, file in ASSETS.items()}
    write_text(out / "index.html", environment(True).get_template("page.html").render(values | assets))
    write_text(out / "REPORT.md", environment(False).get_template("report.md").render(values))


def _sections(run: RunData, out: Path) -> list[Section]:
    """All sections with the tables and figures that are written."""
    sections = {"summary": Section("summary", "Summary")}
    for suite, entry in run.spec["suites"].items():
        text = f"{SUITE_TEXT[entry['task']]} Headline metric: {run.metric_name(suite)}."
        sections[f"suite-{suite}"] = Section(f"suite-{suite}", run.suite_title(suite), text)
    sections |= {name: Section(name, *texts) for name, texts in SECTIONS.items()}
    sections["summary"].sentences = sentences(run)
    _add(sections["summary"], missing_table(run))
    for name in available_items(run.spec):
        if (out / "tables" / f"{name}.{SIDECAR}").is_file():
            table = read_table(out / "tables", name)
            _add(sections.get(table.section, sections["more"]), table, linker(run, table), out / "tables")
    add_speed(sections["speed"], out / "speed")
    index = out / "figures" / INDEX
    for figure in read_json(index) if index.is_file() else []:
        sections[figure["section"]].figures.append(figure | _held(out / "figures" / figure["name"]))
    _add(sections["training"], training_table(run))
    sections["integrity"].cards = dataset_cards(run)
    sections["cells"].groups = list(card_groups(run))
    return list(sections.values())


def _add(section: Section, table: Table | None, link: Any = lambda row, column: "", folder: Path | None = None) -> None:
    """Show a table, where the run has it, with a download of its numbers from their folder."""
    if table is None or (table.frame.empty and folder is None):
        return
    download = _data_uri(folder / f"{table.name}.csv") if folder else ""
    section.tables.append(Markup(to_html(table, link, download=download)))
    text = f"### {table.title}\n\n{to_markdown(table, MOST_ROWS)}"
    rows = len(table.frame if not table.keys else table.frame[list(table.keys)].drop_duplicates())
    if folder and rows > MOST_ROWS:
        path = f"{folder.name}/{table.name}.md"
        text += f"\nThe first {MOST_ROWS} of {rows} rows; all: [{table.name}.md]({path}).\n"
    section.markdown.append(text)


def add_speed(section: Section, folder: Path) -> None:
    """Show the speed page where `python -m benchmarks page` has written one."""
    if not (folder / SPEED_FACTS).is_file():
        return
    facts = read_json(folder / SPEED_FACTS)
    section.sentences = facts["sentences"]
    for name, title in facts["tables"]:
        frame = pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)
        _add(section, words_table(name, title, frame), folder=folder)
    section.figures.append(facts["figure"] | {"name": SPEED_FIGURE, "folder": "speed"} | _held(folder / SPEED_FIGURE))


def _held(stem: Path) -> dict[str, str]:
    """What the page holds of a figure: the picture and the numbers that were drawn."""
    return {"image": _data_uri(stem.with_suffix(".svg")), "data": _data_uri(stem.with_suffix(".csv"))}


def _data_uri(path: Path) -> str:
    """A file as an address that holds it: the page goes anywhere alone, also into Snakemake's zipped report."""
    return f"data:{TYPES[path.suffix]};base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def anchor(suite: str, dataset: str, system: str) -> str:
    """Id of a cell's row in the page (its first seed's)."""
    return f"cell-{suite}-{dataset}-{system}"


def linker(run: RunData, table: Table) -> Callable[[Mapping[str, Any], Column], str]:
    """Links from a table to cells: a number to the cell that it comes from, else a row's system to its cell."""
    known = {(dataset, system): anchor(suite, dataset, system) for suite, dataset, system, _ in run.cells()}

    def link(row: Mapping[str, Any], column: Column) -> str:
        shows_cell = column.value == "value" if table.spread else column.value == "system"
        if not shows_cell or "baseline" in row or row.get("dataset") == AVERAGE:
            return ""
        target = known.get((row.get("dataset", ""), row.get("system", "")))
        return f"#{target}" if target else ""

    return link


def card_groups(run: RunData) -> Iterable[tuple[str, str, Markup]]:
    """The main facts of every cell's card, by dataset: title, what the cells share, a row each."""
    values = run.cell_values()
    hashes = ("weights_sha256", "scores_sha256", "key")
    for suite in run.spec["suites"]:
        metric = run.metric_name(suite)
        columns = [
            Column("system", "system"),
            Column("seed", "seed", "count"),
            Column(metric, "value", "number"),
            *(Column(name, name) for name in ("seen", "dtype", "device")),
            Column("texts/s", "texts_per_second", "number", 1, volatile=True),
            Column("peak MB", "peak_memory_mb", "number", 1, volatile=True),
            Column("cut texts", "truncated_texts", "count"),
            Column("cut labels", "truncated_labels", "count"),
            *(Column(name.removesuffix("_sha256"), name) for name in hashes),
        ]
        for dataset, entry in run.datasets(suite).items():
            keys = [key for key in run.cells() if key[:2] == (suite, dataset)]
            if not keys:
                continue
            rows = [
                {name: run.cards[key].get(name) for name in (column.value for column in columns)}
                | {name: str(run.cards[key].get(name) or "")[:SHORT] for name in hashes}
                | {"value": values.get(key), "anchor": anchor(*key[:3]) if key[3] == run.seeds(key[2])[0] else ""}
                for key in keys
            ]
            card = run.cards[keys[0]]
            labels = f"{len(card['labels'])} labels ({card['verbalisation']}, digest {card['labels_digest'][:SHORT]})"
            shared = f"{entry['title']}: revision {card['revision']}, {labels}."
            table = Table(
                f"Cells on {entry['title']}", pd.DataFrame(rows), tuple(columns), name=f"cells-{suite}-{dataset}"
            )
            yield entry["title"], shared, Markup(to_html(table, anchor=lambda row: str(row["anchor"])))


def dataset_cards(run: RunData) -> list[tuple[str, list[tuple[str, str]]]]:
    """Origin, rows, anomalies and licence of every dataset."""
    cards = map(run.dataset_card, run.titles)
    return [(card["title"], _dataset_facts(card)) for card in cards if card]


def _dataset_facts(card: dict[str, Any]) -> list[tuple[str, str]]:
    quality, sample = card["quality"], card.get("sample")
    rows = ", ".join(f"{split} {count:,}" for split, count in card["rows"].items())
    drawn = f" (a stratified sample, seed {sample['seed']}, of {quality['rows']:,})" if sample else ""
    odd = [
        f"{quality['empty_texts']:,} empty texts",
        f"{quality['duplicate_texts']:,} duplicate texts",
        f"{quality['rows_without_gold']:,} rows without a gold label",
    ]
    facts = {
        "rows scored": rows + drawn,
        "anomalies in the whole set": ", ".join(odd),
        "words per text": f"mean {quality['words_mean']}, 95th percentile {quality['words_p95']}",
        "labels": f"{len(card['labels'])}, wording {card['verbalisation']}: {', '.join(card['labels'])}",
        "origin": f"{card['origin']}, revision {card['revision']}",
        "licence": card["licence"],
        "citation": card["citation"],
        "note": card.get("note", ""),
    }
    return [(key, value) for key, value in facts.items() if value]


def missing_table(run: RunData) -> Table:
    """A row per system and dataset without a number."""
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
    title = "Without numbers: n/a, the system cannot take the label set; failed, the same command tries again"
    return Table(title, pd.DataFrame(rows, dtype=str), name="missing")


def training_table(run: RunData) -> Table:
    """A row per trained model and seed."""
    rows = [
        {
            "system": model,
            "seed": seed,
            "best": record["best"]["validation"],
            "step": record["best"]["step"],
            "seconds": record["seconds"],
            "parameters": record["parameters"],
            "device": record["device"],
            "weights": record["weights_sha256"][:SHORT],
        }
        for (model, seed), record in run.trainings.items()
    ]
    columns = (
        Column("Model", "system"),
        Column("Seed", "seed", "count"),
        Column("Best validation", "best", "number", 4),
        Column("At step or epoch", "step", "count"),
        Column("Seconds", "seconds", "count", volatile=True),
        Column("Parameters", "parameters", "count"),
        Column("Device", "device"),
        Column("Weights", "weights"),
    )
    return with_unmoved(Table("Trained models", pd.DataFrame(rows), columns, name="trainings"), run)


def newest(run: RunData) -> str:
    """Time of the run's newest card, UTC; "" for a run without cells. The clock of the rendering is never read."""
    times = [run.layout.card(*cell).stat().st_mtime for cell in run.cells()]
    return pd.Timestamp(max(times), unit="s").strftime("%Y-%m-%d %H:%M UTC") if times else ""
