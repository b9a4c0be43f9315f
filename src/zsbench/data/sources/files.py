"""Files of a source: those that its patterns name, and whether their checksums are the pinned ones."""

import hashlib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from zsbench.data.errors import FetchError
from zsbench.store.provenance import file_sha256


def choose(names: list[str], patterns: list[str], repo: str) -> list[str]:
    """Sorted names that match the patterns. A pattern without wildcards must match; one with wildcards may not.

    Raises:
        FetchError: a named file does not exist, or nothing matches.
    """
    missing = [pattern for pattern in patterns if not set(pattern) & set("*?[") and pattern not in names]
    if missing:
        shown = ", ".join(sorted(names)[:20]) or "nothing"
        raise FetchError(f"{repo} has no file {missing[0]!r}; it has: {shown}")
    chosen = sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
    if not chosen:
        raise FetchError(f"{repo}: no file matches {', '.join(patterns)}")
    return chosen


def wrong_sum(path: Path, pinned: dict[str, Any]) -> str | None:
    """Describe how a file differs from its pinned checksum or size; None if it matches.

    Args:
        pinned: `sha256`, or `git_sha1` (git's blob hash of a small file), and optionally `bytes`.
    """
    size = path.stat().st_size
    if size != pinned.get("bytes", size):
        return f"it has {size} bytes, {pinned['bytes']} are pinned"
    if "sha256" in pinned:
        actual, wanted, kind = file_sha256(path), pinned["sha256"], "sha256"
    else:
        content = path.read_bytes()
        # Git's blob hash, which the hub lists for files outside LFS; not used for security.
        actual = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        wanted, kind = pinned["git_sha1"], "git sha1"
    return None if actual == wanted else f"its {kind} is {actual}, {wanted} is pinned"
