"""`snakemake check`: what a run needs and lacks."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from snakemake.utils import update_config

from tests.zsbench.conftest import REPOSITORY
from zsbench.cli.check import check_run
from zsbench.cli.main import main
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
    fetch(source, plan.layout.fetched("cr"))
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


def test_a_damaged_file_fails_and_hides_no_other_row(plan: Plan) -> None:
    (backbone,) = {spec["recipe"]["backbone"] for spec in plan.trained.values()}
    for path, row in {
        plan.layout.dataset_card("cr"): "dataset cr: ",
        plan.layout.fetched(backbone): f"source {backbone}: ",
    }.items():
        path.parent.mkdir(parents=True)
        path.write_text('{"rows": ')
        (one,) = failed(plan)
        assert one.startswith(row) and str(path) in one
        assert len(facts_of(plan, "dataset")) == len(plan.all_datasets) and facts_of(plan, "devices")
        path.unlink()


def test_a_run_in_another_folder_is_checked_where_it_is(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(plan.source_spec("cr"), plan.layout.fetched("cr"))
    plan.layout.config.write_text(json.dumps({"config": plan.config, "resources": plan.resources}))
    monkeypatch.setenv("ZSBENCH_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["job", "check", "--run", str(tmp_path / plan.layout.root)]) == 0
    assert "1 fetched, 1 of them intact" in capsys.readouterr().out


OWN = """
class Mine:
    def __init__(self, size=1): ...
    def score(self, texts, labels): ...
class Mute: ...
"""


def test_a_custom_class_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_for_check.py").write_text(OWN)
    (tmp_path / "broken_for_check.py").write_text("import nosuchpackage")
    monkeypatch.syspath_prepend(tmp_path)
    wrong = {"broken_for_check:Mine": "nosuchpackage", "own_for_check:Nosuch": "Nosuch", "own_for_check:Mute": "score"}
    for name, word in wrong.items():
        plan = small_plan({"family": "custom", "class": name})
        assert any(word in line for line in failed(plan)), name
    bad = {"family": "custom", "class": "own_for_check:Mine", "arguments": {"sise": 2}}
    assert "sise" in failed(small_plan(bad))[0]
    assert not failed(small_plan(bad | {"arguments": {"size": 2}}))


def small_plan(entry: dict[str, Any]) -> Plan:
    suite = {"task": "single", "datasets": ["movie-snippets"]}
    config: dict[str, Any] = {"run": "mine", "suites": {"gliclass": suite}, "systems": {"own": entry}}
    return Plan(config, resolve(config, REPOSITORY / "workflow"))


def test_imported_scores_are_counted_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    plan = small_plan({"family": "imported"})
    assert "not prepared" in facts_of(plan, "scores")[0]
    ids, name = [f"id-{i}" for i in range(6)], "movie-snippets"
    rows = pd.DataFrame({"sample_id": ids, "split": ["test"] * 5 + ["train"], "text": "a"})
    plan.layout.dataset(name).parent.mkdir(parents=True)
    rows.to_parquet(plan.layout.dataset(name))
    quality = {"empty_texts": 0, "duplicate_texts": 0, "rows_without_gold": 0}
    facts = {"labels": ["a", "b"], "task": "single", "revision": "r", "quality": quality, "replica": False}
    write_json(plan.layout.dataset_card(name), facts)
    write_json(plan.layout.config, {"config": plan.config, "resources": plan.resources})
    assert "nothing imported" in failed(plan)[0]

    def imports(system: str, count: int) -> int:
        pd.DataFrame({"sample_id": ids[:count], "a": 0.1, "b": 0.9}).to_csv("s.csv", index=False)
        return main(["import-scores", "--run", str(plan.layout.root), "--system", system, "--dataset", name, "s.csv"])

    assert imports("own", 3) == 1 and "2 rows, first 'id-3'" in failed(plan)[0]
    assert imports("own", 5) == 0 and not failed(plan), "rows of the train split are not scored"
    assert imports("other", 5) == 1 and not plan.layout.imported("other", name).exists()


def test_fewer_gpus_than_a_training_needs_fail(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.config["recipe"]["gpus"] = 2
    assert failed(plan) == []  # none at all: every job runs on the CPU
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("ZSBENCH_FAKE_GPUS", "1")
    (one,) = failed(plan)
    assert one.startswith("devices `recipe.gpus`: asks for 2 GPUs, this run has 1; allowed: up to 1")
