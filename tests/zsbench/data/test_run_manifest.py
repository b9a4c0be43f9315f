"""One file says what a run fetched."""

from pathlib import Path

from zsbench.data.fetched import write_run_manifest
from zsbench.data.sources.fetch import fetch
from zsbench.store.layout import Layout
from zsbench.store.provenance import file_sha256, read_json


def test_every_source_with_origin_revision_sizes_and_sums(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("text,label\na,b\n")
    layout = Layout(tmp_path / "results" / "tiny")
    fetch({"kind": "local", "path": str(tmp_path / "mine.csv")}, layout.fetched("mine"))
    fetch({"kind": "authored", "file": "topics-mini.jsonl"}, layout.fetched("topics"))
    write_run_manifest(layout, ["mine", "topics"])
    manifest = read_json(layout.manifest)
    assert manifest["run"] == "tiny" and list(manifest["sources"]) == ["mine", "topics"]
    mine = manifest["sources"]["mine"]
    size, total = (tmp_path / "mine.csv").stat().st_size, file_sha256(tmp_path / "mine.csv")
    assert mine["files"] == [{"name": "mine.csv", "bytes": size, "sha256": total}]
    assert (mine["kind"], mine["origin"], mine["verified"], mine["bytes"]) == ("local", "local:mine.csv", "none", size)
    assert manifest["sources"]["topics"]["verified"] == "git"
    assert manifest["bytes"] == size + manifest["sources"]["topics"]["bytes"]
