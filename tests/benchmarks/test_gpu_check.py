"""`make gpu-check` without a GPU: a dry run from a copied tree, and how it continues after a failure or a stop."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.gpu_check import __main__ as command
from benchmarks.gpu_check.report import page, passed
from benchmarks.gpu_check.speed import _flips, _verdict
from benchmarks.gpu_check.trainings import TASKS, distance
from zsbench.families import FAMILIES, TRAINABLE

REPOSITORY = Path(__file__).parents[2]
FEW = ("torch", "transformers", "accelerate", "safetensors", "scikit-learn", "pandas", "pyarrow", "scipy")
HIDE = """
import importlib.machinery, sys
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, *more):
        return None if name.split(".")[0] in {hidden} else super().find_spec(name, *more)
sys.meta_path[:] = [Finder if one is importlib.machinery.PathFinder else one for one in sys.meta_path]
"""


def all_but_few() -> set[str]:
    """Modules of all installed distributions except the project, those in `FEW`, and their dependencies."""
    needed, waiting = {"zsbench"}, {*FEW}
    while waiting:
        name = waiting.pop()
        needed.add(name)
        wanted = [Requirement(line) for line in requires(name) or ()]
        wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
        waiting |= {canonicalize_name(one.name) for one in wanted} - needed
    owners = packages_distributions().items()
    return {module for module, names in owners if needed.isdisjoint(map(canonicalize_name, names))}


@pytest.mark.runs
def test_dry_run_from_a_copied_tree_with_few_packages(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("src", "benchmarks", "workflow", "authored"):
        shutil.copytree(REPOSITORY / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (tmp_path / "site").mkdir()
    hidden = all_but_few() | {"pydantic"}  # recent typer needs it, and transformers needs typer
    assert {"snakemake", "tabulate", "datasets", "sentence_transformers", "sentencepiece"} <= hidden
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDE.format(hidden=hidden))
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    arguments = ["-m", "benchmarks.gpu_check", "--dry-run", "--minutes", "600"]
    done = subprocess.run([sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    path = tree / "reports" / "gpu" / "cpu-dry-run.json"
    record = json.loads(path.read_text())
    assert set(record["parts"]) == set(record["planned"]) and not record["failed"]
    assert {"pydantic", "gliclass", "flashdeberta", "sentence_transformers"} <= set(record["missing"])
    parts = record["parts"]
    assert "gliclass" in parts["curve: gliclass"]["skipped"] and "skipped" not in parts["curve: gliznet"]
    assert parts["kill and continue, lease"]["leased while it ran"] == 1
    assert parts["two processes"]["backend"] == "gloo"
    (scoring,) = (result for name, result in parts.items() if name.startswith("scoring"))
    assert {"gliznet", "bare"} <= set(scoring["joint"]) and any(n.startswith("pipeline") for n in scoring["pairs"])
    text = path.with_suffix(".md").read_text()
    assert "dry run" in text and all(name in text for name in record["planned"]) and "FAILED" not in text


def test_a_failed_part_and_one_without_time_are_made_by_the_same_command(tmp_path: Path, monkeypatch) -> None:
    made: list[str] = []
    broken = True

    def part(name: str) -> dict[str, Any]:
        made.append(name)
        if name == "second" and broken:
            raise RuntimeError("no memory")
        return {"ok": True}

    names = ("first", "second", "third")
    monkeypatch.setattr(command, "plan", lambda *_: {name: lambda name=name: part(name) for name in names})
    record = command.check(tmp_path / "out", tmp_path / "work", 5, True)
    assert made == ["first", "second", "third"] and record["failed"] == {"second": "RuntimeError: no memory"}
    assert "FAILED: RuntimeError: no memory" in (tmp_path / "out" / "cpu-dry-run.md").read_text()
    broken = False
    assert set(command.check(tmp_path / "out", tmp_path / "work", -1, True)["parts"]) == {"first", "third"}
    assert "left out" in (tmp_path / "out" / "cpu-dry-run.md").read_text()
    assert set(command.check(tmp_path / "out", tmp_path / "work", 5, True)["parts"]) == set(names)
    assert made == ["first", "second", "third", "second"]
    monkeypatch.setattr(command, "code", lambda: "edited")
    command.check(tmp_path / "out", tmp_path / "work", 5, True)
    assert made[4:] == list(names)


def test_curves_are_as_far_apart_as_their_largest_difference() -> None:
    assert distance([2.0, 1.0], [2.0, 1.5]) == pytest.approx(0.25)
    for other in ([2.0], [2.0, float("nan")]):
        with pytest.raises(ValueError, match="cannot be compared"):
            distance(other, [2.0, 1.5])


def test_flips_are_counted_with_their_margins() -> None:
    exact = np.array([[1.0, 0.9, 0.0], [0.0, 3.0, 1.0]])
    found = _flips(exact, exact + np.array([[0.0, 0.2, 0.0], [0.0, 0.0, 0.0]]))
    assert (found["texts"], found["flips"]) == (2, 1)
    assert found["largest_margin_of_a_flip"] == pytest.approx(0.1)
    assert found["largest_difference"] == pytest.approx(0.2)
    assert _flips(exact, exact)["largest_margin_of_a_flip"] is None


@pytest.mark.parametrize(("error", "low", "better"), [(0.01, 2.0, True), (0.01, 1.0, False), (0.1, 2.0, False)])
def test_flashdeberta_is_better_if_it_is_exact_and_faster(error: float, low: float, better: bool) -> None:
    ours = {"low": 1.0, "high": 1.1}
    timed = {"fast": ours, "flashdeberta": {"low": low, "high": 3.0}}
    errors = {"transformers bf16": 0.01, "flashdeberta bf16": error}
    assert _verdict({"errors": errors, "mixed": timed, "training": timed}).startswith("better") == better
    assert _verdict({"errors": {"transformers bf16": 0.01}}).startswith("not measured")


def test_a_part_out_of_tolerance_fails_the_page() -> None:
    assert passed({"fp32": {"ok": True}, "numbers": 3}) and not passed({"fp32": {"ok": False}})
    shared = {"device": "X", "dry_run": False, "environment": {}, "missing": [], "failed": {}, "seconds": {}}
    assert "out of tolerance" in page(shared | {"planned": ["a"], "parts": {"a": {"ok": False}}})


def test_every_trainable_family_is_checked() -> None:
    assert {name: FAMILIES[name].task_class for name in TRAINABLE} == {name: task[0] for name, task in TASKS.items()}
