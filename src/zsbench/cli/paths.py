"""Folders and files that a command line names, as types of its parameters. A wrong one ends in exit code 2 and one
sentence that says what was expected. A run is named by its id or its folder.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from zsbench.store.layout import WORKFLOW


def existing_folder(expected: str, *marks: str, base: str = "") -> Callable[[str], Path]:
    """A parser for a folder that holds something of each pattern in `marks`; `base` is where ids are looked up."""

    def parse(text: str) -> Path:
        path = next((path for path in (Path(text), Path(base) / text) if path.is_dir()), None)
        if path is None:
            raise typer.BadParameter(f"no such directory: {text}; expected {expected}")
        for mark in marks:
            if next(path.glob(mark), None) is None:
                raise typer.BadParameter(f"{path} has no {mark}; expected {expected}")
        return path

    return parse


def existing_file(expected: str) -> Callable[[str], Path]:
    """A parser for a file."""

    def parse(text: str) -> Path:
        if not Path(text).is_file():
            raise typer.BadParameter(f"no such file: {text}; expected {expected}")
        return Path(text)

    return parse


def cell_folder(text: str) -> Path:
    """A parser for the folder of a cell, or a file in it."""
    path = Path(text)
    expected = "results/<run>/cells/<suite>/<dataset>/<system>/seed<k>"
    return existing_folder(expected, "card.json")(str(path.parent if path.is_file() else path))


def run_ids(incomplete: str) -> list[str]:
    """Completion: ids of the runs in this folder."""
    return sorted(path.name for path in Path("results").glob(f"{incomplete}*") if path.is_dir())


scored_run = existing_folder("a run that has scored something", "cells/*", base="results")
prepared_run = existing_folder("a run after `snakemake data`", "datasets/*/rows.parquet", base="results")
rendered_run = existing_folder("reports/<run>, as `snakemake report` writes it", "tables/*.md", base="reports")

ScoredRun = Annotated[Path, typer.Argument(parser=scored_run, metavar="RUN", autocompletion=run_ids, help="a run")]
Report = Annotated[Path, typer.Argument(parser=rendered_run, metavar="RUN", autocompletion=run_ids, help="a run")]
PreparedRun = Annotated[
    Path,
    typer.Option("--run", "--root", parser=prepared_run, metavar="RUN", autocompletion=run_ids, help="a run"),
]
Config = existing_file("a config, such as config.yaml")
Presets = Annotated[
    Path,
    typer.Option(
        "--resources",
        parser=existing_folder("the folder of the presets", "sources.yaml", "datasets.yaml"),
        metavar="FOLDER",
        help="folder of the presets (default: the project's)",
        show_default=False,
    ),
]
PRESETS = WORKFLOW / "resources"
