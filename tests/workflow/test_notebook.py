"""The notebook of docs/ works on a tiny run, and its stored outputs are those of that run.

After an edit of its cells, regenerate the outputs with `python -m tests.workflow.test_notebook`.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import REPOSITORY, Project

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed; make setup installs it")

pytestmark = pytest.mark.runs
NOTEBOOK = REPOSITORY / "docs" / "notebooks" / "results.ipynb"
LABELS = ["sport", "weather", "money"]
TEXTS = [
    ("The striker and the keeper argued about sport all evening.", "sport"),
    ("Sport is what the club lives for.", "sport"),
    ("She won the final in two sets.", "sport"),
    ("Money makes sport what it is today.", "sport"),
    ("Bad weather again: rain until Friday.", "weather"),
    ("The weather turned, and the snow came early.", "weather"),
    ("A warm wind from the south.", "weather"),
    ("Storms cost the insurers money.", "weather"),
    ("The bank lent him money at five per cent.", "money"),
    ("Rates fell, and so did the price of money.", "money"),
    ("Her savings are gone.", "money"),
    ("The fund invests in weather derivatives.", "money"),
]
COUNT_WORDS = '''
import numpy as np


class CountWords:
    """How often the label's word is in the text."""

    def score(self, texts, labels):
        return np.array([[text.lower().count(label) for label in labels] for text in texts], dtype=float)
'''
CONFIG: dict[str, Any] = {
    "run": "tiny",
    "datasets": {"texts": {"path": "texts.csv", "text": "text", "gold": "topic", "labels": LABELS}},
    "suites": {"mine": {"task": "single", "metric": "accuracy", "datasets": ["texts"]}},
    "systems": {
        "count-words": {"family": "custom", "class": "count_words:CountWords"},
        "majority": {"family": "control", "control": "majority"},
        "uniform-random": {"family": "control", "control": "uniform-random"},
    },
    "statistics": {"system": "count-words"},
}


def make_run(folder: Path) -> Path:
    """A run of controls and of a system that counts words; returns results/<run>."""
    project = Project(folder)
    rows = "".join(f'"{text}",{topic}\n' for text, topic in TEXTS)
    (folder / "texts.csv").write_text(f"text,topic\n{rows}")
    (folder / "src" / "count_words.py").write_text(COUNT_WORDS)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    project.snakemake("evaluate", config="tiny.yaml")
    return folder / "results" / "tiny"


def executed(run: Path) -> Any:
    """The notebook after executing all cells on a run."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    environment = os.environ | {"RUN": str(run), "PYTHONPATH": str(REPOSITORY / "src")}
    client = nbclient.NotebookClient(notebook, timeout=None, startup_timeout=600, record_timing=False)
    return client.execute(env=environment)


def shown(notebook: Any) -> list[str]:
    """The outputs of the code cells as text."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [str(output.get("text") or output["data"]["text/plain"]) for output in outputs]


def test_the_notebook_shows_what_it_computes(tmp_path: Path) -> None:
    stored = shown(nbformat.read(NOTEBOOK, as_version=4))
    assert len(stored) >= 5 and shown(executed(make_run(tmp_path))) == stored


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(make_run(Path(folder))), NOTEBOOK)
