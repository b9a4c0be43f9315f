"""The overlay that scores every published column with the label words of its publication."""

from zsbench.config.load import load_yaml, merge, resolve
from zsbench.config.published import load_published
from zsbench.plan.plan import Plan

from .conftest import REPOSITORY


def test_each_column_is_scored_under_its_own_words() -> None:
    files = ("config.yaml", "workflow/configs/as-published.yaml")
    config = merge(*(load_yaml(REPOSITORY / name) for name in files))
    plan = Plan(config, resolve(config, REPOSITORY / "workflow"))
    words = {name: plan.dataset_spec(name)["labels"] for name in plan.all_datasets}
    assert words["sst5-alphabetical"] == sorted(words["sst5"])
    assert words["rotten-tomatoes"] == ["neg", "pos"]
    assert [name.replace(".", " ") for name in words["20-newsgroups-dotted"]] == words["20-newsgroups"]
    gold, order = plan.dataset_spec("sst5-alphabetical")["gold"]["values"], words["sst5"]
    assert [order[value] for value in gold] == words["sst5-alphabetical"]  # the file numbers them from very negative
    assert plan.systems["gliznet-published"].settings["truncation"] == "reference"
    assert "gliznet-as-served" not in plan.systems
    reported = load_published(REPOSITORY / "workflow" / "resources" / "published.yaml")
    for entry in reported["publications"].values():
        for row in entry["systems"].values():
            suites = {plan_suite for name in row["scored_as"].values() for plan_suite in _suites(config, name)}
            for system in {row.get("measured"), row.get("weights")} - {None} if row["scored_as"] else ():
                assert suites & {*plan.systems[system].suites}, (system, suites)


def _suites(config: dict, dataset: str) -> list[str]:
    return [suite for suite, entry in config["suites"].items() if dataset in entry["datasets"]]
