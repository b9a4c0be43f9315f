"""Parameter types for folders and files on the command line.

For an invalid path, the command ends with exit code 2 and a message that says what was expected. A run is given by its
id or its folder.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from zsbench.store.errors import suggest
from zsbench.store.layout import WORKFLOW


def existing_folder(expected: str, *marks: str, base: str = "") -> Callable[[str], Path]:
    """Return a parser for a folder with a match for each glob pattern in `marks`; ids are looked up in `base`."""

    def parse(text: str) -> Path:
        path = next((path for path in (Path(text), Path(base) / text) if path.is_dir()), None)
        if path is None and base:
            raise typer.BadParameter(_no_run(text, base, marks))
        if path is None:
            raise typer.BadParameter(f"no such directory: {text}; expected {expected}")
        for mark in marks:
            if next(path.glob(mark), None) is None:
                raise typer.BadParameter(f"{path} has no {mark}; expected {expected}")
        return path

    return parse


def _no_run(text: str, base: str, marks: tuple[str, ...]) -> str:
    """Message for an unknown run, which lists the existing ones."""
    folders = Path(base).iterdir() if Path(base).is_dir() else ()
    runs = [path.name for path in folders if all(next(path.glob(mark), None) for mark in marks)]
    if runs:
        return f"no run {text!r} in {base}/{suggest(text, runs)}"
    return f"no run {text!r}, and no other in {base}/; allowed: a run started in this folder, or a path to {base}/<run>"


def cell_folder(text: str) -> Path:
    """Parse the folder of a cell, or a file in that folder."""
    path = Path(text)
    expected = "results/<run>/cells/<suite>/<dataset>/<system>/seed<k>"
    return existing_folder(expected, "card.json")(str(path.parent if path.is_file() else path))


def run_ids(incomplete: str) -> list[str]:
    """Completion: ids of the runs in the current directory."""
    return sorted(path.name for path in Path("results").glob(f"{incomplete}*") if path.is_dir())


scored_run = existing_folder("a run that has scored something", "cells/*", base="results")
prepared_run = existing_folder("a run after `zsbench run --target data`", "datasets/*/rows.parquet", base="results")
rendered_run = existing_folder("reports/<run>, with tables", "tables/*.md", base="reports")

ScoredRun = Annotated[
    Path, typer.Argument(parser=scored_run, metavar="RUN", autocompletion=run_ids, help="run id or folder")
]
Report = Annotated[
    Path, typer.Argument(parser=rendered_run, metavar="RUN", autocompletion=run_ids, help="run id or folder")
]
PreparedRun = Annotated[
    Path,
    typer.Option(
        "--run", "--root", parser=prepared_run, metavar="RUN", autocompletion=run_ids, help="run id or folder"
    ),
]
Presets = Annotated[
    Path,
    typer.Option(
        "--resources",
        parser=existing_folder("the preset folder", "sources.yaml", "datasets.yaml"),
        metavar="FOLDER",
        help="preset folder (default: the project's)",
        show_default=False,
    ),
]
PRESET_FOLDER = WORKFLOW / "resources"
