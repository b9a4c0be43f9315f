"""Which parts of a run are done, and which sources are unreachable."""

import re
from pathlib import Path

import pytest

from tests.zsbench.conftest import REPOSITORY
from zsbench.cli.run_state import summary, unreachable_sources, warning
from zsbench.config.load import load_yaml, merge, resolve
from zsbench.plan.plan import Plan
from zsbench.store.provenance import write_json


@pytest.fixture
def mirror_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The paper run under the mirror's overlay, in an empty folder, with an empty mirror."""
    config = merge(*(load_yaml(REPOSITORY / name) for name in ("config.yaml", "workflow/configs/mirror.yaml")))
    plan = Plan(config, resolve(config, REPOSITORY / "workflow"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSBENCH_MIRROR", "mirror")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return plan


def place(plan: Plan, name: str) -> Path:
    source = plan.source_spec(name)
    return Path("mirror") / f"{source['repo_type']}s" / source["repo"] / source["files"][0]


def test_an_absent_mirror_is_said_of_every_repository(mirror_plan: Plan) -> None:
    missing = dict(unreachable_sources(mirror_plan))
    named = {name for name in mirror_plan.sources if "repo" in mirror_plan.source_spec(name)}
    assert set(missing) == named and len(named) == 8  # not the package, not the authored set
    assert "mirror/datasets/stanfordnlp/imdb" in missing["imdb"] and "hf download stanfordnlp/imdb" in missing["imdb"]
    line = warning(mirror_plan)
    assert line is not None and line.startswith("8 of 10 sources cannot be fetched: cr, sst2, sst5, imdb,")


def test_what_the_mirror_has_or_was_fetched_is_not_missing(mirror_plan: Plan) -> None:
    for name in ("cr", "imdb"):
        place(mirror_plan, name).parent.mkdir(parents=True)
    place(mirror_plan, "cr").write_text("{}")  # imdb: only the folder
    write_json(mirror_plan.layout.fetched("sst2"), {})
    missing = dict(unreachable_sources(mirror_plan))
    assert {"cr", "sst2"}.isdisjoint(missing) and "has no file 'plain_text/" in missing["imdb"]


def test_without_a_mirror_a_lock_is_needed(mirror_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZSBENCH_MIRROR")
    missing = dict(unreachable_sources(mirror_plan))
    assert (
        "zsbench fetch --lock" in missing["cr"] and "topics-published" not in missing
    )  # its preset has commit and checksum
    for name in mirror_plan.sources:
        mirror_plan.resources["sources"][name]["lock"] = {
            "repo": mirror_plan.source_spec(name).get("repo"),
            "revision": "c" * 40,
        }
    assert warning(mirror_plan) is None


def test_the_summary_counts_what_is_done(mirror_plan: Plan) -> None:
    cells = len(mirror_plan.cells)
    assert f"{cells} cells (0 done, {cells} to do)" in summary(mirror_plan)
    *first, last = [cell for cell in mirror_plan.cells if cell[2] == "gliznet-full"]
    for cell in first:
        write_json(mirror_plan.layout.card(*cell), {})
    shown = summary(mirror_plan)
    assert f"({len(first)} done" in shown and "scorings (0 done)" in shown  # a job is done when all its cells are
    write_json(mirror_plan.layout.card(*last), {})
    write_json(mirror_plan.layout.model("gliznet-full", 1), {})
    mirror_plan.layout.card(*first[0]).write_text("{")
    assert f"({len(first)} done" in summary(mirror_plan), "a damaged card counts as missing"
    write_json(mirror_plan.layout.card(*first[0]), {})
    assert re.search(r"11 trainings \(1 done\), \d+ scorings \(1 done\)", summary(mirror_plan))
