"""Provenance of files: hashes, atomic writes and the environment block of cards."""

import fcntl
import glob
import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

CARD_PACKAGES = ("torch", "transformers", "tokenizers", "sentence-transformers", "gliclass", "numpy", "pandas")
CHECKSUM = "checksum"  # key of a JSON object with the checksum of its other keys


class IntegrityError(RuntimeError):
    """The content of a stored file does not match its card or manifest."""


def canonical_json(value: Any) -> str:
    """JSON with a unique form per value: sorted keys, no spaces, non-ASCII characters kept; NaN raises ValueError."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of `value`'s canonical JSON, used as identity in keys and cards."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file, read in blocks."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a temporary file next to `path`, flush it to disk, then rename it to `path`.

    If killed at any point, either the old or the new file is there, never a partial one. If several processes write the
    same path, the last one wins. A temporary file left by a killed process (`.<name>.<random>.tmp`, not locked by any
    process) is removed at the next write of the same path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)  # marks the file as being written
        write(temporary)
        with temporary.open("rb") as written:  # reopen, because `write` may have replaced the file
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of `path` whose writers have ended, as their released locks show."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        try:
            with temporary.open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                temporary.unlink()
        except (FileNotFoundError, BlockingIOError, PermissionError):
            continue  # renamed in the meantime, still being written, or owned by another user


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write indented, key-sorted JSON atomically; an object gets a `checksum` of its content.

    Raises:
        ValueError: NaN or infinite numbers.
    """
    if isinstance(value, dict):
        value = {**value, CHECKSUM: digest(json.loads(json.dumps(value)))}  # of the value as a reader will see it
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; the `checksum` added by `write_json` is verified and removed.

    Raises:
        IntegrityError: not JSON (truncated or overwritten), or changed since it was written; names the file.
    """
    remedy = "delete it and run the same command again"
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        intact = not (isinstance(value, dict) and CHECKSUM in value and value.pop(CHECKSUM) != digest(value))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} is damaged ({error}); {remedy}") from error
    if not intact:
        raise IntegrityError(f"{path} was changed since it was written; {remedy}")
    return value


def environment() -> dict[str, str]:
    """Versions and hardware for a card, without private data: no environment variables, user or host names."""
    versions = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for package in CARD_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
