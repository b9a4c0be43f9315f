"""Hub sources with the real client against a loopback hub, as users experience them."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import COMMIT, Repo, git_sha1, serve

SRC = Path(__file__).parents[3] / "src"
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"
ROWS = b'{"text": "a", "label": 0}\n' * 40
WEIGHTS = bytes(range(256)) * 4000  # about 1 MB
DRIVER = """
import json, sys
from pathlib import Path
import shutil
from zsbench.data.errors import FetchError
from zsbench.data.sources.lock import write_lock
from zsbench.data.sources.fetch import fetch
from zsbench.store.secrets import masked_output
what, first, second = json.loads(sys.argv[1])
if what == "fetch with little room":
    shutil.disk_usage = lambda folder: type("Usage", (), {"free": 1_000, "total": 10**9, "used": 10**9 - 1_000})()
    what = "fetch"
try:
    with masked_output():  # as every command does
        print(json.dumps(fetch(first, Path(second)) if what == "fetch" else write_lock(first, Path(second))))
except FetchError as error:
    sys.exit(f"zsbench fetch: {error}")
"""


@pytest.fixture
def hub():
    hub, stop = serve()
    hub.repos["datasets/SetFit/CR"] = Repo({"test.jsonl": ROWS, "train.jsonl": ROWS * 2, "README.md": b"card"})
    hub.repos["models/org/small"] = Repo(
        {
            "config.json": b"{}",
            "model.safetensors": WEIGHTS,
            "1_Pooling/config.json": b"{ }",
            "pytorch_model.bin": b"pickle",
        },
        large=("model.safetensors", "pytorch_model.bin"),
    )
    yield hub
    stop()


@pytest.fixture
def run(hub, tmp_path):
    """Run fetch or write_lock in a separate process, with the client pointed at the loopback hub."""

    def call(what, first, second, **settings):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING", "XDG"))}
        environment |= {"PYTHONPATH": str(SRC), "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf")}
        words = [sys.executable, "-c", DRIVER, json.dumps([what, first, str(second)])]
        return subprocess.run(words, env=environment | settings, capture_output=True, text=True)

    return call


def dataset(**changes):
    source = {"kind": "hub", "repo_type": "dataset", "repo": "SetFit/CR", "revision": COMMIT, "files": ["test.jsonl"]}
    return source | changes


def model(**changes):
    source = {"kind": "hub", "repo_type": "model", "repo": "org/small", "revision": COMMIT}
    return source | {"files": ["*.json", "*.safetensors"]} | changes


def stored(manifest):
    """Names of all files next to a manifest."""
    folder = manifest.parent
    return (
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) if folder.exists() else []
    )


def refused(done, manifest, *words):
    """Assert that a fetch failed cleanly: one line with these words, no traceback, no manifest, nothing in files/."""
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("zsbench fetch: ") and "Traceback" not in done.stderr
    for word in words:
        assert word in message
    assert not manifest.exists() and not (manifest.parent / "files").exists()
    return message


def test_files_arrive_as_listed_at_the_commit(run, tmp_path):
    manifest = tmp_path / "small" / "manifest.json"
    done = run("fetch", model(), manifest)
    assert done.returncode == 0, done.stderr
    facts = json.loads(manifest.read_text())
    names = ["1_Pooling/config.json", "config.json", "model.safetensors"]  # not the pickle
    assert [entry["name"] for entry in facts["files"]] == names
    assert stored(manifest) == sorted([f"files/{name}" for name in names] + ["manifest.json"])
    assert (tmp_path / "small/files/model.safetensors").read_bytes() == WEIGHTS
    assert facts["revision"] == COMMIT and facts["verified"] == "hub" and facts["origin"] == "hub:models/org/small"
    assert facts["files"][2]["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()


def test_lock_is_resolved_once_and_every_fetch_verifies_against_it(run, hub, tmp_path):
    path, manifest = tmp_path / "lock.yaml", tmp_path / "cr" / "manifest.json"
    source = dataset(revision="lock", branch="refs/convert/parquet")
    hub.repos["datasets/SetFit/CR"].revisions["refs/convert/parquet"] = "d" * 40
    refused(run("fetch", source, manifest), manifest, "SetFit/CR", "zsbench fetch --lock", "ZSBENCH_MIRROR")
    sources = {"cr": source, "small": model(revision="lock"), "pinned": model()}
    lock = json.loads(run("lock", sources, path).stdout)
    assert set(lock) == {"cr", "small"}
    assert lock["cr"]["revision"] == "d" * 40
    assert lock["cr"]["files"] == {"test.jsonl": {"bytes": len(ROWS), "git_sha1": git_sha1(ROWS)}}
    assert lock["small"]["files"]["model.safetensors"]["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    asked = len(hub.log)
    run("lock", sources, path)
    assert len(hub.log) == asked  # nothing is resolved twice
    hub.repos["datasets/SetFit/CR"].revisions["refs/convert/parquet"] = "e" * 40  # the branch moves on
    hub.repos["datasets/SetFit/CR"].revisions["old"] = "d" * 40
    assert run("fetch", source | {"lock": lock["cr"]}, manifest).returncode == 0
    facts = json.loads(manifest.read_text())
    assert facts["revision"] == "d" * 40 and facts["verified"] == "lock"


def test_a_lock_entry_follows_a_preset_that_changed(run, tmp_path):
    path = tmp_path / "lock.yaml"
    run("lock", {"cr": dataset(revision="lock"), "small": model(revision="lock")}, path)
    lock = json.loads(run("lock", {"cr": dataset(revision="lock", files=["train.jsonl"])}, path).stdout)
    assert list(lock["cr"]["files"]) == ["train.jsonl"] and "small" in lock


def test_a_failed_lock_keeps_what_was_resolved(run, tmp_path):
    path = tmp_path / "lock.yaml"
    done = run("lock", {"cr": dataset(revision="lock"), "gone": dataset(revision="lock", repo="SetFit/gone")}, path)
    assert done.returncode == 1 and "SetFit/gone" in done.stderr
    assert "SetFit/CR" in path.read_text()


def test_content_that_is_not_the_locked_one_is_refused(run, tmp_path):
    manifest = tmp_path / "cr" / "manifest.json"
    lock = {
        "repo": "SetFit/CR",
        "revision": COMMIT,
        "files": {"test.jsonl": {"bytes": len(ROWS), "git_sha1": "0" * 40}},
    }
    done = run("fetch", dataset(revision="lock", lock=lock), manifest)
    refused(done, manifest, "test.jsonl", "0" * 40, "is pinned", "removed")
    assert stored(manifest) == []


def test_bytes_changed_on_the_way_are_refused(run, hub, tmp_path):
    manifest = tmp_path / "small" / "manifest.json"
    hub.fault("GET", "^/cdn/", body=b"x" * len(WEIGHTS))
    refused(run("fetch", model(), manifest), manifest, "model.safetensors", "sha256", "run again")
    assert "partial/model.safetensors" not in stored(manifest)
    assert run("fetch", model(), manifest).returncode == 0


def test_a_cut_connection_continues_where_it_stopped(run, hub, tmp_path):
    manifest = tmp_path / "small" / "manifest.json"
    large = WEIGHTS * 12  # the client keeps complete blocks of 10 MB
    hub.repos["models/org/small"].files["model.safetensors"] = large
    hub.fault("GET", "^/cdn/", cut=11_000_000)
    assert run("fetch", model(), manifest).returncode == 0
    ranges = [headers.get("range") for headers in hub.asked("GET", "^/cdn/")]
    assert ranges == [None, f"bytes={10 * 1024 * 1024}-"]
    assert (tmp_path / "small/files/model.safetensors").read_bytes() == large


def test_a_failed_fetch_continues_with_the_files_it_has(run, hub, tmp_path):
    manifest = tmp_path / "small" / "manifest.json"
    hub.fault("GET", "^/cdn/", status=404)
    refused(run("fetch", model(), manifest), manifest, "404")
    assert run("fetch", model(), manifest).returncode == 0
    assert len(hub.asked("GET", "resolve/.*/config.json$")) == 2  # two files with this name, each sent once
    assert "partial" not in str(stored(manifest))


def test_a_busy_hub_is_asked_again(run, hub, tmp_path):
    manifest = tmp_path / "cr" / "manifest.json"
    hub.fault("GET", "^/api/datasets/SetFit/CR", status=429, headers={"Retry-After": "1"})
    hub.fault("GET", "resolve", status=429, headers={"Retry-After": "0"})
    done = run("fetch", dataset(), manifest)
    assert done.returncode == 0, done.stderr
    assert "the hub answered 429; trying again in 1 s" in done.stderr


def test_gated_repository_says_where_to_accept_and_how_to_log_in(run, hub, tmp_path):
    manifest = tmp_path / "cr" / "manifest.json"
    hub.repos["datasets/SetFit/CR"].gated = True
    address = f"{hub.address}/datasets/SetFit/CR"
    refused(run("fetch", dataset(), manifest), manifest, "gated", address, "hf auth login")
    assert stored(manifest) == []
    assert run("fetch", dataset(), manifest, HF_TOKEN=TOKEN).returncode == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"repo": "SetFit/CRR"}, ("no dataset SetFit/CRR", "check the name", "hf auth login")),
        ({"revision": "f" * 40}, ("SetFit/CR has no revision", "f" * 40)),
        ({"files": ["test.json"]}, ("has no file 'test.json'", "test.jsonl")),
        ({"files": ["*.parquet"]}, ("no file matches *.parquet",)),
    ],
)
def test_what_is_missing_is_named(run, tmp_path, changes, words):
    manifest = tmp_path / "cr" / "manifest.json"
    refused(run("fetch", dataset(**changes), manifest), manifest, *words)
    assert stored(manifest) == []


def test_invalid_token_is_not_a_missing_repository(run, hub, tmp_path):
    manifest = tmp_path / "cr" / "manifest.json"
    hub.fault(
        "GET", "^/api/datasets", status=401, headers={"X-Error-Message": "Invalid credentials in Authorization header"}
    )
    done = run("fetch", dataset(), manifest, HF_TOKEN=TOKEN)
    assert TOKEN not in refused(done, manifest, "401", "token is not valid", "hf auth login")


def test_no_network(run, tmp_path):
    manifest = tmp_path / "cr" / "manifest.json"
    done = run("fetch", dataset(), manifest, HF_ENDPOINT="http://127.0.0.1:9")
    refused(done, manifest, "could not be downloaded", "Check the network", "ZSBENCH_MIRROR")


def test_offline_setting_is_explained(run, tmp_path):
    manifest = tmp_path / "cr" / "manifest.json"
    refused(run("fetch", dataset(), manifest, HF_HUB_OFFLINE="1"), manifest, "HF_HUB_OFFLINE is set", "unset it")


def test_secrets_stay_out_of_messages_logs_and_manifests(run, hub, tmp_path):
    manifest = tmp_path / "small" / "manifest.json"
    hub.fault("GET", "^/cdn/", status=403)
    refusal = run("fetch", model(), manifest, HF_TOKEN=TOKEN)
    hub.fault("GET", "^/cdn/", cut=1000)  # the client logs the signed link on a retry
    success = run("fetch", model(), manifest, HF_TOKEN=TOKEN)
    assert refusal.returncode == 1 and success.returncode == 0
    assert "Trying to resume" in success.stderr
    for text in (refusal.stderr, success.stderr, manifest.read_text()):
        assert TOKEN not in text and "verysecret" not in text
    assert all(headers["authorization"] == f"Bearer {TOKEN}" for headers in hub.asked("GET", "^/api/models"))
    assert not any("authorization" in headers for headers in hub.asked("GET", "^/cdn/"))


def test_files_that_are_there_already_need_no_space(run, hub, tmp_path):
    manifest = tmp_path / "small" / "manifest.json"
    last = hashlib.sha256(b"pickle").hexdigest()
    hub.fault("GET", f"^/cdn/{last}", status=404)  # after all others were fetched
    refused(run("fetch", model(files=["*"]), manifest), manifest, "404")
    assert (tmp_path / "small/partial/model.safetensors").is_file()
    done = run("fetch with little room", model(files=["*"]), manifest)
    assert done.returncode == 0, done.stderr


def test_a_full_disk_is_said_before_the_download(run, hub, tmp_path):
    manifest = tmp_path / "cr" / "manifest.json"
    lock = {"repo": "SetFit/CR", "revision": COMMIT, "files": {"test.jsonl": {"bytes": 10**16, "git_sha1": "0" * 40}}}
    refused(run("fetch", dataset(revision="lock", lock=lock), manifest), manifest, "GB are free", "free some space")
    assert not hub.asked("GET", "resolve")
