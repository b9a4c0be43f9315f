"""The table of settings in docs/models/gliznet.md agrees with config.yaml and script.yaml."""

import dataclasses
import re

import pytest
import yaml

from gliznet.options import GliZNetOptions
from tests.zsbench.conftest import REPOSITORY
from zsbench.config.load import load_yaml, merge, resolve
from zsbench.plan.plan import Plan
from zsbench.recipe import Recipe

CONFIGS = ("config.yaml", "workflow/configs/script.yaml")
STATED = {"config.yaml": "Card", "script.yaml": "Script"}  # what each config follows
# Settings in which a config deviates on purpose, as the page explains.
DEVIATES = {("config.yaml", "max_grad_norm"), ("script.yaml", "max_grad_norm")}


def table() -> dict[str, dict[str, object]]:
    """Setting -> column -> first value in backticks, parsed as YAML; None if there is none."""
    page = (REPOSITORY / "docs" / "models" / "gliznet.md").read_text(encoding="utf-8")
    lines = [line for line in page.partition("## 4. Settings")[2].partition("\n## ")[0].splitlines() if line[:1] == "|"]
    header, _, *rows = [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines]
    raw = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
    found = {}
    for names, cells in zip(rows, raw, strict=True):
        values = [re.search(r"`([^`]+)`", cell) for cell in cells[1:]]
        found[names[0]] = dict(zip(header[1:], (value and yaml.safe_load(value[1]) for value in values), strict=True))
    return found


def settings(*files: str) -> dict[str, object]:
    """All settings of the run of these config files."""
    config = merge(*(load_yaml(REPOSITORY / name) for name in files))
    spec = Plan(config, resolve(config, REPOSITORY / "workflow")).trained["gliznet-full"]
    recipe = Recipe(**spec["recipe"])
    accumulation = recipe.accumulation(recipe.gpus, recipe.per_device_batch)
    return dataclasses.asdict(GliZNetOptions(**spec["options"])) | spec["recipe"] | {"accumulation": accumulation}


OURS = {"config.yaml": settings(CONFIGS[0]), "script.yaml": settings(*CONFIGS)}


@pytest.mark.parametrize("name", OURS)
def test_the_table_is_what_the_configs_have(name: str) -> None:
    assert {setting: row[name] for setting, row in table().items()} == {
        setting: OURS[name][setting] for setting in table()
    }


@pytest.mark.parametrize("name", OURS)
def test_a_config_has_what_its_document_states(name: str) -> None:
    differ = {
        setting for setting, row in table().items() if row[STATED[name]] is not None and row[STATED[name]] != row[name]
    }
    assert {(name, setting) for setting in differ} <= DEVIATES


@pytest.mark.parametrize("name", OURS)
def test_clipping_acts_as_the_scripts_does_on_summed_gradients(name: str) -> None:
    row = table()["max_grad_norm"]
    assert row[name] == row["Script"] / OURS[name]["accumulation"]


def test_every_key_of_the_recipe_is_in_the_table() -> None:
    fields = {field.name for field in dataclasses.fields(Recipe)}
    assert fields - table().keys() == {"backbone", "training_set", "steps"}
