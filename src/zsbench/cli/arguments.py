"""What a command line names: paths (a wrong one ends in one line that says what was expected, exit 2) and specs."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from zsbench.plan.plan import Plan
from zsbench.store.layout import WORKFLOW, Layout


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (`{self.prog} --help` says more)\n")


def existing_folder(expected: str, *marks: str) -> Callable[[str], Path]:
    """An argparse type: a folder that is there and holds something of each pattern in `marks`."""

    def check(text: str) -> Path:
        path = Path(text)
        if not path.is_dir():
            raise argparse.ArgumentTypeError(f"no folder {path}; expected {expected}")
        for mark in marks:
            if next(path.glob(mark), None) is None:
                raise argparse.ArgumentTypeError(f"{path} has no {mark}; expected {expected}")
        return path

    return check


def existing_file(expected: str) -> Callable[[str], Path]:
    """An argparse type: a file that is there."""

    def check(text: str) -> Path:
        if not Path(text).is_file():
            raise argparse.ArgumentTypeError(f"no file {text}; expected {expected}")
        return Path(text)

    return check


REPORT = existing_folder("reports/<run>, as `snakemake report` writes it", "tables/*.md")
RUN = existing_folder("results/<run> of a run that has scored something", "cells/*")
PREPARED_RUN = existing_folder("results/<run>, after `snakemake data`", "datasets/*/rows.parquet")
CONFIG = existing_file("a config, as config.yaml is one")
PRESETS = existing_folder("the presets, workflow/resources of a checkout", "sources.yaml", "datasets.yaml")


def cell(text: str) -> Path:
    """The folder of a cell, or a file in it (argparse type)."""
    path = Path(text)
    expected = "results/<run>/cells/<suite>/<dataset>/<system>/seed<k>"
    return existing_folder(expected, "card.json")(str(path.parent if path.is_file() else path))


def run_layout(text: str) -> Layout:
    """`results/<run>` as a layout (argparse type); jobs make it."""
    return Layout(Path(text))


def prepared_layout(text: str) -> Layout:
    """`results/<run>` with prepared data as a layout (argparse type)."""
    return Layout(PREPARED_RUN(text))


def add_resources(verb: argparse.ArgumentParser) -> None:
    """The option that names the presets' folder."""
    where = str(WORKFLOW / "resources")  # as text it is checked like a folder that was given
    verb.add_argument("--resources", type=PRESETS, default=where, help="folder of the presets (default: the project's)")


def read_spec(text: str) -> Any:
    """The spec that a job's command line names (argparse type).

    Args:
        text: `@results/RUN/config.json:KIND:NAME...` for what the workflow runs (see `Plan.spec`), `@FILE` for a spec
            that stands in a file of its own, or the JSON itself.

    Raises:
        argparse.ArgumentTypeError: there is no such file.
    """
    if not text.startswith("@"):
        return json.loads(text)
    file, *job = text[1:].split(":")
    if not Path(file).is_file():
        raise argparse.ArgumentTypeError(f"no file {file}; `snakemake` writes results/RUN/config.json as it starts")
    value = json.loads(Path(file).read_text(encoding="utf-8"))
    return Plan(**value).spec(*job) if job else value
