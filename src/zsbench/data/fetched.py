"""Read fetched files. Separate from fetching, so that changes to download code do not trigger preparation."""

from pathlib import Path
from typing import Any

from zsbench.data.errors import DataError
from zsbench.store.integrity import check_listed
from zsbench.store.layout import PROJECT, Layout
from zsbench.store.provenance import digest, file_sha256, read_json, write_json

AUTHORED = PROJECT / "authored"  # the sets that this project wrote and carries


def file_at_hand(source: dict[str, Any]) -> Path | None:
    """The file or folder on this machine that a source is a copy of, a user's or the project's; None for others."""
    if source["kind"] in ("local", "folder"):
        return Path(source["path"]).expanduser()
    return AUTHORED / source["file"] if source["kind"] == "authored" else None


def stated(folder: Path) -> list[dict[str, Any]]:
    """Name, size and time of every file of a folder: what tells an edit of a checkpoint without reading gigabytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {"name": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "time": path.stat().st_mtime_ns}
        for path in files
    ]


def content_at_hand(source: dict[str, Any]) -> str:
    """What identifies the content of the file or folder on this machine that a source is a copy of; "" for others."""
    path = file_at_hand(source)
    if path is None:
        return ""
    return digest(stated(path)) if path.is_dir() else file_sha256(path) if path.is_file() else ""


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
        DataError: no such file; lists the available files.
    """
    if not (folder / name).is_file():
        there = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        raise DataError(f"`files`: the source has no file {name!r}; allowed: {', '.join(there[:20])}")
    return folder / name


def write_run_manifest(layout: Layout, licences: dict[str, str]) -> None:
    """Everything a run fetched in one file: kind, origin, revision, what vouches for it, licence, files.

    Args:
        layout: the run; `manifest.json` is written at its top.
        licences: of every source, all of which are fetched.
    """
    keys = ("origin", "revision", "verified", "replica", "converted", "files")
    entries = {}
    for name, licence in licences.items():
        manifest = read_json(layout.fetched(name))
        facts = {key: manifest[key] for key in keys if key in manifest}
        size = sum(entry["bytes"] for entry in manifest["files"])
        entries[name] = {"kind": manifest["source"]["kind"], "bytes": size, "licence": licence, **facts}
    total = sum(entry["bytes"] for entry in entries.values())
    write_json(layout.manifest, {"run": layout.root.name, "bytes": total, "sources": entries})
