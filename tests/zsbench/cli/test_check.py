"""`snakemake check`: what stands in the way of a run."""

from pathlib import Path
from typing import Any

import pytest
from snakemake.utils import update_config

from tests.zsbench.conftest import REPOSITORY
from zsbench.cli.check import check_run
from zsbench.config.load import load_yaml, resolve
from zsbench.data.sources.fetch import fetch
from zsbench.plan.plan import Plan
from zsbench.store.provenance import write_json


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The paper run under the mirror's overlay, in an empty folder, with a mirror of empty files."""
    config: dict[str, Any] = {}
    for name in ("config.yaml", "workflow/configs/mirror.yaml"):
        update_config(config, load_yaml(REPOSITORY / name))
    plan = Plan(config, resolve(config, REPOSITORY / "workflow"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSBENCH_MIRROR", "mirror")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for name in plan.sources:
        if "repo" in (source := plan.source_spec(name)):
            path = Path("mirror") / f"{source['repo_type']}s" / source["repo"] / source["files"][0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
    return plan


def failed(plan: Plan) -> list[str]:
    return [f"{subject} {facts}" for state, subject, facts in check_run(plan) if state == "FAIL"]


def facts_of(plan: Plan, subject: str) -> list[str]:
    return [facts for _, one, facts in check_run(plan) if one == subject]


def test_a_source_out_of_reach_or_damaged_fails(plan: Plan) -> None:
    assert failed(plan) == []
    source = plan.source_spec("cr")
    fetch(source, plan.layout.fetched("cr"), mirror="mirror")
    assert failed(plan) == [] and "1 fetched, 1 of them intact" in facts_of(plan, "sources")[0]
    (plan.layout.fetched("cr").parent / "files" / "test.jsonl").write_text("changed")
    (one,) = failed(plan)
    assert "cr" in one and "changed" in one
    plan.layout.fetched("cr").unlink()
    (Path("mirror") / "datasets" / source["repo"] / source["files"][0]).unlink()
    (one,) = failed(plan)
    assert "cr" in one and source["repo"] in one


def test_cards_are_quoted(plan: Plan) -> None:
    quality = {"empty_texts": 215, "duplicate_texts": 0, "rows_without_gold": 0}
    card = {"revision": "a" * 40, "quality": quality, "replica": False}
    write_json(plan.layout.dataset_card("20-newsgroups"), card)
    shown = dict(facts.split(": ", 1) for facts in facts_of(plan, "dataset"))
    assert "7,532 test" in shown["20-newsgroups"] and "215 empty texts" in shown["20-newsgroups"]
    assert "376 test" in shown["cr"] and "not prepared" in shown["cr"]


def test_fewer_gpus_than_a_training_needs_fail(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.config["recipe"]["gpus"] = 2
    assert failed(plan) == []  # none at all: every job runs on the CPU
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("ZSBENCH_FAKE_GPUS", "1")
    (one,) = failed(plan)
    assert "devices" in one
