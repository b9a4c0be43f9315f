"""For configs of all shapes, exactly the planned files are written, and the page lists what is absent."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_up_run
import pandas as pd
import pytest

from zsbench.evaluation.compare import compare
from zsbench.plan.contents import absent, figures, tables
from zsbench.reporting import figures as figure_files
from zsbench.reporting.figures.style import Drawing
from zsbench.reporting.page import write_report
from zsbench.reporting.tables import write_tables
from zsbench.store.provenance import write_text

Spec = dict[str, Any]


def only(*names: str) -> Callable[[Spec], None]:
    """Keep only these systems, and the GliZNet variants among them."""

    def change(spec: Spec) -> None:
        spec["systems"] = [entry for entry in spec["systems"] if entry["id"] in names]
        variants = spec["gliznet"]["variants"]
        spec["gliznet"]["variants"] = {name: variants[name] for name in variants if f"gliznet-{name}" in names}
        if "warm" not in spec["gliznet"]["variants"]:
            spec["gliznet"]["compounds"] = {}
        if spec["statistics"]["system"] not in names:
            spec["statistics"]["system"] = names[0]

    return change


def without_suite(suite: str) -> Callable[[Spec], None]:
    def change(spec: Spec) -> None:
        del spec["suites"][suite]
        for entry in spec["systems"]:
            entry["suites"] = [name for name in entry["suites"] if name != suite]
        spec["systems"] = [entry for entry in spec["systems"] if entry["suites"]]

    return change


def without_sensitivity(spec: Spec) -> None:
    spec["sensitivity"] = {}


def orders_without_a_joint_system(spec: Spec) -> None:
    only("biencoder", "nli-mini", "oracle")(spec)
    spec["sensitivity"] = {"orders": 3, "wordings": False}


CHANGES: dict[str, tuple[Callable[[Spec], None], ...]] = {
    "one system": (only("gliznet-full"),),
    "one untrained system": (only("biencoder"), without_sensitivity),
    "controls alone": (only("oracle", "prior-random"),),
    "no contrast": (only("gliznet-full", "nli-mini", "biencoder"),),
    "no reference in the suite": (only("hybrid", "nli-mini", "biencoder"),),
    "no topics": (without_suite("topics"),),
    "topics alone": (without_suite("gliclass"),),
    "topics of one system": (without_suite("gliclass"), only("hybrid")),
    "no hybrid, no sensitivity": (
        only("gliznet-full", "gliznet-no-margin", "nli-mini", "biencoder", "prior-random"),
        without_sensitivity,
    ),
    "no joint system": (orders_without_a_joint_system,),
}


def sketch(drawing: Drawing, folder: Path, name: str) -> list[Path]:
    """Replaces `save`, which takes most of the time: figures are drawn but not rasterised."""
    paths = [folder / f"{name}.{kind}" for kind in ("svg", "png", "csv")]
    for path in paths:
        write_text(path, f"<svg>{len(drawing.data)} marks</svg>")
    return paths


@pytest.fixture(scope="module")
def cells(made: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the made-up run, to be analysed with other configs."""
    root = shutil.copytree(made.root, tmp_path_factory.mktemp("shape") / "results" / "shape")
    shutil.copytree(root / "analysis", root / "measured")
    return root


def analyse(root: Path, spec: Spec) -> None:
    """The analysis for this spec: its part of the measured rows, and its comparisons."""
    keys = {(suite, entry["id"]) for entry in spec["systems"] for suite in entry["suites"]}
    seeds = {entry["id"]: entry["seeds"] for entry in spec["systems"]}
    for name in ("metrics", "calibration", "coverage", "reliability", "cost"):
        frame = pd.read_parquet(root / "measured" / f"{name}.parquet")
        kept = [
            (row.suite, row.system) in keys and getattr(row, "seed", seeds[row.system][0]) in seeds[row.system]
            for row in frame.itertuples()
        ]
        frame[kept].to_parquet(root / "analysis" / f"{name}.parquet", index=False)
    compare(root, spec)
    made_up_run.write_sensitivity(root, spec)
    made_up_run.judge_claims(root, spec)


@pytest.fixture(scope="module", params=CHANGES)
def shape(request: pytest.FixtureRequest, cells: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Path]:
    """(spec, reports/<run>) for one shape of config, completely rendered."""
    spec = copy.deepcopy(made_up_run.spec_of(seeds=(1,)))
    spec["statistics"]["draws"] = 100
    for change in CHANGES[request.param]:
        change(spec)
    ids = {entry["id"] for entry in spec["systems"]}
    spec["label_counts"] = {name: kind for name, kind in spec["label_counts"].items() if name in ids}
    out = tmp_path_factory.mktemp("reports")
    analyse(cells, spec)
    write_tables(cells, spec, out / "tables")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_files, "save", sketch)
        figure_files.write_figures(cells, spec, out / "figures")
    write_report(cells, spec, out)
    return spec, out


def test_what_is_planned_is_what_is_written(shape: tuple[Spec, Path]) -> None:
    spec, out = shape
    endings = {"tables": ("csv", "json", "md", "tex"), "figures": ("csv", "png", "svg")}
    names = {"tables": tables(spec), "figures": figures(spec)}
    for kind, kinds in endings.items():
        planned = {f"{name}.{ending}" for name in names[kind] for ending in kinds}
        assert planned | ({"figures.json"} if kind == "figures" else set()) == {
            path.name for path in (out / kind).iterdir()
        }


def test_the_page_says_what_is_absent(shape: tuple[Spec, Path]) -> None:
    spec, out = shape
    text = (out / "index.html").read_text(encoding="utf-8")
    assert ("Not in this report:" in text) == bool(absent(spec))
    for words in absent(spec):
        assert words in text and words in (out / "REPORT.md").read_text(encoding="utf-8")
