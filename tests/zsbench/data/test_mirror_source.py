"""A mirror in place of the hub: what is read, the message for a missing file, what counts as verified."""

import hashlib

import pytest

from zsbench.data.errors import FetchError
from zsbench.data.fetched import open_fetched
from zsbench.data.sources.fetch import fetch
from zsbench.store.provenance import IntegrityError, read_json

ROWS = b'{"text": "a", "label": 0}\n'
COMMIT = "a" * 40


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    for name, content in {
        "datasets/SetFit/CR/test.jsonl": ROWS,
        "datasets/SetFit/CR/.cache/huggingface/download/test.jsonl.metadata": b"notes of the download",
        "datasets/org/topics/data/rows.json": b"[]",
        "models/org/encoder/config.json": b"{}",
        "models/org/encoder/model.safetensors": b"weights",
        "models/org/encoder/1_Pooling/config.json": b"{ }",
        "models/org/encoder/pytorch_model.bin": b"pickle",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def hub(**changes):
    source = {"kind": "hub", "repo_type": "dataset", "repo": "SetFit/CR", "revision": "lock", "files": ["*.jsonl"]}
    return source | changes


def https(**changes):
    source = {"kind": "https", "url": "https://raw.example.org/topics/data/rows.json", "sha256": sha256(b"[]")}
    source |= {"repo": "org/topics", "repo_type": "dataset", "revision": COMMIT, "files": ["data/rows.json"]}
    return source | changes


def test_dataset_and_model_keep_their_layout(mirror, tmp_path):
    facts = fetch(hub(mirror=str(mirror)), tmp_path / "cr" / "manifest.json")
    assert [entry["name"] for entry in facts["files"]] == ["test.jsonl"]
    assert facts["origin"] == "mirror:datasets/SetFit/CR" and facts["verified"] == "none"
    assert facts["revision"].startswith("mirror-")  # not verified to be the publisher's bytes
    source = hub(repo="org/encoder", repo_type="model", files=["*.json", "*.safetensors"])
    facts = fetch(source | {"mirror": str(mirror)}, tmp_path / "encoder" / "manifest.json")
    names = [entry["name"] for entry in facts["files"]]
    assert names == ["1_Pooling/config.json", "config.json", "model.safetensors"]


def test_locked_sums_decide_what_the_revision_is_called(mirror, tmp_path):
    lock = {
        "repo": "SetFit/CR",
        "revision": COMMIT,
        "files": {"test.jsonl": {"bytes": len(ROWS), "sha256": sha256(ROWS)}},
    }
    facts = fetch(hub(mirror=str(mirror), lock=lock), tmp_path / "cr" / "manifest.json")
    assert (facts["revision"], facts["verified"]) == (COMMIT, "lock")
    (mirror / "datasets/SetFit/CR/test.jsonl").write_bytes(ROWS * 2)  # the rows twice, so different bytes
    facts = fetch(hub(mirror=str(mirror), lock=lock), tmp_path / "cr" / "manifest.json")
    assert facts["verified"] == "none" and facts["revision"].startswith("mirror-")


def test_https_sources_with_a_repository_are_read_from_the_mirror(mirror, tmp_path):
    facts = fetch(https(mirror=str(mirror)), tmp_path / "topics" / "manifest.json")
    assert (facts["revision"], facts["verified"]) == (COMMIT, "preset")
    (mirror / "datasets/org/topics/data/rows.json").write_bytes(b"[1]")
    facts = fetch(https(mirror=str(mirror)), tmp_path / "topics" / "manifest.json")
    assert facts["verified"] == "none" and facts["revision"] != COMMIT


def test_a_file_with_a_sum_and_no_revision_is_named_by_its_sum(mirror, tmp_path):
    source = https(mirror=str(mirror))
    del source["revision"]
    facts = fetch(source, tmp_path / "topics" / "manifest.json")
    assert (facts["revision"], facts["verified"]) == (sha256(b"[]")[:12], "preset")
    with pytest.raises(FetchError, match=r"--revision main .*"):
        fetch(source | {"files": ["gone.json"]}, tmp_path / "topics" / "manifest.json")


def test_the_variable_goes_before_the_config(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("ZSBENCH_MIRROR", str(mirror))
    facts = fetch(hub(mirror=str(tmp_path / "nowhere"), id="cr"), tmp_path / "cr" / "manifest.json")
    assert facts["origin"] == "mirror:datasets/SetFit/CR" and facts["source"] == hub()


def test_the_mirrors_own_sums_are_kept_to(mirror, tmp_path):
    (mirror / "SHA256SUMS").write_text(f"{sha256(ROWS)}  ./datasets/SetFit/CR/test.jsonl\n")
    assert fetch(hub(mirror=str(mirror)), tmp_path / "cr" / "manifest.json")["verified"] == "SHA256SUMS"
    (mirror / "datasets/SetFit/CR/test.jsonl").write_bytes(ROWS[:-5])
    with pytest.raises(FetchError, match="test.jsonl is damaged"):
        fetch(hub(mirror=str(mirror)), tmp_path / "other" / "manifest.json")


def test_stand_ins_are_marked(mirror, tmp_path):
    assert fetch(hub(mirror=str(mirror)), tmp_path / "cr" / "manifest.json")["replica"] is False
    (mirror / "REPLICA").touch()
    assert fetch(hub(mirror=str(mirror)), tmp_path / "cr" / "manifest.json")["replica"] is True


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (hub(repo="dair-ai/emotion", revision=COMMIT, files=["split/test.parquet"]), "datasets/dair-ai/emotion"),
        (hub(revision=COMMIT, files=["split/test.parquet"]), "datasets/SetFit/CR"),
        (hub(repo="org/gone", repo_type="model", revision=COMMIT, files=["split/test.parquet"]), "models/org/gone"),
        (https(repo="org/gone", files=["split/test.parquet"]), "datasets/org/gone"),
    ],
)
def test_a_miss_names_path_revision_and_what_to_do(mirror, tmp_path, source, path):
    manifest = tmp_path / "set" / "manifest.json"
    with pytest.raises(FetchError) as error:
        fetch(source | {"mirror": str(mirror)}, manifest)
    for word in (str(mirror / path), COMMIT, "split/test.parquet", f"hf download {source['repo']}", "--local-dir"):
        assert word in str(error.value)
    assert not manifest.parent.exists() or not any(manifest.parent.iterdir())


