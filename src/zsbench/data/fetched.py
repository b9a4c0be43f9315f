"""Read fetched files. Separate from fetching, so that changes to download code do not trigger preparation."""

from pathlib import Path
from typing import Any

from zsbench.data.errors import DataError
from zsbench.store.integrity import check_listed
from zsbench.store.layout import PROJECT, Layout
from zsbench.store.provenance import digest, file_sha256, read_json, write_json

AUTHORED = PROJECT / "authored"  # data sets written for and shipped with this project


def paths_at_hand(source: dict[str, Any]) -> list[Path]:
    """The local files or folder (the user's or the project's) that a source copies; none for remote sources."""
    if source["kind"] in ("local", "folder"):
        return [Path(source["path"]).expanduser()]
    return [AUTHORED / name for name in source["files"]] if source["kind"] == "authored" else []


def listing_by_time(folder: Path) -> list[dict[str, Any]]:
    """Name, size (bytes) and modification time (ns) of every file in a folder, to detect edits without reading them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {"name": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "time": path.stat().st_mtime_ns}
        for path in files
    ]


def content_at_hand(source: dict[str, Any]) -> str:
    """Digest that identifies the content of a source's local files or folder; "" for other or missing sources."""
    parts = [
        digest(listing_by_time(path)) if path.is_dir() else file_sha256(path)
        for path in paths_at_hand(source)
        if path.exists()
    ]
    return parts[0] if len(parts) == 1 else digest(parts) if parts else ""


def open_fetched(manifest_path: Path) -> tuple[Path, dict[str, Any]]:
    """Folder and manifest of a fetched source, after checking every file's size and checksum.

    Raises:
        IntegrityError: a file is missing or differs from what was fetched.
    """
    manifest = read_json(manifest_path)
    folder = manifest_path.parent / "files"
    check_listed(folder, manifest["files"], manifest_path)
    return folder, manifest


def fetched_file(folder: Path, name: str) -> Path:
    """Path of a fetched file, given its name in the preset's `files`.

    Raises:
        DataError: no such file; lists the available files.
    """
    if not (folder / name).is_file():
        there = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        raise DataError(f"`files`: the source has no file {name!r}; allowed: {', '.join(there[:20])}")
    return folder / name


def write_run_manifest(layout: Layout, licences: dict[str, str]) -> None:
    """Write the run's `manifest.json`: for every source its kind, origin, revision, verification, licence and files.

    Args:
        licences: source id -> licence; all these sources must be fetched.
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
