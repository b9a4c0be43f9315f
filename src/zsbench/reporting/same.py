"""`zsbench same`: whether two runs of one config have the same content, apart from times and environments.

Values that may differ between equal runs are marked in the files: under `volatile` in cards and records, as a column
role in tables. Frames and figures that hold times are listed here. Files rendered from other files (pages, Markdown,
LaTeX) are not compared; their sources are.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from zsbench.reporting.render import SIDECAR, read_table
from zsbench.store.provenance import read_json

TIMED_FIGURES = ("cost", "label_counts")  # figures of speed and memory
VOLATILE = {  # columns of analysis frames
    "cost": ["seconds", "texts_per_second", "peak_memory_mb"],
    "label_counts": ["milliseconds"],
}
SKIPPED = ("logs", "cache", "failures")  # output of jobs; copies of cells; earlier failed attempts
RENDERED = (".html", ".md", ".tex", ".zip")  # rendered from files that are compared


def differences(a: Path, b: Path) -> list[str]:
    """Compare two result folders (`results/<run>`) or two report folders (`reports/<run>`).

    Returns:
        One line per file that exists in only one of them, or differs in more than volatile values; [] for equal runs.

    Raises:
        FileNotFoundError: one of the folders does not exist.
    """
    names = [_names(folder) for folder in (a, b)]
    lone = [f"{name}: only in {a if name in names[0] else b}" for name in sorted(names[0] ^ names[1])]
    return lone + [f"{name}: differs" for name in sorted(names[0] & names[1]) if content(a / name) != content(b / name)]


def _names(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such directory; give results/<run> or reports/<run>")
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in files if path.parts[0] not in SKIPPED and not _is_aside(path)}


def _is_aside(path: Path) -> bool:
    timed = path.stem in TIMED_FIGURES and path.parts[0] == "figures"
    return timed or path.name.startswith(".") or path.suffix in RENDERED  # dot files are locks


def content(path: Path) -> Any:
    """The content of a file that must be equal in equal runs."""
    return READERS.get(path.suffix, Path.read_bytes)(path)


def _json(path: Path) -> Any:
    value = read_json(path)
    if isinstance(value, dict):
        return json.dumps(_without(value, value.get("volatile", [])))
    return [entry for entry in value if not (isinstance(entry, dict) and entry.get("name") in TIMED_FIGURES)]


def _without(value: Any, names: list[str]) -> Any:
    """The value without these keys, at any depth."""
    if isinstance(value, dict):
        return {key: _without(entry, names) for key, entry in value.items() if key not in names}
    return [_without(entry, names) for entry in value] if isinstance(value, list) else value


def _parquet(path: Path) -> Any:
    """A frame without its volatile columns and the slopes of times; any other frame unchanged."""
    if path.stem in VOLATILE:
        return pd.read_parquet(path).drop(columns=VOLATILE[path.stem]).to_csv()
    if path.stem == "label_slopes":
        return pd.read_parquet(path).query("metric != 'milliseconds'").to_csv()
    return path.read_bytes()


def _csv(path: Path) -> Any:
    """A table without its volatile columns; any other CSV unchanged."""
    if not path.with_suffix(f".{SIDECAR}").is_file():
        return path.read_bytes()
    table = read_table(path.parent, path.stem)
    volatile = [name for column in table.columns if column.volatile for name in (column.value, *column.interval)]
    return table.frame.drop(columns=volatile).to_csv()


READERS: dict[str, Callable[[Path], Any]] = {".json": _json, ".parquet": _parquet, ".csv": _csv}
