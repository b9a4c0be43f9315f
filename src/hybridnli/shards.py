"""Shards of the feature store: safetensors files, written atomically and verified when read."""

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

__all__ = ["CheckedShards", "Shard", "read_shards", "write_shard", "writing"]

PARTIAL = ".writing-"  # prefix of incomplete files


@dataclass(frozen=True)
class Shard:
    """An array on disk with the keys of its rows.

    Attributes:
        rows: key of each row (hash of its text).
        columns: key of each column; empty if the columns are embedding dimensions.
        lengths: number of array rows per key, in order (ragged); all 1 for a plain matrix.
        values: the array; `values[i:j]` reads only these rows from the file.
    """

    rows: list[str]
    columns: list[str]
    lengths: np.ndarray
    values: Any


CheckedShards = dict[Path, Shard]  # shards already read and verified


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Lock a folder for writing, and remove incomplete files left by killed processes."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        for path in folder.glob(f"{PARTIAL}*"):
            path.unlink()
        yield


def write_shard(
    folder: Path, kind: str, rows: Sequence[str], columns: Sequence[str], lengths: np.ndarray, values: np.ndarray
) -> None:
    """Write one shard atomically.

    Raises:
        ValueError: `values` contains non-finite numbers.
    """
    if not np.isfinite(values).all():
        raise ValueError(f"{kind}: the array has non-finite values after conversion to {values.dtype}")
    names = {"rows": list(rows), "columns": list(columns)}
    arrays = {"values": values, "lengths": lengths}
    name = f"{kind}-{hashlib.sha256(json.dumps([*names.values()]).encode()).hexdigest()[:16]}.safetensors"
    metadata = {"shard": json.dumps(names | {"sha256": _checksum(names, arrays)})}
    save_file(arrays, folder / f"{PARTIAL}{name}", metadata)
    (folder / f"{PARTIAL}{name}").replace(folder / name)


def read_shards(folder: Path, kind: str, checked: CheckedShards) -> list[Shard]:
    """All shards of a kind, sorted by file name. Call inside `writing`, because damaged shards are deleted.

    The caller recomputes the rows of a deleted shard; a warning names the file.

    Args:
        folder: folder of a key.
        kind: prefix of the file names.
        checked: shards already verified; newly read ones are added.
    """
    shards = []
    for path in sorted(folder.glob(f"{kind}-*.safetensors")):
        if path not in checked:
            try:
                checked[path] = _read_shard(path)
            except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
                warnings.warn(f"{path}: damaged, its rows are made again ({error})", stacklevel=2)
                path.unlink()
                continue
        shards.append(checked[path])
    return shards


def _read_shard(path: Path) -> Shard:
    file = safe_open(path, "numpy")
    arrays = {name: file.get_tensor(name) for name in ("values", "lengths")}
    names = json.loads(file.metadata()["shard"])
    if names.pop("sha256") != _checksum(names, arrays):
        raise ValueError("changed since it was written")
    return Shard(names["rows"], names["columns"], arrays["lengths"], file.get_slice("values"))


def _checksum(names: dict[str, list[str]], arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(names).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()
