"""The project's configs with their overlays, and the presets they name."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.zsbench.conftest import REPOSITORY, checked
from zsbench.config.keys import editor_schema, markdown
from zsbench.config.load import ConfigError, load_resources, load_yaml, merge, resolve
from zsbench.data.prepare import published_parts
from zsbench.plan.plan import Plan

CONFIGS = [
    ("paper", "config.yaml"),
    ("embedded", "workflow/configs/embedded.yaml"),
    ("rehearsal", "config.yaml", "workflow/configs/rehearsal.yaml"),
    ("mirror", "config.yaml", "workflow/configs/mirror.yaml"),
    ("held-out", "config.yaml", "workflow/configs/held-out.yaml"),
    ("held-out", "config.yaml", "workflow/configs/mirror.yaml", "workflow/configs/held-out.yaml"),
]


def laid_over(*paths: str) -> dict[str, Any]:
    return merge(*(load_yaml(REPOSITORY / path) for path in paths))


@pytest.mark.parametrize(("run", "paths"), [(run, paths) for run, *paths in CONFIGS])
def test_own_configs_pass(run: str, paths: list[str]) -> None:
    assert checked(laid_over(*paths))["run"] == run


def test_the_rehearsal_trains_with_the_paper_runs_settings_but_for_its_sizes() -> None:
    """Including two processes and the sharded strategy."""
    recipes = [laid_over(*paths)["recipe"] for paths in (("config.yaml",), CONFIGS[2][1:])]
    paper, rehearsal = recipes
    assert {key for key in paper if paper[key] != rehearsal[key]} == {
        "seeds", "epochs", "effective_batch", "per_device_batch"
    }  # fmt: skip
    assert (rehearsal["strategy"], rehearsal["gpus"]) == ("zero2", 2)
    assert rehearsal["effective_batch"] == 2 * rehearsal["gpus"] * rehearsal["per_device_batch"], "accumulates"


def test_the_paper_runs_training_set_is_the_cards_snapshot(resources: dict) -> None:
    preset = resources["training_sets"][load_yaml(REPOSITORY / "config.yaml")["recipe"]["training_set"]]
    assert preset["expected_rows"] == {"train": 54_289, "validation": 1_188, "test": 1_322}
    assert "files" not in preset, "found by split, not guessed"


def test_the_held_out_run_scores_no_row_that_its_hybrids_saw(resources: dict) -> None:
    plan = Plan(checked(laid_over("config.yaml", "workflow/configs/held-out.yaml")), resources)
    assert plan.all_datasets == ["topics-held-out"]
    assert {plan.hybrid_spec(name, 1)["dataset"] for name in plan.config["hybrid"]} == {"topics-held-out"}
    published, held_out = published_parts(1000, 42), published_parts(1000, 42, 0.25)
    assert [part == "validation" for part in published] == [part == "test" for part in held_out]
    assert Counter(held_out) == resources["datasets"]["topics-held-out"]["expected_rows"]


def test_null_takes_an_id_away_and_rows_go_by_data_set(embedded: dict) -> None:
    overlay = {"systems": {"biencoder": None}, "gliznet": {"variants": {"no-bce": None}}, "speed": None}
    rows = {"suites": {"gliclass": {"rows": {"movie-snippets": 40}}}}
    plan = Plan(checked(merge(embedded, overlay, rows)), load_resources(REPOSITORY / "workflow" / "resources"))
    assert {"biencoder", "gliznet-no-bce"}.isdisjoint(plan.systems) and "gliznet-full" in plan.systems
    assert plan.dataset_spec("movie-snippets")["rows"] == 40 and plan.speed_spec is None
    assert plan.dataset_spec("product-snippets")["rows"] is None and plan.dataset_spec("topics-mini")["rows"] is None


def test_with_a_suite_go_the_systems_that_are_in_no_other(embedded: dict) -> None:
    config = checked(merge(embedded, {"suites": {"gliclass": None}, "statistics": {"system": None}}))
    assert "majority" not in config["systems"] and config["systems"]["oracle"]["suites"] == ["topics"]


def test_an_empty_mapping_empties_and_a_variant_may_repeat_the_base(embedded: dict) -> None:
    assert embedded["gliznet"]["compounds"]
    overlay = {"gliznet": {"compounds": {}, "variants": {"no-margin": {"margin": 0.0, "lab_init": "sep"}}}}
    assert checked(merge(embedded, overlay))["gliznet"]["compounds"] == {}


def test_the_schema_and_the_page_of_keys_are_current() -> None:
    assert (REPOSITORY / "workflow" / "schemas" / "config.schema.json").read_text(encoding="utf-8") == editor_schema()
    assert (REPOSITORY / "docs" / "configuration-keys.md").read_text(encoding="utf-8") == markdown()


@pytest.mark.parametrize("path", sorted({path for _, *paths in CONFIGS for path in paths}))
def test_an_editor_takes_the_projects_files_and_marks_a_misspelt_key(path: str) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(editor_schema()))
    config = load_yaml(REPOSITORY / path)
    assert not [*validator.iter_errors(config)]
    named = (REPOSITORY / path).read_text().splitlines()[0].partition("$schema=")[2]
    assert ((REPOSITORY / path).parent / named).is_file()
    config.setdefault("scoring", {})["token_budgt"] = 1
    assert [*validator.iter_errors(config)]


def test_every_preset_of_the_suites_is_there_with_what_a_card_needs(resources: dict) -> None:
    """The schema checks the fields; this checks which sets exist, and that hub sources are pinned."""
    published = load_yaml(REPOSITORY / "workflow" / "resources" / "published.yaml")["rows"]
    wanted = {**published, "banking77": 3080, "massive": 2974}
    for name, rows in wanted.items():
        preset = resources["datasets"][name]
        assert "not stated" not in (preset["citation"], preset["domain"]) and preset["title"] != name
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


def test_without_its_suite_a_hybrid_is_refused_with_what_to_set(embedded: dict) -> None:
    with pytest.raises(ConfigError) as refused:
        checked(merge(embedded, {"suites": {"topics": None}}))
    assert "`hybrid.hybrid: null`" in str(refused.value) and "`hybrid.hybrid-no-blend: null`" in str(refused.value)
    assert "`hybrid.hybrid-no-kl: null`" in str(refused.value)
    none = dict.fromkeys(["hybrid", "hybrid-no-blend", "hybrid-no-kl"])
    left = checked(merge(embedded, {"suites": {"topics": None}, "hybrid": none}))
    assert [*left["suites"]] == ["gliclass"] and "bag-of-words" not in left["systems"]
