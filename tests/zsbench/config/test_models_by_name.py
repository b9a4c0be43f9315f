"""Models given by hub id or folder in a config, and pinned on first use."""

from pathlib import Path
from typing import Any

import pytest

from tests.zsbench.conftest import REPOSITORY
from zsbench.cli.run_state import missing_files, pin_missing
from zsbench.config.load import ConfigError, resolve
from zsbench.data.errors import FetchError
from zsbench.data.sources import lock as locks
from zsbench.data.sources.fetch import fetch
from zsbench.plan.plan import Plan
from zsbench.store.provenance import read_json


def plan_of(**systems: dict[str, Any]) -> Plan:
    suite = {"task": "single", "datasets": ["movie-snippets"]}
    config: dict[str, Any] = {"run": "mine", "suites": {"gliclass": suite}, "systems": systems}
    return Plan(config, resolve(config, REPOSITORY / "workflow"))


def test_a_hub_id_becomes_a_source_that_waits_for_its_commit() -> None:
    plan = plan_of(bart={"family": "nli", "model": "facebook/bart-large-mnli"})
    assert plan.systems["bart"].model == ("source", "facebook-bart-large-mnli")
    source = plan.source_spec("facebook-bart-large-mnli")
    assert (source["repo"], source["revision"], source["repo_type"]) == ("facebook/bart-large-mnli", "lock", "model")


def test_names_that_differ_in_signs_alone_are_two_sources() -> None:
    plan = plan_of(a={"family": "nli", "model": "me/a.b"}, b={"family": "nli", "model": "me/a-b"})
    repos = [plan.source_spec(system.model[1])["repo"] for system in plan.systems.values() if system.model]
    assert repos == ["me/a.b", "me/a-b"]


@pytest.mark.parametrize("model", ["Nosuch", "a/b/c", "nosuch", "owner/na me", "-x/y"])
def test_what_is_neither_is_refused_by_its_key(model: str) -> None:
    with pytest.raises(ConfigError, match="systems.a.model"):
        plan_of(a={"family": "nli", "model": model})


def test_a_misspelt_model_is_told_what_a_model_may_be() -> None:
    with pytest.raises(ConfigError) as refused:
        plan_of(a={"family": "biencoder", "model": "minilmm"})
    told = str(refused.value)
    assert "`systems.a.model`: 'minilmm' is not known; did you mean 'minilm'? allowed: " in told
    assert told.endswith(", or owner/name on the hub, or a folder such as ./my-checkpoint")
    assert "imdb" not in told and "topics-mini" not in told, "sources of rows hold no model"


def test_a_file_or_folder_that_is_not_there_is_named_by_the_key_that_was_written() -> None:
    config: dict[str, Any] = {
        "run": "mine",
        "datasets": {"tickets": {"path": "nosuch.csv", "text": "a", "gold": "b", "labels": ["x", "y"]}},
        "suites": {"mine": {"task": "single", "datasets": ["tickets"]}},
        "systems": {"own": {"family": "biencoder", "model": "./nosuch"}},
    }
    plan = Plan(config, resolve(config, REPOSITORY / "workflow"))
    keys = [line.partition(":")[0] for line in missing_files(plan)]
    assert sorted(keys) == ["`datasets.tickets.path`", "`systems.own.model`"]


def test_a_folder_is_copied_without_pickles_and_seen_when_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zsbench.data.fetched import content_at_hand

    monkeypatch.chdir(tmp_path)
    plan = plan_of(own={"family": "biencoder", "model": "./ckpt"})
    (name,) = [name for name in plan.sources if plan.source_spec(name)["kind"] == "folder"]
    assert len(list(missing_files(plan))) == 1
    for file in ("config.json", "model.safetensors", "1_Pooling/config.json", "weights.bin"):
        (tmp_path / "ckpt" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ckpt" / file).write_text(file)
    assert not list(missing_files(plan))
    before = content_at_hand(plan.source_spec(name))
    fetch(plan.source_spec(name), plan.layout.fetched(name))
    files = [entry["name"] for entry in read_json(plan.layout.fetched(name))["files"]]
    assert files == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    (tmp_path / "ckpt" / "model.safetensors").write_text("another")
    assert content_at_hand(plan.source_spec(name)) != before


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """A fake hub: commits by repository; with a separate lock file."""
    commits = {"me/one": "a" * 40}
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZSBENCH_MIRROR", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def listing(source: dict[str, Any], revision: str) -> tuple[str, dict[str, Any]]:
        if source["repo"] not in commits:
            raise FetchError(f"there is no model {source['repo']}")
        return commits[source["repo"]], {"config.json": {"bytes": 2_000_000, "sha256": "0" * 64}}

    monkeypatch.setattr("zsbench.data.sources.lock.hub_listing", listing)
    return commits


def test_the_first_use_pins_and_says_so_and_the_second_does_not(hub: dict[str, str], tmp_path: Path) -> None:
    plan = plan_of(one={"family": "nli", "model": "me/one"})
    (tmp_path / "resources").mkdir()
    (line,) = pin_missing(plan, tmp_path)
    assert "me/one" in line and "a" * 12 in line and "2 MB" in line and "lock.yaml" in line
    assert plan.source_spec("me-one")["lock"]["revision"] == "a" * 40
    hub["me/one"] = "b" * 40
    assert list(pin_missing(plan, tmp_path)) == []
    assert locks.read_lock(tmp_path / "resources" / "lock.yaml")["me-one"]["revision"] == "a" * 40


@pytest.mark.parametrize("variable", ["ZSBENCH_MIRROR", "HF_HUB_OFFLINE"])
def test_a_mirror_or_an_offline_run_asks_nobody(
    hub: dict[str, str], tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    plan = plan_of(one={"family": "nli", "model": "me/one"})
    assert list(pin_missing(plan, tmp_path)) == [] and "lock" not in plan.source_spec("me-one")


def test_what_cannot_be_pinned_is_said_once(hub: dict[str, str], tmp_path: Path) -> None:
    plan = plan_of(a={"family": "nli", "model": "me/none"}, b={"family": "nli", "model": "me/neither"})
    (line,) = pin_missing(plan, tmp_path)
    assert line.startswith("not pinned") and "me/none" in line


def test_an_installed_package_keeps_pins_in_the_working_folder() -> None:
    inside = Path("/usr/lib/python3/site-packages/zsbench/project/workflow")
    assert locks.lock_file(inside) == Path("lock.yaml")
    assert locks.lock_file(REPOSITORY / "workflow") == REPOSITORY / "workflow" / "resources" / "lock.yaml"
