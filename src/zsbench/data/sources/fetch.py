"""Fetching: turns a source's description into files on disk and a manifest."""

import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zsbench.data.errors import FetchError
from zsbench.data.fetched import AUTHORED, content_at_hand, listing_by_time
from zsbench.data.sources.files import choose
from zsbench.data.sources.https import Https, fetch_https
from zsbench.data.sources.hub import CHECKPOINT, Hub, fetch_hub
from zsbench.data.sources.mirror import fetch_mirror, mirror_of
from zsbench.data.sources.package import Package, fetch_package
from zsbench.data.sources.weights import to_safetensors
from zsbench.store.errors import suggest
from zsbench.store.fields import EntryError, Inside, Sha256, Some, Strict, Text, absent
from zsbench.store.integrity import listing
from zsbench.store.provenance import digest, file_sha256, write_json
from zsbench.store.secrets import mask_all

CLIENT_NOTES = ".cache"  # folder that huggingface_hub writes next to downloads


class Authored(Strict):
    """Data written by and shipped with this project."""

    kind: Literal["authored"]
    files: Some[Inside] = Field(description="paths below authored/")

    @model_validator(mode="after")
    def _are_there(self) -> Any:
        known = [path.name for path in AUTHORED.glob("*.jsonl")]
        for name in self.files:
            if name not in known:
                raise EntryError("files", f"unknown file {name!r}{suggest(name, known)}")
        return self

    def delivered(self) -> list[str]:
        """Names of the files that the source is fetched as."""
        return self.files


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
    """Copy data written for this project (`files` below `authored/`); returns facts for the manifest."""
    for name in source["files"]:
        shutil.copyfile(AUTHORED / name, folder / name)
    origin = f"authored:{', '.join(source['files'])}"
    return {"origin": origin, "revision": content_at_hand(source)[:12], "verified": "git"}


def fetch_local(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy a user's file (`path`, optional `sha256`); returns facts for the manifest."""
    origin = Path(source["path"]).expanduser()
    checksum = file_sha256(origin)
    if source.get("sha256", checksum) != checksum:
        raise FetchError(f"{origin}: sha256 is {checksum}, expected {source['sha256']}")
    shutil.copyfile(origin, folder / origin.name)
    verified = "preset" if "sha256" in source else "none"
    return {"origin": f"local:{origin.name}", "revision": checksum[:12], "verified": verified}


def fetch_folder(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy the files of a checkpoint (`CHECKPOINT`) from a user's folder (`path`); returns facts for the manifest."""
    origin = Path(source["path"]).expanduser()
    for name in choose([entry["name"] for entry in listing_by_time(origin)], CHECKPOINT, str(origin)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin / name, folder / name)
    return {"origin": f"folder:{origin.name}", "revision": digest(listing(folder)), "verified": "none"}


Source = Annotated[Package | Hub | Https | Authored | Local | Folder, Field(discriminator="kind")]
KINDS = {
    "package": fetch_package,
    "hub": fetch_hub,
    "https": fetch_https,
    "authored": fetch_authored,
    "local": fetch_local,
    "folder": fetch_folder,
}


def fetch(spec: dict[str, Any], manifest_path: Path) -> dict[str, Any]:
    """Fetch one source and write its manifest: origin, revision, and size (bytes) and SHA-256 of each file.

    Files are downloaded to `partial/` and moved to `files/` when all are complete; the manifest is written last. An
    interrupted fetch of the same source continues from `partial/`.

    Args:
        spec: a source with its `lock` and `mirror` (`Plan.source_spec`); `pickled` names a weights file to convert to
            safetensors.
        manifest_path: `.../manifest.json`; the files go to `files/` next to it.

    Returns:
        The manifest.

    Raises:
        FetchError: the source is unavailable or differs from what is pinned; `files/` is then left unchanged.
    """
    partial, folder, mirror = manifest_path.with_name("partial"), manifest_path.with_name("files"), mirror_of(spec)
    marker, key = partial / ".source", digest([spec, str(mirror)])
    if partial.exists() and (not marker.is_file() or marker.read_text() != key):
        shutil.rmtree(partial)  # left by another source or revision
    partial.mkdir(parents=True, exist_ok=True)
    marker.write_text(key)
    try:
        facts = fetch_mirror(spec, partial, mirror) if mirror else KINDS[spec["kind"]](spec, partial)
        if "pickled" in spec:
            facts |= to_safetensors(partial, spec["pickled"])
    except FetchError:
        if {path.name for path in partial.iterdir()} <= {marker.name, CLIENT_NOTES}:
            shutil.rmtree(partial)  # nothing to resume from
        raise
    marker.unlink()
    source = {key: value for key, value in spec.items() if key not in ("id", "mirror", "lock")}
    manifest = mask_all({"source": source, **facts, "files": listing(partial)})
    manifest_path.unlink(missing_ok=True)  # it describes the files that are replaced now
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    write_json(manifest_path, manifest)
    return manifest
