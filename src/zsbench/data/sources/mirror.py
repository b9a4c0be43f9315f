"""Hub repositories read from a folder: `<mirror>/{datasets,models}/<owner>/<name>/<file>`, laid out as in the hub."""

import shutil
from pathlib import Path
from typing import Any

from zsbench.data.errors import FetchError
from zsbench.data.sources.files import choose, wrong_sum
from zsbench.data.sources.https import file_name
from zsbench.data.sources.hub import wanted_revision
from zsbench.store.provenance import digest, file_sha256, write_atomic

REPLICA = "REPLICA"  # a file of this name marks a mirror with replicas for a rehearsal, not the publishers' rows


def fetch_mirror(source: dict[str, Any], folder: Path, mirror: Path, lock: dict[str, Any] | None) -> dict[str, Any]:
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
    repo_folder, wanted = _repo_folder(source), _wanted(source, lock)
    root, chosen = mirror / repo_folder, look_up(source, mirror, lock)
    sums = _sums(mirror)
    for name in chosen:
        listed = sums.get(f"{repo_folder}/{name}")
        if listed is not None and listed != file_sha256(root / name):
            raise FetchError(
                f"{root / name} is damaged: its sha256 is not the one in {mirror / 'SHA256SUMS'}; copy it again"
            )
        write_atomic(folder / name, lambda path, name=name: shutil.copyfile(root / name, path))  # type: ignore[misc]
    verified = _verified(source, folder, chosen, lock)
    mirror_revision = "mirror-" + digest([[name, file_sha256(folder / name)] for name in chosen])
    return {
        "origin": f"mirror:{repo_folder}",
        "revision": wanted if verified else mirror_revision,
        "verified": verified or ("SHA256SUMS" if sums else "none"),
        "replica": (mirror / REPLICA).is_file(),
    }


def look_up(source: dict[str, Any], mirror: Path, lock: dict[str, Any] | None) -> list[str]:
    """Names of the mirror's files that a preset selects, relative to the repository's folder. Reads no file.

    Raises:
        FetchError: no such folder or file; the message names path and revision.
    """
    root, wanted = mirror / _repo_folder(source), _wanted(source, lock)
    if not root.is_dir():
        raise FetchError(_miss(source, root, wanted, mirror, f"there is no folder {root}"))
    names = sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and ".cache" not in path.parts
    )
    patterns = [file_name(source)] if source["kind"] == "https" else source["files"]
    try:
        return choose(names, patterns, str(root))
    except FetchError as error:
        raise FetchError(_miss(source, root, wanted, mirror, str(error))) from None


def _repo_folder(source: dict[str, Any]) -> str:
    return f"{source.get('repo_type', 'dataset')}s/{source['repo']}"


def _wanted(source: dict[str, Any], lock: dict[str, Any] | None) -> str:
    return wanted_revision(source, lock) or f"{source.get('branch', 'main')} (not locked yet)"


def _miss(source: dict[str, Any], root: Path, wanted: str, mirror: Path, problem: str) -> str:
    kind = source.get("repo_type", "dataset")
    files = [file_name(source)] if source["kind"] == "https" else source["files"]
    revision = source.get("branch", "main") if "not locked" in wanted else wanted
    command = f"hf download {source['repo']} --repo-type {kind} --revision {revision} --local-dir {root}"
    return (
        f"the mirror {mirror} lacks {kind} {source['repo']}: {problem}. Wanted: {', '.join(files)} at revision "
        f"{wanted}, below {root}. With the hub at hand: `{command}`"
    )


def _sums(mirror: Path) -> dict[str, str]:
    """{path: SHA-256} from a mirror's `SHA256SUMS`; empty if there is none."""
    path = mirror / "SHA256SUMS"
    if not path.is_file():
        return {}
    rows = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name.lstrip("*").strip().removeprefix("./"): total for total, name in rows}


def _verified(source: dict[str, Any], folder: Path, chosen: list[str], lock: dict[str, Any] | None) -> str | None:
    """Whose pinned checksums all files match: "preset", "lock" or None."""
    if "sha256" in source:
        return "preset" if wrong_sum(folder / chosen[0], {"sha256": source["sha256"]}) is None else None
    if lock is None or any(name not in lock["files"] for name in chosen):
        return None
    return "lock" if all(wrong_sum(folder / name, lock["files"][name]) is None for name in chosen) else None
