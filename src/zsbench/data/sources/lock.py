"""`workflow/resources/lock.yaml`: commit, and file sizes and checksums, of every hub source with `revision: lock`.

An entry is written when a source is first needed, or for all sources by `zsbench fetch --lock`; every later fetch is
verified against it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from zsbench.data.errors import FetchError
from zsbench.data.sources.files import choose
from zsbench.data.sources.hub import hub_listing, wanted_revision
from zsbench.store.errors import ConfigError
from zsbench.store.provenance import write_text

# libyaml's safe loader, if available: ten times faster and just as strict.
SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
HEADER = (
    "# Written when a source is first needed; every fetch verifies against it. Remove an entry to resolve it again.\n"
)


def read_lock(path: Path) -> dict[str, dict[str, Any]]:
    """Entries by source id: `repo`, `revision` (commit) and `files` (path -> `bytes` and `sha256` or `git_sha1`).

    Raises:
        ConfigError: the file is damaged.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), SAFE_LOADER) if path.is_file() else None
        return dict((content or {}).get("sources") or {})
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not a lock file: {error}; restore it, or delete it to pin anew") from error


def write_lock(sources: dict[str, dict[str, Any]], path: Path) -> dict[str, dict[str, Any]]:
    """Resolve every hub source with `revision: lock` that is not in the lock yet, and write the lock.

    Only commits, sizes and checksums are requested from the hub; no file is downloaded. An entry is resolved again if
    its repository or file list changed in the preset.

    Returns:
        The whole lock.

    Raises:
        FetchError: a repository cannot be read; entries resolved before are kept.
    """
    lock = read_lock(path)
    try:
        for name, source in sources.items():
            locked = source["kind"] == "hub" and source.get("revision", "lock") == "lock"
            if locked and not covers(lock.get(name), source):
                commit, listing = hub_listing(source, source.get("branch", "main"))
                lock[name] = {"repo": source["repo"], "revision": commit, "files": listing}
    finally:
        if lock:
            text = yaml.safe_dump({"sources": dict(sorted(lock.items()))}, sort_keys=False, allow_unicode=True)
            write_text(path, HEADER + text)
    return lock


def lock_file(workflow: Path) -> Path:
    """Path of the lock file: next to the presets, or in the working folder if zsbench is an installed package."""
    inside = workflow / "resources" / "lock.yaml"
    return Path("lock.yaml") if "site-packages" in inside.absolute().parts else inside


def pin_unlocked(sources: dict[str, dict[str, Any]], names: list[str], path: Path) -> Iterator[str]:
    """Pin sources without a commit to the hub's current one: in the lock file, and in place as their `lock`.

    Args:
        sources: presets by id, each with its lock entry (`lock`) if there is one.

    Yields:
        One line per source, with its commit and size. If one cannot be pinned, the last line tells why.
    """
    for name in names:
        source = sources[name]
        if source["kind"] != "hub" or wanted_revision(source) is not None:
            continue
        try:
            entry = source["lock"] = write_lock({name: source}, path)[name]
        except FetchError as error:
            yield f"not pinned: {error}"
            return
        size = sum(file["bytes"] for file in entry["files"].values())
        yield f"pinned {source['repo']} at {entry['revision'][:12]} ({size / 1e6:,.0f} MB) in {path}"


def covers(entry: dict[str, Any] | None, source: dict[str, Any]) -> bool:
    """Whether a lock entry was resolved for this repository and these files."""
    if entry is None or entry["repo"] != source["repo"]:
        return False
    try:
        return set(choose(list(entry["files"]), source["files"], source["repo"])) == set(entry["files"])
    except FetchError:
        return False
