"""One file lists everything that a run fetched."""

from pathlib import Path

from zsbench.config.load import load_yaml, resolve
from zsbench.data.fetched import write_run_manifest
from zsbench.data.sources.fetch import fetch
from zsbench.plan.plan import Plan
from zsbench.store.layout import Layout
from zsbench.store.provenance import file_sha256, read_json


def test_every_source_with_origin_revision_sizes_and_sums(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("text,label\na,b\n")
    layout = Layout(tmp_path / "results" / "tiny")
    fetch({"kind": "local", "path": str(tmp_path / "mine.csv")}, layout.fetched("mine"))
    fetch({"kind": "authored", "files": ["topics-mini.jsonl"]}, layout.fetched("topics"))
    write_run_manifest(layout, {"mine": "CC0", "topics": "not stated"})
    manifest = read_json(layout.manifest)
    assert manifest["run"] == "tiny" and list(manifest["sources"]) == ["mine", "topics"]
    mine = manifest["sources"]["mine"]
    size, total = (tmp_path / "mine.csv").stat().st_size, file_sha256(tmp_path / "mine.csv")
    assert mine["files"] == [{"name": "mine.csv", "bytes": size, "sha256": total}]
    assert (mine["kind"], mine["origin"], mine["verified"], mine["bytes"]) == ("local", "local:mine.csv", "none", size)
    assert manifest["sources"]["topics"]["verified"] == "git"
    assert [source["licence"] for source in manifest["sources"].values()] == ["CC0", "not stated"]
    assert manifest["bytes"] == size + manifest["sources"]["topics"]["bytes"]


def test_the_licence_of_a_source_is_that_of_the_sets_made_of_it_or_its_own_and_fetches_nothing_again() -> None:
    workflow = Path(__file__).parents[3] / "workflow"
    config = load_yaml(workflow / "configs" / "embedded.yaml")
    plan = Plan(config, resolve(config, workflow))
    licences = plan.spec("manifest")["licences"]
    assert set(licences) == set(plan.sources)
    sets = {plan.dataset_spec(name)["source"]: plan.dataset_spec(name)["licence"] for name in plan.all_datasets}
    assert all(licences[source] == licence for source, licence in sets.items() if source != "hardset-mini")
    before = plan.spec("source", "minilm")
    assert licences["minilm"].startswith("Apache-2.0") and "licence" not in before
    plan.resources["sources"]["minilm"]["licence"] = "another"
    assert plan.licence("minilm") == "another" and plan.spec("source", "minilm") == before
    del plan.resources["sources"]["minilm"]["licence"]
    assert plan.licence("minilm") == "not stated"
