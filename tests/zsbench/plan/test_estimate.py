"""Estimates for a run: counts from the plan, times from earlier runs."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.zsbench.conftest import REPOSITORY
from zsbench.config.load import load_yaml, resolve
from zsbench.plan.estimate import Rates, detectable_effect, estimate, measured_rates, plan_lines, rows_of
from zsbench.plan.plan import Plan
from zsbench.store.provenance import write_json


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(tmp_path)
    config = load_yaml(REPOSITORY / "workflow" / "configs" / "embedded.yaml")
    return Plan(config, resolve(config, REPOSITORY / "workflow"))


def line(lines: list[str], stage: str) -> str:
    return next(text for text in lines if text.startswith(stage))


def test_nothing_is_guessed_before_a_first_run(plan: Plan) -> None:
    lines = list(plan_lines(plan))
    assert len(lines) <= 10 and all(len(text) <= 120 for text in lines)
    assert "unknown" in line(lines, "train") and "unknown" in line(lines, "effect")
    assert "fetch --lock" not in line(lines, "download"), "the hub knows nothing of packages"
    assert line(lines, "cells").split() == ["cells", str(len(plan.cells)), str(len(plan.cells))]


def test_the_paper_run_is_told_who_knows_sizes_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_yaml(REPOSITORY / "config.yaml")
    paper = Plan(config, resolve(config, REPOSITORY / "workflow"))
    for source in paper.resources["sources"].values():
        source.pop("lock", None)
    told = line(estimate(paper, None, None), "download")
    assert "sources of unknown size (`zsbench fetch --lock` asks the hub)" in told


def test_hours_follow_from_texts_and_measured_rates(plan: Plan) -> None:
    texts = sum(spec["recipe"]["steps"] * spec["recipe"]["effective_batch"] for spec in plan.trained.values())
    lines = estimate(plan, Rates({"training": texts / 7200, "*": 1e9, "*pairs": 1e9}, "a"), 0.02)
    assert "2.0 h, HybridNLI's heads not counted, without" in line(lines, "train")
    assert "0.020" in line(lines, "effect")
    assert rows_of(plan, "gliclass", "movie-snippets") == 200, "the suite's part, not the whole set"
    write_json(plan.layout.model(next(iter(plan.trained)), 1), {})
    assert (
        int(line(estimate(plan, None, None), "train").split()[2]) == len(plan.trained) + len(plan.config["hybrid"]) - 1
    )


def test_rates_come_from_the_cells_and_trainings_of_an_earlier_run(tmp_path: Path) -> None:
    root = tmp_path / "results" / "a"
    recipe = {"effective_batch": 10}
    write_json(root / "models/m/seed1/training.json", {"step": 6, "seconds": 30.0, "spec": {"recipe": recipe}})
    for family, labels in (("nli", ["x", "y"]), ("gliznet", ["x", "y"])):
        card = {"family": family, "rows": {"test": 50}, "label_names": labels, "seconds": 5.0}
        write_json(root / f"cells/s/d/{family}/seed0/card.json", card)
    write_json(root / "scores/nli/seed0.json", {})
    rates = measured_rates(tmp_path / "results", tmp_path / "reports")
    assert rates is not None and rates.per_second == {"training": 2.0, "nli": 20.0, "gliznet": 10.0}


def test_damaged_records_stop_no_estimate(plan: Plan, tmp_path: Path) -> None:
    before = list(plan_lines(plan))
    names = ("results/a/models/m/seed1/training.json", "results/a/scores/m/seed1.json", "reports/gpu/h.json")
    for name in (*names, "results/a/cells/s/d/m/seed1/card.json", "results/a/analysis/deltas.parquet"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("cut sho")
    assert list(plan_lines(plan)) == before


def test_a_gpu_check_is_preferred_and_its_slowest_shape_counts(tmp_path: Path) -> None:
    def scoring(rate: float) -> dict[str, Any]:
        one = {"texts_per_second": {"wall": {"median": rate}}, "labels": 10}
        return {"joint": {"gliznet": one}, "pairs": {"pipeline-8": one}}

    parts = {f"scoring: {name}": scoring(rate) for name, rate in (("base", 50.0), ("small", 90.0))}
    parts["training: base"] = {"gliznet": {"texts_per_second": 7.0}}
    write_json(tmp_path / "gpu" / "h.json", {"device": "H", "dry_run": False, "parts": parts})
    rates = measured_rates(tmp_path / "none", tmp_path)
    assert rates is not None and (rates.of("training"), rates.of("gliznet"), rates.of("nli")) == (7.0, 50.0, 500.0)
    write_json(tmp_path / "gpu" / "h.json", {"device": "H", "dry_run": True, "parts": parts})
    assert measured_rates(tmp_path / "none", tmp_path) is None


def test_the_smallest_effect_shrinks_with_the_root_of_the_rows(plan: Plan, tmp_path: Path) -> None:
    frame = pd.DataFrame({"dataset": ["average"] * 3, "mde": [0.02, 0.04, 0.06], "n_rows": 3200, "protocol": "argmax"})
    (tmp_path / "results/a/analysis").mkdir(parents=True)
    frame.to_parquet(tmp_path / "results/a/analysis/deltas.parquet")
    assert detectable_effect(plan, tmp_path / "results") == pytest.approx(0.04 * (3200 / 1200) ** 0.5)  # six sets
