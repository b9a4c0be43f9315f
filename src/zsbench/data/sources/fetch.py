"""Fetching: from a source's description to files on disk and a manifest. The only stage that touches the network."""

import errno
import os
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zsbench.data.errors import DISK_FULL, FetchError
from zsbench.data.fetched import AUTHORED, stated
from zsbench.data.sources.files import choose
from zsbench.data.sources.https import Https, fetch_https
from zsbench.data.sources.hub import CHECKPOINT, Hub, fetch_hub
from zsbench.data.sources.mirror import fetch_mirror
from zsbench.data.sources.package import Package, fetch_package
from zsbench.data.sources.weights import to_safetensors
from zsbench.store.errors import suggest
from zsbench.store.fields import EntryError, Inside, Sha256, Strict, Text, absent
from zsbench.store.integrity import listing
from zsbench.store.provenance import digest, file_sha256, write_json
from zsbench.store.secrets import mask_all

CLIENT_NOTES = ".cache"  # what huggingface_hub writes beside downloads


class Authored(Strict):
    """A data set written by and shipped with this project."""

    kind: Literal["authored"]
    file: Inside = Field(description="path below authored/")

    @model_validator(mode="after")
    def _is_there(self) -> Any:
        known = [path.name for path in AUTHORED.glob("*.jsonl")]
        if self.file not in known:
            raise EntryError("file", f"unknown file {self.file!r}{suggest(self.file, known)}")
        return self

    def delivered(self) -> list[str]:
        """Names of the files that the source is fetched as."""
        return [self.file]


class Local(Strict):
    """A file of your own."""

    kind: Literal["local"]
    path: Text
    sha256: Sha256 | None = absent("expected checksum; the run stops if the content differs")

    def delivered(self) -> list[str]:
        """Names of the files that the source is fetched as."""
        return [Path(self.path).name]


class Folder(Strict):
    """A folder of your own with a checkpoint."""

    kind: Literal["folder"]
    path: Text

    def delivered(self) -> list[str]:
        """Names, or patterns, of the files that the source is fetched as."""
        return CHECKPOINT


def fetch_authored(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy a set that this project wrote and carries (`file` below `authored/`)."""
    origin = AUTHORED / source["file"]
    if not origin.is_file():
        known = ", ".join(sorted(path.name for path in AUTHORED.glob("*.jsonl"))) or "none"
        raise FetchError(f"unknown authored set {source['file']!r}; allowed: {known}")
    shutil.copyfile(origin, folder / origin.name)
    return {"origin": f"authored:{origin.name}", "revision": file_sha256(origin)[:12], "verified": "git"}


def fetch_local(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy a user's own csv, parquet or jsonl file (`path`, optional `sha256`)."""
    origin = Path(source["path"]).expanduser()
    if not origin.is_file():
        raise FetchError(
            f"no such file: {source['path']!r} (relative paths start at the directory where snakemake runs)"
        )
    checksum = file_sha256(origin)
    if source.get("sha256", checksum) != checksum:
        raise FetchError(f"{origin}: sha256 is {checksum}, expected {source['sha256']}")
    shutil.copyfile(origin, folder / origin.name)
    verified = "preset" if "sha256" in source else "none"
    return {"origin": f"local:{origin.name}", "revision": checksum[:12], "verified": verified}


def fetch_folder(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy the files of a checkpoint (`CHECKPOINT`) out of a user's own folder (`path`)."""
    origin = Path(source["path"]).expanduser()
    if not origin.is_dir():
        raise FetchError(
            f"no such folder: {source['path']!r} (relative paths start at the directory where snakemake runs)"
        )
    for name in choose([entry["name"] for entry in stated(origin)], CHECKPOINT, str(origin)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin / name, folder / name)
    return {"origin": f"folder:{origin.name}", "revision": digest(listing(folder)), "verified": "none"}


Source = Annotated[Package | Hub | Https | Authored | Local | Folder, Field(discriminator="kind")]
KINDS = {
    "package": fetch_package,
    "authored": fetch_authored,
    "local": fetch_local,
    "folder": fetch_folder,
    "https": fetch_https,
}


def fetch(
    source: dict[str, Any],
    manifest_path: Path,
    mirror: str | Path | None = None,
    lock: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Fetch one source and write its manifest: origin, revision, and bytes and sha256 of each file.

    Files arrive in `partial/` and are moved to `files/` when all are whole; the manifest comes last. What an
    interrupted fetch of the same source left in `partial/` is continued.

    Args:
        source: `kind` ("hub" or one of `KINDS`) and what that kind needs; `pickled` names weights to be kept as
            safetensors instead.
        manifest_path: `.../manifest.json`; the files go to `files/` beside it.
        mirror: a folder that stands for the hub: sources with a `repo` are read from it, and from nowhere else.
        lock: this source's entry of lock.yaml.

    Returns:
        The manifest.

    Raises:
        FetchError: the source cannot be had or is not what is pinned; `files/` is as it was before.
    """
    if source["kind"] not in (*KINDS, "hub"):
        raise FetchError(f"unknown source kind {source['kind']!r}; allowed: {', '.join(sorted([*KINDS, 'hub']))}")
    partial, folder = manifest_path.with_name("partial"), manifest_path.with_name("files")
    marker, key = partial / ".source", digest([source, lock, str(mirror)])
    if partial.exists() and (not marker.is_file() or marker.read_text() != key):
        shutil.rmtree(partial)  # parts of another source or revision
    _check_replaceable(folder)
    partial.mkdir(parents=True, exist_ok=True)
    marker.write_text(key)
    try:
        facts = _obtain(source, partial, Path(mirror).expanduser() if mirror else None, lock)
        if "pickled" in source:
            facts |= to_safetensors(partial, source["pickled"])
    except OSError as error:
        if error.errno in DISK_FULL:
            raise FetchError(
                f"disk full while writing {partial}; free some space and run again (complete files are kept)"
            ) from None
        raise
    except FetchError:
        if {path.name for path in partial.iterdir()} <= {marker.name, CLIENT_NOTES}:
            shutil.rmtree(partial)  # nothing there that a next attempt could continue
        raise
    marker.unlink()
    manifest = mask_all({"source": source, **facts, "files": listing(partial)})
    manifest_path.unlink(missing_ok=True)  # it speaks of the files that go now
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    write_json(manifest_path, manifest)
    return manifest


def _check_replaceable(folder: Path) -> None:
    """Raise while nothing is lost yet when another user's folders could not be removed.

    Raises:
        PermissionError: names the first of them.
    """
    for directory in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        if directory.exists() and not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))


def _obtain(source: dict[str, Any], folder: Path, mirror: Path | None, lock: dict[str, Any] | None) -> dict[str, Any]:
    """Put a source's files into `folder`; returns facts for the manifest."""
    if mirror is not None and "repo" in source:
        return fetch_mirror(source, folder, mirror, lock)
    if source["kind"] == "hub":
        return fetch_hub(source, folder, lock)
    return KINDS[source["kind"]](source, folder)
