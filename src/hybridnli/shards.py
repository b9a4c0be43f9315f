"""Shards: one numpy array with a description of its rows, written whole or not at all, checked when read.

A shard is two files, `<kind>-<id>.npy` and `<kind>-<id>.json`. The json holds the row names, the sizes and the sha256
of both; it is written last, so an array without it is what a killed run left and is never read.
"""

import fcntl
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

__all__ = [
    "CheckedShards",
    "DamagedStoreError",
    "Shard",
    "key_is_sound",
    "only_writer",
    "read_key",
    "read_shards",
    "sound_shards",
    "write_key",
    "write_shard",
]

CHUNK = 1 << 22  # bytes read at a time when a file is hashed
PARTIAL = ".writing-"  # prefix of files that are not complete yet


class DamagedStoreError(ValueError):
    """A stored file is not what was written; the message names it and says what to delete."""


@dataclass(frozen=True)
class Shard:
    """An array and what its rows are.

    Attributes:
        rows: key of each row (hash of a text).
        columns: key of each column; empty where columns are plain dimensions.
        lengths: array rows that each key takes up, in order (ragged); all 1 for a plain matrix.
        array: memory-mapped, read-only.
    """

    rows: list[str]
    columns: list[str]
    lengths: np.ndarray
    array: np.ndarray


CheckedShards = dict[Path, Shard]  # by description file: what has been read and checked, so that it is not again


@dataclass(frozen=True)
class _Header:
    rows: list[str]
    columns: list[str]
    lengths: list[int]
    shape: list[int]
    dtype: str
    sha256: str  # of the array file

    def checksum(self) -> str:
        return _sum(asdict(self))


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Wait until no other process writes to `folder`, and clear what a killed one left half written.

    The lock belongs to the process: the system releases it also when the process is killed.
    """
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in folder.glob(f"{PARTIAL}*"):
            path.unlink()
        yield


def write_shard(
    folder: Path, kind: str, rows: Sequence[str], columns: Sequence[str], lengths: np.ndarray, array: np.ndarray
) -> None:
    """Write one shard; afterwards it is complete on disk, and before that it does not exist for a reader.

    Raises:
        ValueError: `array` holds non-finite values, or its length is not the sum of `lengths`.
    """
    if not np.isfinite(array).all():
        raise ValueError(f"{kind}: the array holds non-finite values after conversion to {array.dtype}")
    if int(lengths.sum()) != len(array) or len(lengths) != len(rows):
        raise ValueError(f"{kind}: {len(rows)} rows of {int(lengths.sum())} in all do not fit an array of {len(array)}")
    name = hashlib.sha256(json.dumps([list(rows), list(columns)]).encode()).hexdigest()[:16]
    path = folder / f"{kind}-{name}.npy"
    _write_atomic(path, lambda file: np.save(file, array))
    header = _Header(
        rows=list(rows),
        columns=list(columns),
        lengths=lengths.tolist(),
        shape=list(array.shape),
        dtype=str(array.dtype),
        sha256=_file_sha256(path),
    )
    _write_json(path.with_suffix(".json"), {"header": asdict(header), "sha256": header.checksum()})


def read_shards(folder: Path, kind: str, checked: CheckedShards | None = None) -> list[Shard]:
    """All complete shards of a kind, in order of their file names.

    Args:
        folder: of one key.
        kind: first part of the file names.
        checked: shards that are taken as they are; those read now are added.

    Raises:
        DamagedStoreError: a file is missing, cut short or changed since it was written.
    """
    checked = {} if checked is None else checked
    return [_once(path, checked) for path in sorted(folder.glob(f"{kind}-*.json"))]


def sound_shards(folder: Path, kind: str, checked: CheckedShards) -> list[Shard]:
    """Like `read_shards`, for the one writer: a damaged shard is removed, with a warning, so that it is made again."""
    shards = []
    for path in sorted(folder.glob(f"{kind}-*.json")):
        try:
            shards.append(_once(path, checked))
        except DamagedStoreError as error:
            warnings.warn(f"{folder / path.stem}: damaged, its rows are made again ({error})", stacklevel=2)
            path.unlink()
            path.with_suffix(".npy").unlink(missing_ok=True)
    return shards


def key_is_sound(folder: Path) -> bool:
    """Whether `key.json` is there and as it was written; a damaged one gets a warning, since it is written again."""
    if not (folder / "key.json").is_file():
        return False
    try:
        read_key(folder)
    except DamagedStoreError as error:
        warnings.warn(f"{folder / 'key.json'}: damaged, it is made again ({error})", stacklevel=2)
        return False
    return True


def write_key(folder: Path, key: dict) -> None:
    """Write `key.json`, what all shards of the folder depend on, with its own sum."""
    _write_json(folder / "key.json", {**key, "sha256": _sum(key)})


def read_key(folder: Path) -> dict:
    """What `write_key` wrote.

    Raises:
        DamagedStoreError: it is not what was written.
    """
    path = folder / "key.json"
    try:
        key = json.loads(path.read_text())
        intact = key.pop("sha256") == _sum(key)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedStoreError(f"{path} is damaged ({error!r}); delete it and build again") from error
    if not intact:
        raise DamagedStoreError(f"{path} was changed since it was written; delete it and build again")
    return key


def _sum(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write_json(path: Path, content: dict) -> None:
    """Write a json file in one step (readers see the old file or the new one)."""
    text = json.dumps(content, ensure_ascii=True)
    _write_atomic(path, lambda file: file.write(text.encode()))


def _once(path: Path, checked: CheckedShards) -> Shard:
    if path not in checked:
        checked[path] = _read_shard(path)
    return checked[path]


def _read_shard(path: Path) -> Shard:
    array_path = path.with_suffix(".npy")
    remedy = f"delete {path.name} and {array_path.name} in {path.parent} and build again: only their rows are encoded"
    try:
        content = json.loads(path.read_text())
        header = _Header(**content["header"])
        intact = header.checksum() == content["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStoreError(f"{path.name} is not a shard description ({error}); {remedy}") from error
    if not intact:
        raise DamagedStoreError(f"{path.name} was changed since it was written; {remedy}")
    if not array_path.is_file():
        raise DamagedStoreError(f"{array_path.name} is missing; {remedy}")
    if _file_sha256(array_path) != header.sha256:
        raise DamagedStoreError(f"{array_path.name} was changed or cut short since it was written; {remedy}")
    array = np.load(array_path, mmap_mode="r", allow_pickle=False)
    return Shard(header.rows, header.columns, np.array(header.lengths, dtype=np.int64), array)


def _write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    descriptor, name = tempfile.mkstemp(prefix=PARTIAL, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
