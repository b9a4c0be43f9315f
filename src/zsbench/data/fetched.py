"""What was fetched, read back. Apart from fetching, so that an edit of a download's code prepares nothing again."""

from pathlib import Path
from typing import Any

from zsbench.data.errors import DataError
from zsbench.store.integrity import check_listed
from zsbench.store.layout import WORKFLOW, Layout
from zsbench.store.provenance import read_json, write_json

AUTHORED = WORKFLOW.parent / "authored"  # the sets that this project wrote and carries


def file_at_hand(source: dict[str, Any]) -> Path | None:
    """The file on this machine that a source is a copy of, a user's own or one of the project's; None for others."""
    if source["kind"] == "local":
        return Path(source["path"]).expanduser()
    return AUTHORED / source["file"] if source["kind"] == "authored" else None


def open_fetched(manifest_path: Path) -> tuple[Path, dict[str, Any]]:
    """Folder and manifest of a fetched source, after checking every file's size and sum.

    Raises:
        IntegrityError: a file is missing or differs from what was fetched.
    """
    manifest = read_json(manifest_path)
    folder = manifest_path.parent / "files"
    check_listed(folder, manifest["files"], manifest_path)
    return folder, manifest


def fetched_file(folder: Path, name: str) -> Path:
    """A fetched source's file by the name that a preset's `files` gives.

    Raises:
        DataError: there is none; says which there are.
    """
    if not (folder / name).is_file():
        there = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        raise DataError(f"the source has no file {name!r}, which `files` names; it has: {', '.join(there[:20])}")
    return folder / name


def write_run_manifest(layout: Layout, sources: list[str]) -> None:
    """Everything a run fetched in one file: kind, origin, revision, what vouches for it, and each file's size and sum.

    Args:
        layout: the run; `manifest.json` is written at its top.
        sources: ids, all fetched.
    """
    kept = ("origin", "revision", "verified", "replica", "converted", "files")
    entries = {}
    for name in sources:
        manifest = read_json(layout.fetched(name))
        facts = {key: manifest[key] for key in kept if key in manifest}
        size = sum(entry["bytes"] for entry in manifest["files"])
        entries[name] = {"kind": manifest["source"]["kind"], "bytes": size, **facts}
    total = sum(entry["bytes"] for entry in entries.values())
    write_json(layout.manifest, {"run": layout.root.name, "bytes": total, "sources": entries})
