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
CHECKSUM = "checksum"  # key by which a JSON object vouches for the rest of it


class IntegrityError(RuntimeError):
    """The content of a stored file does not match its card or manifest."""


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, NaN refused, non-ASCII kept."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """First 16 hex digits of the sha256 of `value`'s canonical JSON: the identity used in keys and cards."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Full sha256 of a file, read in blocks."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, then rename it into place.

    A kill at any point leaves either the old file or the new one, never a part. Several processes may write one path:
    the last one wins. What a killed one left (`.<name>.<random>.tmp`, which no process has locked) goes with the next
    write of the same path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)  # says that somebody is writing here
        write(temporary)
        with temporary.open("rb") as written:  # `write` may have put another file in its place
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of `path` whose writers are gone; their locks went with them."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        try:
            with temporary.open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                temporary.unlink()
        except (FileNotFoundError, BlockingIOError, PermissionError):
            continue  # renamed meanwhile, still being written, or another user's


def write_text(path: Path, text: str) -> None:
    """Atomic UTF-8 text file."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Atomic, indented, key-sorted JSON; NaN and infinities are refused. An object gets a `checksum` of its content."""
    if isinstance(value, dict):
        value = {**value, CHECKSUM: digest(json.loads(json.dumps(value)))}  # of what a reader will see
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; the error of a damaged file names it. A `checksum` that `write_json` added is checked and left out.

    Raises:
        IntegrityError: not JSON (cut short or overwritten), or not what was written.
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
    """Versions and machine facts for a card. Nothing secret: no environment variables, no user or host name."""
    versions = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for package in CARD_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
