"""Configs: the project's own pass, and every broken one is refused with the key, the value and what is allowed."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gliznet.options import GliZNetOptions
from tests.zsbench.conftest import REPOSITORY, checked
from zsbench.config.load import ConfigError, check_schema, load_yaml, suggest
from zsbench.plan.plan import Plan
from zsbench.training.recipe import Recipe

SCHEMA = load_yaml(REPOSITORY / "workflow" / "schemas" / "config.schema.yaml")


def put(path: str, value: Any) -> Callable[[dict], None]:
    """A change that sets `a.b.c` to a value."""

    def change(config: dict) -> None:
        *parents, last = path.split("/")
        for key in parents:
            config = config[key]
        config[last] = value

    return change


def drop(path: str) -> Callable[[dict], None]:
    """A change that removes `a.b.c`."""

    def change(config: dict) -> None:
        *parents, last = path.split("/")
        for key in parents:
            config = config[key]
        del config[last]

    return change


SMALL_SET = {
    "title": "t",
    "source": "minilm",
    "files": {"test": "a.csv"},
    "format": {"type": "table"},
    "text": "t",
    "gold": {"column": "g", "values": ["0", "1"]},
    "verbalisations": {"plain": ["same", "Same "]},
    "task": "single",
    "domain": "d",
    "expected_rows": {"test": 1},
    "licence": "l",
    "citation": "c",
}

BROKEN = {
    "unknown top-level key": (put("recipes", {}), r"unknown key 'recipes'; did you mean 'recipe'\?"),
    "unknown recipe key": (
        put("recipe/learning_rat", 1e-4),
        "recipe: unknown key 'learning_rat'; did you mean 'learning_rate'",
    ),
    "unknown option": (
        put("gliznet/variants/full", {"margn": 0.1}),
        "gliznet.variants.full: unknown key 'margn'; did you mean 'margin'",
    ),
    "unknown suite": (
        put("systems/majority/suites", ["glicass"]),
        "systems.majority.suites: 'glicass' is not known; did you mean 'gliclass'",
    ),
    "unknown suite key": (put("suites/gliclass/row", 3), "suites.gliclass: unknown key 'row'; did you mean 'rows'"),
    "unknown system key": (put("systems/biencoder/modle", "x"), "unknown key 'modle'; did you mean 'model'"),
    "unknown hybrid key": (put("hybrid/hybrid/labels", []), "hybrid.hybrid: unknown key 'labels'"),
    "unknown statistics key": (put("statistics/draw", 5), "statistics: unknown key 'draw'; did you mean 'draws'"),
    "missing run": (drop("run"), "'run' is a required property"),
    "missing recipe key": (drop("recipe/steps"), "recipe: 'steps' is a required property"),
    "missing template": (drop("hybrid/hybrid/template"), "hybrid.hybrid: 'template' is a required property"),
    "no suites": (put("suites", {}), "suites"),
    "no datasets": (put("suites/gliclass/datasets", []), r"suites.gliclass.datasets: \[\]"),
    "no variants": (put("gliznet/variants", {}), "gliznet.variants"),
    "no seeds": (put("recipe/seeds", []), "recipe.seeds"),
    "datasets repeat": (put("suites/gliclass/datasets", ["movie-snippets"] * 2), "suites.gliclass.datasets"),
    "seeds repeat": (put("recipe/seeds", [1, 1]), "recipe.seeds"),
    "protocols repeat": (put("suites/topics/protocols", ["cv", "cv"]), "suites.topics.protocols"),
    "unknown dataset": (
        put("suites/gliclass/datasets", ["movie-snippet"]),
        "'movie-snippet' is not known; did you mean 'movie-snippets'",
    ),
    "dataset of another suite": (
        put("suites/gliclass/datasets", ["topics-mini"]),
        "'topics-mini' is a data set of task 'multi'",
    ),
    "unknown wording": (
        put("suites/gliclass/verbalisations", {"movie-snippets": "plane"}),
        "'plane' is not known; did you mean 'plain'",
    ),
    "wording of a set not in the suite": (put("suites/gliclass/verbalisations", {"cr": "plain"}), "'cr' is not known"),
    "unknown training set": (
        put("recipe/training_set", "hardset"),
        "'hardset' is not known; did you mean 'hardset-mini'",
    ),
    "unknown backbone": (put("recipe/backbone", "minilmm"), "'minilmm' is not known; did you mean 'minilm'"),
    "unknown model": (put("systems/biencoder/model", "minlm"), "'minlm' is not known; did you mean 'minilm'"),
    "unknown family": (
        put("systems/biencoder/family", "bi-encoder"),
        "'bi-encoder' is not allowed; did you mean 'biencoder'",
    ),
    "unknown control": (
        put("systems/majority/control", "majorty"),
        "'majorty' is not allowed; did you mean 'majority'",
    ),
    "unknown protocol": (
        put("suites/topics/protocols", ["heldout"]),
        "'heldout' is not allowed; did you mean 'held-out'",
    ),
    "unknown precision": (put("recipe/precision", "fp16"), "recipe.precision: 'fp16' is not allowed"),
    "unknown strategy": (
        put("recipe/strategy", "zero3"),
        "recipe.strategy: 'zero3' is not allowed; did you mean 'zero2'",
    ),
    "unknown head": (put("gliznet/base", {"head": "bilinar"}), "'bilinar' is not allowed; did you mean 'bilinear'"),
    "unknown nli of a hybrid": (put("hybrid/hybrid/nli", "nli-min"), "'nli-min' is not known; did you mean 'nli-mini'"),
    "hybrid on a set that is not scored": (
        put("hybrid/hybrid/dataset", "topics-published"),
        "'topics-published' is not known",
    ),
    "unknown nli-only label": (put("hybrid/hybrid/nli_only", ["Heath"]), "'Heath' is not known; did you mean 'Health'"),
    "negative weight": (put("gliznet/variants/full", {"bce_weight": -0.5}), "gliznet.variants.full.bce_weight: -0.5"),
    "weight is text": (
        put("gliznet/variants/full", {"bce_weight": "half"}),
        "gliznet.variants.full.bce_weight: 'half'",
    ),
    "steps are zero": (put("recipe/steps", 0), "recipe.steps: 0"),
    "steps are absurd": (put("recipe/steps", 10**12), "recipe.steps"),
    "rows are text": (put("suites/gliclass/rows", "many"), "suites.gliclass.rows: 'many'"),
    "template without a place": (
        put("trained/nli-mini/template", "This is it."),
        "trained.nli-mini.template: 'This is it.'",
    ),
    "trained nli without a template": (
        drop("trained/nli-mini/template"),
        "trained.nli-mini: family 'nli' needs a `template`",
    ),
    "template of a family without one": (
        put("trained/gliclass-mini/template", "about {}"),
        "trained.gliclass-mini.template: family 'gliclass' has none",
    ),
    "unknown trained family": (
        put("trained/gliclass-mini/family", "gliclas"),
        "trained.gliclass-mini.family: 'gliclas' is not allowed; did you mean 'gliclass'",
    ),
    "unknown backbone of a trained one": (
        put("trained/nli-mini/recipe", {"backbone": "minilmm"}),
        "trained.nli-mini.recipe.backbone: 'minilmm' is not known",
    ),
    "level is a percentage": (put("statistics/level", 95), "statistics.level: 95"),
    "variant equals the base": (
        put("gliznet", {"base": {"margin": 0.5}, "variants": {"same": {"margin": 0.5}}}),
        "gliznet.variants.same.margin: 0.5 is already the base's",
    ),
    "two equal variants": (put("gliznet/variants/again", {"margin": 0.0}), "has the same settings as 'no-margin'"),
    "path traversal in the run": (put("run", "../../etc"), r"run: '\.\./\.\./etc' is not a valid id"),
    "path traversal in a variant": (put("gliznet/variants/..", {"margin": 0.1}), "not a valid id"),
    "shell metacharacters in an id": (
        put("systems/a;rm -rf b", {"family": "control", "control": "oracle", "suites": ["topics"]}),
        "not a valid id",
    ),
    "command substitution in the run": (put("run", "$(id)"), r"run: '\$\(id\)' is not a valid id"),
    "upper case in an id": (put("gliznet/variants/Full", {"margin": 0.1}), "not a valid id"),
    "labels repeat": (put("datasets", {"mine": SMALL_SET}), "datasets.mine.verbalisations.plain: labels read alike"),
    "unknown key of a preset": (
        put("datasets", {"mine": SMALL_SET | {"licnce": "l"}}),
        "datasets.mine: unknown key 'licnce'; did you mean 'licence'",
    ),
    "wordings of unequal length": (
        put("datasets", {"mine": SMALL_SET | {"verbalisations": {"plain": ["one", "two", "three"]}}}),
        "datasets.mine.verbalisations.plain: 3 labels for the 2 values of gold",
    ),
    "rows expected of a split that no file has": (
        put("datasets", {"mine": SMALL_SET | {"verbalisations": {"p": ["a", "b"]}, "expected_rows": {"tset": 1}}}),
        r"datasets.mine.expected_rows: splits \['tset'\]; allowed: those of files, \['test'\]",
    ),
    "a branch as revision": (
        put(
            "sources",
            {"mine": {"kind": "hub", "repo_type": "dataset", "repo": "a/b", "revision": "main", "files": ["c"]}},
        ),
        "sources.mine.revision: 'main' is not a valid value; allowed: a commit, or lock",
    ),
    "a hub source without files": (
        put("sources", {"mine": {"kind": "hub", "repo_type": "dataset", "repo": "a/b", "revision": "lock"}}),
        "sources.mine: 'files' is a required property",
    ),
    "rows of a set not in the suite": (
        put("suites/gliclass/rows", {"cr": 5}),
        "suites.gliclass.rows: 'cr' is not known",
    ),
    "source of a preset unknown": (put("datasets", {"mine": SMALL_SET | {"source": "mnilm"}}), "'mnilm' is not known"),
    "system takes a trained id": (
        put("systems/nli-mini", {"family": "control", "control": "oracle", "suites": ["topics"]}),
        "the id 'nli-mini' is taken by trained.nli-mini",
    ),
    "a list instead of a mapping": (put("recipe", []), r"recipe: \[\]"),
    "recipe is null": (put("recipe", None), "recipe"),
    "unknown backbone of the speed run": (put("speed/backbone", "minilmm"), "speed.backbone: 'minilmm' is not known"),
    "unknown shape": (put("speed/shapes", ["bert"]), "speed.shapes.0: 'bert' is not allowed.*allowed: deberta, own"),
    "misspelt key of the speed run": (put("speed/sweep/label", [2]), "speed.sweep: unknown key 'label'; did you mean"),
    "the speed run lacks a block": (drop("speed/hybrid"), "speed: 'hybrid' is a required property"),
    "no labels to score": (put("speed/mixed/labels", 0), "speed.mixed.labels: 0"),
}


def test_a_missing_package_is_named_with_its_extra(embedded: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(package: str) -> str:
        if package == "gliclass":
            raise importlib.metadata.PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(ConfigError, match=r"trained.gliclass-mini: .* run `pip install zsbench\[gliclass\]`"):
        checked(embedded)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_config_is_refused_with_key_and_reason(embedded: dict, name: str) -> None:
    change, message = BROKEN[name]
    change(embedded)
    with pytest.raises(ConfigError, match=message):
        checked(embedded)


@pytest.mark.parametrize(
    "text",
    [
        "run: !!python/object/apply:os.system ['touch /tmp/never']",
        "run: [unclosed",
        "- a list\n- not a mapping",
        "run: &a [*a]",
    ],
)
def test_yaml_that_is_not_a_plain_mapping_is_refused(tmp_path: Path, text: str, embedded: dict) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        check_schema(embedded | load_yaml(path), SCHEMA)


def test_a_config_without_a_speed_block_plans_no_speed_run(embedded: dict) -> None:
    config = checked(embedded)
    spec = Plan(config, {}).speed_spec
    assert spec is not None and spec["run"] == "embedded" and spec["backbone"] == "minilm"
    del config["speed"]
    assert Plan(config, {}).speed_spec is None


def test_schema_lists_every_option_and_recipe_field() -> None:
    """A switch that the schema does not know could not be set; one that the code does not know would do nothing."""
    assert set(SCHEMA["$defs"]["options"]["properties"]) == set(GliZNetOptions.__dataclass_fields__)
    assert set(SCHEMA["$defs"]["recipe"]["properties"]) == set(Recipe.__dataclass_fields__) | {"seeds"}


def test_all_problems_are_shown_at_once(embedded: dict) -> None:
    embedded["recipe"]["stps"] = 1
    embedded["run"] = "Bad Id"
    with pytest.raises(ConfigError) as caught:
        checked(embedded)
    assert "stps" in str(caught.value) and "Bad Id" in str(caught.value)


def test_suggestions() -> None:
    assert suggest("marjin", ["margin", "head"]) == "; did you mean 'margin'? allowed: head, margin"
    assert suggest("zzz", ["margin"]) == "; allowed: margin"


def test_the_workflow_prints_the_message_and_stops(tmp_path: Path, embedded: dict) -> None:
    embedded["recipe"]["precison"] = embedded["recipe"].pop("precision")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(embedded))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-n",
        "--cores",
        "1",
        "--configfile",
        str(path),
        "--directory",
        str(tmp_path),
    ]
    done = subprocess.run([*command, "--snakefile", str(REPOSITORY / "Snakefile")], capture_output=True, text=True)
    assert done.returncode != 0
    assert "unknown key 'precison'; did you mean 'precision'?" in done.stderr + done.stdout
    assert not (tmp_path / "results").exists()
