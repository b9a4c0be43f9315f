"""Common properties of sources: kinds, masking, authored and local files, and the published split."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.data.errors import DataError, FetchError
from zsbench.data.prepare import prepare_dataset, read_rows
from zsbench.data.sources.fetch import fetch
from zsbench.data.sources.files import choose
from zsbench.data.sources.lock import covers
from zsbench.store.provenance import read_json, write_json
from zsbench.store.secrets import mask, mask_all

TOPICS = {
    "id": "topics-published",
    "title": "Topics",
    "files": {"all": "rows.json"},
    "published_split": 42,
    "format": {"type": "json"},
    "text": "text",
    "gold": {"column": "labels", "values": ["a", "b"]},
    "labels": ["a", "b"],
    "label_names": ["a", "b"],
    "verbalisation": "plain",
    "task": "multi",
    "domain": "synthetic",
    "rows": None,
    "sample_seed": 0,
    "expected_rows": {"train": 16, "validation": 4},
    "licence": "MIT",
    "citation": "none",
}


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"text": f"text {i}", "labels": [["a"], ["b"], ["a", "b"]][i % 3]} for i in range(20)]))
    return path


def local(path, **changes):
    return {"kind": "local", "path": str(path)} | changes


def test_local_files_are_copied_and_checked(rows, tmp_path):
    manifest = tmp_path / "set" / "manifest.json"
    assert fetch(local(rows), manifest)["verified"] == "none"
    with pytest.raises(FetchError, match="expected"):
        fetch(local(rows, sha256="0" * 64), tmp_path / "other" / "manifest.json")
    assert not (tmp_path / "other" / "partial").exists()
    with pytest.raises(FileNotFoundError, match="gone.csv"):
        fetch(local(tmp_path / "gone.csv"), tmp_path / "other" / "manifest.json")


def test_published_split_is_the_publishers(rows, tmp_path):
    manifest = tmp_path / "set" / "manifest.json"
    fetch(local(rows), manifest)
    frame = read_rows(TOPICS, manifest)[0]
    random.seed(42)
    order = list(range(20))
    random.shuffle(order)
    assert sorted(frame.index[frame["split"] == "train"]) == sorted(order[:16])
    assert frame["text"].to_list() == [f"text {i}" for i in range(20)]  # file order is kept


def test_row_counts_are_the_publishers_unless_files_are_stand_ins(rows, tmp_path):
    manifest, card = tmp_path / "set" / "manifest.json", tmp_path / "card.json"
    fetch(local(rows), manifest)
    prepare_dataset(TOPICS, manifest, tmp_path / "rows.parquet", card)
    assert json.loads(card.read_text())["rows"] == {"train": 16, "validation": 4}
    other = TOPICS | {"expected_rows": {"train": 800, "validation": 200}}
    with pytest.raises(DataError, match="`datasets.*expected_rows`: .*, and the files have"):
        prepare_dataset(other, manifest, tmp_path / "rows.parquet", card)
    write_json(manifest, read_json(manifest) | {"replica": True})
    prepare_dataset(other, manifest, tmp_path / "rows.parquet", card)
    assert json.loads(card.read_text())["replica"] is True


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("token hf_abcdefGHIJ12abcdefGHIJ12abcdefGHIJ refused", "token hf_*** refused"),
        ("Authorization: Bearer abcdef.ghi-jkl", "Authorization: Bearer ***"),
        ("https://user:pass@host/simple x", "https://***@host/simple x"),
        ("GET https://cdn/x?Signature=abc&Key=1 failed", "GET https://cdn/x?*** failed"),
        ("'https://cdn/x?a=1'", "'https://cdn/x?***'"),
        ("is it at https://host/file?", "is it at https://host/file?"),
    ],
)
def test_secrets_are_masked(text, masked):
    assert mask(text) == masked
    assert str(FetchError(text)) == masked
    assert mask_all({"a": [text, 1, None]}) == {"a": [masked, 1, None]}


def test_a_token_of_another_form_is_masked(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "corp-token-0001")
    assert mask("sent corp-token-0001") == "sent ***"


NAMES = [f"{folder}{name}.{kind}" for folder in ("", "sub/") for name in "ab" for kind in ("json", "bin")]


@given(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
@settings(max_examples=30)
def test_choose_and_covers_agree(names):
    wanted = [names[0], "*.json"]
    chosen = choose(names, wanted, "repo")
    assert set(chosen) == {name for name in names if name == names[0] or name.endswith(".json")}
    entry = {"repo": "a/b", "revision": "c", "files": dict.fromkeys(chosen, {})}
    assert covers(entry, {"repo": "a/b", "files": wanted})
    assert not covers(entry, {"repo": "a/other", "files": wanted})
    assert not covers(entry, {"repo": "a/b", "files": [*wanted, "missing.txt"]})
