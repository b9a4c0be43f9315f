"""Licences: every preset model states one, and a run knows the licences of its models' components."""

import pytest

from tests.zsbench.conftest import REPOSITORY
from zsbench.config.load import load_resources, load_yaml, resolve
from zsbench.plan.plan import Plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    config = load_yaml(REPOSITORY / "workflow" / "configs" / "embedded.yaml")
    return Plan(config, resolve(config, REPOSITORY / "workflow"))


def test_every_model_of_the_presets_states_its_licence() -> None:
    sources = load_resources(REPOSITORY / "workflow" / "resources")["sources"]
    models = {name: source for name, source in sources.items() if source.get("repo_type") == "model"}
    assert len(models) > 10
    assert [name for name, source in models.items() if "licence" not in source] == []


def test_a_system_has_the_licences_of_all_that_it_is_made_of(plan: Plan) -> None:
    fetched, rows = plan.licence("minilm"), plan.training_set_spec("hardset-mini")["licence"]
    assert fetched.startswith("Apache-2.0") and rows == "CC BY 4.0"
    trained = {"minilm": fetched, "hardset-mini": rows}
    assert plan.spec("system_licences", "gliznet-full") == trained
    assert plan.spec("system_licences", "biencoder") == {"minilm": fetched}
    topics = plan.dataset_spec("topics-mini")["licence"]
    assert plan.spec("system_licences", "hybrid") == trained | {"topics-mini": topics}
    assert plan.spec("system_licences", "majority") == {}


def test_a_fetched_hybrid_has_the_licence_of_its_nli_model_too(plan: Plan) -> None:
    config = load_yaml(REPOSITORY / "config.yaml")
    paper = Plan(config, resolve(config, REPOSITORY / "workflow"))
    (system,) = (name for name, one in paper.systems.items() if "nli" in one.settings and one.model[0] == "source")
    entry = paper.systems[system]
    assert set(paper.spec("system_licences", system)) == {entry.model[1], entry.settings["nli"]}


def test_an_edited_licence_is_in_no_spec_that_computes(plan: Plan) -> None:
    def specs() -> list:
        return [plan.spec("training", "gliznet-full", 1), plan.spec("score", "biencoder", 0)]

    before = specs()
    plan.resources["sources"]["minilm"]["licence"] = "another"
    assert plan.spec("system_licences", "biencoder") == {"minilm": "another"} and specs() == before
