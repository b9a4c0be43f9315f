"""`zsbench fetch --lock` and its effects, through the command line and the config, against a loopback hub."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hub_server import COMMIT, Repo, serve

from tests.zsbench.resolved_config import source_config
from zsbench.config.load import load_resources
from zsbench.data.sources.lock import read_lock
from zsbench.store.errors import ConfigError
from zsbench.store.provenance import read_json

SRC = Path(__file__).parents[3] / "src"
ROWS = b'{"text": "a", "label": 0}\n' * 40
PRESETS = {
    "cr": {"kind": "hub", "repo_type": "dataset", "repo": "SetFit/CR", "revision": "lock", "files": ["test.jsonl"]}
}
OWN = {"mine": {"kind": "hub", "repo_type": "model", "repo": "me/mine", "revision": "lock", "files": ["*.json"]}}


@pytest.fixture
def hub():
    hub, stop = serve()
    hub.repos["datasets/SetFit/CR"] = Repo({"test.jsonl": ROWS})
    hub.repos["models/me/mine"] = Repo({"config.json": b"{}"})
    yield hub
    stop()


@pytest.fixture
def zsbench(hub, tmp_path):
    """Run the command line in a folder with presets, the client pointed at the loopback hub."""
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "sources.yaml").write_text(yaml.safe_dump({"sources": PRESETS}))
    (tmp_path / "resources" / "datasets.yaml").write_text("datasets: {}\ntraining_sets: {}\n")
    (tmp_path / "resources" / "claims.yaml").write_text("claims: {}\n")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"sources": OWN}))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING", "ZSBENCH"))}
    environment |= {"PYTHONPATH": str(SRC), "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf")}

    def call(*words):
        command = [sys.executable, "-m", "zsbench.cli", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return call


def fetch_job(tmp_path, run):
    """A fetch job of the source `cr` with the current presets and lock."""
    source_config(tmp_path / "results" / run, "cr", load_resources(tmp_path / "resources")["sources"]["cr"])
    return ("job", "fetch", "--run", run, "--source", "cr")


def test_locked_once_then_every_fetch_verifies(zsbench, hub, tmp_path):
    refused = zsbench(*fetch_job(tmp_path, "a"))
    assert refused.returncode == 1 and "zsbench fetch --lock" in refused.stderr
    done = zsbench("fetch", "--lock", "--resources", "resources")
    assert done.returncode == 0 and done.stdout == "resources/lock.yaml: 1 sources pinned\n"
    assert zsbench(*fetch_job(tmp_path, "a")).returncode == 0
    manifest = read_json(tmp_path / "results/a/fetch/cr/manifest.json")
    assert (manifest["revision"], manifest["verified"]) == (COMMIT, "lock")
    hub.repos["datasets/SetFit/CR"].files["test.jsonl"] = ROWS + ROWS  # history rewritten under the same commit
    changed = zsbench(*fetch_job(tmp_path, "b"))
    assert changed.returncode == 1 and "are pinned" in changed.stderr
    assert not (tmp_path / "results/b/fetch/cr/files").exists()


def test_a_configs_own_sources_are_pinned_too(zsbench, tmp_path):
    assert "2 sources pinned" in zsbench("fetch", "--lock", "--resources", "resources", "--config", "mine.yaml").stdout
    lock = yaml.safe_load((tmp_path / "resources" / "lock.yaml").read_text())["sources"]
    assert lock["mine"]["revision"] == COMMIT and set(lock["mine"]["files"]) == {"config.json"}


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        ("sources:\nsystems: {mine: {family: nli, model: me/mine}}\n", 0, "2 sources pinned"),
        ("sources:\n", 0, "1 sources pinned"),
        ("sources: {mine: {repo: me/mine}}\n", 1, "`sources.mine.kind`: "),
        ("sources: {mine: {kind: hub, repo_type: model, repo: mine, files: [a]}}\n", 1, "`sources.mine.repo`: "),
    ],
)
def test_a_config_with_few_or_wrong_sources(zsbench, tmp_path, config, code, words):
    (tmp_path / "odd.yaml").write_text(config)
    done = zsbench("fetch", "--lock", "--resources", "resources", "--config", "odd.yaml")
    assert done.returncode == code and words in done.stdout + done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("left", ["sources:\n", "# nothing\n", ""])
def test_a_lock_without_entries_is_filled_again(zsbench, tmp_path, left):
    """Its header recommends to remove entries by hand."""
    path = tmp_path / "resources" / "lock.yaml"
    path.write_text(left)
    assert "lock" not in load_resources(tmp_path / "resources")["sources"]["cr"]
    assert zsbench("fetch", "--lock", "--resources", "resources").returncode == 0
    assert load_resources(tmp_path / "resources")["sources"]["cr"]["lock"]["revision"] == COMMIT


@pytest.mark.parametrize("content", ["sources:\n<<<<<<< mine\n", "[1]\n", "sources: [1]\n"])
def test_a_damaged_lock_is_named(tmp_path, content):
    path = tmp_path / "lock.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"lock.yaml is not a lock file"):
        read_lock(path)


def test_signed_links_in_the_clients_log_are_masked(zsbench, hub, tmp_path):
    weights = bytes(range(256)) * 4000
    hub.repos["datasets/SetFit/CR"] = Repo({"test.jsonl": weights}, large=("test.jsonl",))
    assert zsbench("fetch", "--lock", "--resources", "resources").returncode == 0
    hub.fault("GET", "^/cdn/", cut=1000)  # the client logs the signed link on a retry
    done = zsbench(*fetch_job(tmp_path, "a"))
    assert done.returncode == 0 and "Trying to resume" in done.stderr
    assert "?***" in done.stderr and "verysecret" not in done.stderr + done.stdout


def test_no_hub_no_lock(zsbench, hub, tmp_path):
    del hub.repos["datasets/SetFit/CR"]
    done = zsbench("fetch", "--lock", "--resources", "resources")
    assert done.returncode == 1 and "there is no dataset SetFit/CR" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "resources" / "lock.yaml").exists()