def test_a_miss_without_a_lock_names_the_branch(mirror, tmp_path):
    source = hub(repo="takala/bank", branch="refs/convert/parquet")
    with pytest.raises(FetchError, match="--revision refs/convert/parquet"):
        fetch(source | {"mirror": str(mirror)}, tmp_path / "set" / "manifest.json")


def test_a_mirror_never_falls_back_to_the_network(tmp_path):
    with pytest.raises(FetchError, match="there is no folder"):
        fetch(hub(mirror=str(tmp_path / "nowhere")), tmp_path / "set" / "manifest.json")


def test_a_changed_preset_leaves_no_file_of_the_old_one(mirror, tmp_path):
    manifest = tmp_path / "encoder" / "manifest.json"
    source = hub(repo="org/encoder", repo_type="model", files=["*.json", "*.safetensors"])
    fetch(source | {"mirror": str(mirror)}, manifest)
    facts = fetch(source | {"mirror": str(mirror), "files": ["config.json"]}, manifest)
    assert [entry["name"] for entry in facts["files"]] == ["config.json"]
    assert sorted(path.name for path in (manifest.parent / "files").iterdir()) == ["config.json"]


def test_files_changed_after_the_fetch_are_noticed(mirror, tmp_path):
    manifest = tmp_path / "cr" / "manifest.json"
    fetch(hub(mirror=str(mirror)), manifest)
    assert open_fetched(manifest)[1] == read_json(manifest)
    (tmp_path / "cr/files/test.jsonl").write_bytes(ROWS[:-1])
    with pytest.raises(IntegrityError, match="changed since it was made"):
        open_fetched(manifest)
