"""Hub repositories read from a folder: `<mirror>/{datasets,models}/<owner>/<name>/<file>`, laid out as in the hub."""

import os
import shutil
from pathlib import Path
from typing import Any

from zsbench.data.errors import FetchError
from zsbench.data.sources.files import choose, wrong_sum
from zsbench.data.sources.https import file_name
from zsbench.data.sources.hub import wanted_revision
from zsbench.store.provenance import digest, file_sha256

REPLICA = "REPLICA"  # a file of this name marks a mirror with replicas for a rehearsal, not the publishers' rows


def mirror_of(source: dict[str, Any]) -> Path | None:
    """The folder to read instead of the network: ZSBENCH_MIRROR or the config's; None for sources without a `repo`."""
    mirror = os.environ.get("ZSBENCH_MIRROR") or source.get("mirror")
    return Path(mirror).expanduser() if mirror and "repo" in source else None


def fetch_mirror(source: dict[str, Any], folder: Path, mirror: Path) -> dict[str, Any]:
    """Copy the files that a preset names from a mirror.

    Files are checked against the mirror's `SHA256SUMS` if it lists them. If all files match the checksums in the preset
    or the lock, the manifest records the pinned revision, otherwise a digest of the mirror's files.

    Args:
        source: a hub source, or an https source that names its `repo`.
        folder: where the files go, laid out as in the repository.

    Returns:
        Facts for the manifest: `origin`, `revision`, `verified`, `replica`.

    Raises:
        FetchError: no such folder or file (the message names path and revision), or a damaged file.
    """
    repo_folder, chosen, sums = _repo_folder(source), look_up(source, mirror), _sums(mirror)
    for name in chosen:
        path, listed = mirror / repo_folder / name, sums.get(f"{repo_folder}/{name}")
        if listed is not None and listed != file_sha256(path):
            raise FetchError(f"{path} is damaged: its sha256 is not the one in {mirror / 'SHA256SUMS'}; copy it again")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    verified = _verified(source, folder, chosen)
    pinned = wanted_revision(source) or source.get("sha256", "")[:12]
    mirror_revision = "mirror-" + digest([[name, file_sha256(folder / name)] for name in chosen])
    return {
        "origin": f"mirror:{repo_folder}",
        "revision": pinned if verified and pinned else mirror_revision,
        "verified": verified or ("SHA256SUMS" if sums else "none"),
        "replica": (mirror / REPLICA).is_file(),
    }


def look_up(source: dict[str, Any], mirror: Path) -> list[str]:
    """Names of the mirror's files that a preset selects, relative to the repository's folder. Reads no file.

    Raises:
        FetchError: no such folder or file; the message names path and revision.
    """
    root, patterns = mirror / _repo_folder(source), _patterns(source)
    names = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and ".cache" not in path.parts]
    try:
        if not root.is_dir():
            raise FetchError(f"there is no folder {root}")
        return choose(names, patterns, str(root))
    except FetchError as error:
        kind, pinned, branch = _repo_type(source), wanted_revision(source), source.get("branch", "main")
        command = f"hf download {source['repo']} --repo-type {kind} --revision {pinned or branch} --local-dir {root}"
        raise FetchError(
            f"the mirror {mirror} lacks {kind} {source['repo']}: {error}. Wanted: {', '.join(patterns)} at revision "
            f"{pinned or f'{branch} (not locked yet)'}, below {root}. With the hub at hand: `{command}`"
        ) from None


def _repo_type(source: dict[str, Any]) -> str:
    return source.get("repo_type", "dataset")


def _repo_folder(source: dict[str, Any]) -> str:
    return f"{_repo_type(source)}s/{source['repo']}"


def _patterns(source: dict[str, Any]) -> list[str]:
    return [file_name(source)] if source["kind"] == "https" else source["files"]


def _sums(mirror: Path) -> dict[str, str]:
    """{path: SHA-256} from a mirror's `SHA256SUMS`; empty if there is none."""
    path = mirror / "SHA256SUMS"
    if not path.is_file():
        return {}
    rows = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name.lstrip("*").strip().removeprefix("./"): total for total, name in rows}


def _verified(source: dict[str, Any], folder: Path, chosen: list[str]) -> str | None:
    """Whose pinned checksums all files match: "preset", "lock" or None."""
    lock = source.get("lock")
    if "sha256" in source:
        return "preset" if wrong_sum(folder / chosen[0], {"sha256": source["sha256"]}) is None else None
    if lock is None or any(name not in lock["files"] for name in chosen):
        return None
    return "lock" if all(wrong_sum(folder / name, lock["files"][name]) is None for name in chosen) else None
