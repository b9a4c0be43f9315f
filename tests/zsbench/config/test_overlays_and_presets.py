"""The project's configs laid over one another, and the presets they name."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from tests.zsbench.conftest import REPOSITORY, checked
from zsbench.config.datasets import check_dataset
from zsbench.config.load import ConfigError, load_resources, load_yaml, resolve
from zsbench.data.prepare import published_parts
from zsbench.plan.plan import Plan

SCHEMA_OF_PRESETS = load_yaml(REPOSITORY / "workflow" / "schemas" / "presets.schema.yaml")
CONFIGS = [
    ("paper", "config.yaml"),
    ("embedded", "workflow/configs/embedded.yaml"),
    ("rehearsal", "config.yaml", "workflow/configs/rehearsal.yaml"),
    ("mirror", "config.yaml", "workflow/configs/mirror.yaml"),
    ("held-out", "config.yaml", "workflow/configs/held-out.yaml"),
    ("held-out", "config.yaml", "workflow/configs/mirror.yaml", "workflow/configs/held-out.yaml"),
]


def laid_over(*paths: str) -> dict[str, Any]:
    """Configs as snakemake lays them over each other."""
    config: dict[str, Any] = {}
    for path in paths:
        update_config(config, load_yaml(REPOSITORY / path))
    return config


@pytest.mark.parametrize(("run", "paths"), [(run, paths) for run, *paths in CONFIGS])
def test_own_configs_pass(run: str, paths: list[str]) -> None:
    assert checked(laid_over(*paths))["run"] == run


def test_the_held_out_run_scores_no_row_that_its_hybrids_saw(resources: dict) -> None:
    plan = Plan(checked(laid_over("config.yaml", "workflow/configs/held-out.yaml")), resources)
    assert plan.all_datasets == ["topics-held-out"]
    assert {plan.hybrid_spec(name, 1)["dataset"] for name in plan.config["hybrid"]} == {"topics-held-out"}
    published, held_out = published_parts(1000, 42), published_parts(1000, 42, 0.25)
    assert [part == "validation" for part in published] == [part == "test" for part in held_out]
    assert Counter(held_out) == resources["datasets"]["topics-held-out"]["expected_rows"]
    with pytest.raises(ConfigError, match="mine.validation_share: goes with `published_split`; leave it out"):
        check_dataset("mine", resources["datasets"]["topics-mini"] | {"validation_share": 0.5})


def test_null_takes_an_id_away_and_rows_go_by_data_set(embedded: dict) -> None:
    update_config(embedded, {"systems": {"biencoder": None}, "gliznet": {"variants": {"no-bce": None}}})
    update_config(embedded, {"suites": {"gliclass": {"rows": {"movie-snippets": 40}}}})
    plan = Plan(checked(embedded), load_resources(REPOSITORY / "workflow" / "resources"))
    assert {"biencoder", "gliznet-no-bce"}.isdisjoint(plan.systems) and "gliznet-full" in plan.systems
    assert plan.dataset_spec("movie-snippets")["rows"] == 40
    assert plan.dataset_spec("product-snippets")["rows"] is None and plan.dataset_spec("topics-mini")["rows"] is None


def test_every_preset_of_the_suites_is_there_with_what_a_card_needs(resources: dict) -> None:
    """The schema requires the fields; which sets there must be, and that hub sources are pinned, is said here."""
    published = load_yaml(REPOSITORY / "workflow" / "resources" / "published.yaml")["rows"]
    wanted = {**published, "banking77": 3080, "massive": 2974}
    for name, rows in wanted.items():
        preset = resources["datasets"][name]
        assert set(SCHEMA_OF_PRESETS["$defs"]["dataset"]["required"]) <= set(preset)
        split = "validation" if name == "topics-published" else "test"
        assert preset["expected_rows"][split] == rows
        source = resources["sources"][preset["source"]]
        assert source["kind"] == "https" or source["revision"] == "lock"
        assert source["repo_type"] == "dataset" and source["files"] == list(preset["files"].values())
    assert len(wanted) == 13 and "zshot-hardset-v2" in resources["training_sets"]


def test_the_lock_pins_presets_and_a_configs_own_sources(embedded: dict, tmp_path: Path) -> None:
    workflow = tmp_path / "workflow"
    shutil.copytree(REPOSITORY / "workflow", workflow)
    own = {"kind": "hub", "repo_type": "model", "repo": "me/mine", "revision": "lock", "files": ["*.json"]}
    embedded["sources"] = {"mine": own}
    repos = {"cr": "SetFit/CR", "mine": "me/mine"}
    pinned = {name: {"repo": repo, "revision": "c" * 40, "files": {}} for name, repo in repos.items()}
    (workflow / "resources" / "lock.yaml").write_text(yaml.safe_dump({"sources": pinned}))
    resources = resolve(embedded, workflow)
    assert {name for name, source in resources["sources"].items() if "lock" in source} == {"cr", "mine"}
    assert Plan(embedded, resources).source_spec("mine")["lock"] == pinned["mine"]
    assert "lock" not in embedded["sources"]["mine"]
