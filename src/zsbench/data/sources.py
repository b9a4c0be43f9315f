"""Fetching: from a source's description to files on disk and a manifest. The only stage that touches the network."""

from pathlib import Path
from typing import Any

from zsbench.data.errors import FetchError
from zsbench.data.package_source import fetch_package
from zsbench.provenance import IntegrityError, file_sha256, read_json, write_atomic, write_json

AUTHORED = Path(__file__).parent / "authored"


def fetch_authored(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy a set that this project wrote and carries (`file` below `zsbench/data/authored`)."""
    origin = AUTHORED / source["file"]
    if not origin.is_file():
        known = ", ".join(sorted(path.name for path in AUTHORED.iterdir())) or "none"
        raise FetchError(f"no authored set {source['file']!r}; there are: {known}")
    write_atomic(folder / origin.name, lambda path: path.write_bytes(origin.read_bytes()))
    return {"origin": f"authored:{origin.name}", "revision": file_sha256(origin)[:12]}


def fetch_local(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy a user's own csv, parquet or jsonl file (`path`, optional `sha256`)."""
    origin = Path(source["path"]).expanduser()
    if not origin.is_file():
        raise FetchError(f"no file {source['path']!r} (relative paths start at the folder you run snakemake in)")
    found = file_sha256(origin)
    if source.get("sha256", found) != found:
        raise FetchError(f"{origin}: sha256 is {found}, the preset pins {source['sha256']}")
    write_atomic(folder / origin.name, lambda path: path.write_bytes(origin.read_bytes()))
    return {"origin": f"local:{origin.name}", "revision": found[:12]}


KINDS = {"package": fetch_package, "authored": fetch_authored, "local": fetch_local}


def fetch(source: dict[str, Any], manifest_path: Path) -> dict[str, Any]:
    """Fetch one source and write its manifest: origin, revision, and bytes and sha256 of each file.

    Args:
        source: `kind` (one of `KINDS`) and what that kind needs.
        manifest_path: `.../manifest.json`; the files go to `files/` beside it.

    Returns:
        The manifest.
    """
    kind = source["kind"]
    if kind not in KINDS:
        raise FetchError(f"source kind {kind!r} is not known; allowed: {', '.join(sorted(KINDS))}")
    folder = manifest_path.parent / "files"
    folder.mkdir(parents=True, exist_ok=True)
    facts = KINDS[kind](source, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = [
        {"name": str(path.relative_to(folder)), "bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in files
    ]
    manifest = {"source": source, **facts, "files": listing}
    write_json(manifest_path, manifest)
    return manifest


def open_fetched(manifest_path: Path) -> tuple[Path, dict[str, Any]]:
    """Folder and manifest of a fetched source, after checking every file's size and sum.

    Raises:
        IntegrityError: a file is missing or differs from what was fetched.
    """
    manifest = read_json(manifest_path)
    folder = manifest_path.parent / "files"
    for entry in manifest["files"]:
        path = folder / entry["name"]
        if not path.is_file() or file_sha256(path) != entry["sha256"]:
            raise IntegrityError(f"{path} is missing or changed since it was fetched; delete {manifest_path} and run again")
    return folder, manifest
