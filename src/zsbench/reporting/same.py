"""`zsbench same`: whether two runs of one config hold the same content, times and environments aside.

What may differ between equal runs says so itself: a card and a training record list it under `volatile`, the page
marks it with the class `volatile`; tables and figures that are made of times are named here.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from zsbench.store.provenance import read_json

TIMED = ("cost", "throughput")  # tables and figures of speed and memory
SKIPPED = ("logs", "cache", "failures")  # what jobs printed; what cells were copied from; attempts that came before


def differences(a: Path, b: Path) -> list[str]:
    """Compare two folders of one kind: `results/<run>` with `results/<run>`, or `reports/<run>` with `reports/<run>`.

    Returns:
        One line a file that only one of them has, or that differs by more than volatile values; [] for equal runs.

    Raises:
        FileNotFoundError: one of them is no folder.
    """
    names = [_names(folder) for folder in (a, b)]
    lone = [f"{name}: only in {a if name in names[0] else b}" for name in sorted(names[0] ^ names[1])]
    return lone + [f"{name}: differs" for name in sorted(names[0] & names[1]) if content(a / name) != content(b / name)]


def _names(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; give results/<run> or reports/<run>")
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if path.parts[0] not in SKIPPED and not _aside(path)}


def _aside(path: Path) -> bool:
    timed = path.stem in TIMED and path.parts[0] in ("tables", "figures")
    return timed or path.name.startswith(".") or path.suffix == ".zip"  # lock files; Snakemake's own report


def content(path: Path) -> Any:
    """What of a file must be equal in equal runs."""
    return READERS.get(path.suffix, Path.read_bytes)(path)


def _json(path: Path) -> Any:
    value = read_json(path)
    if isinstance(value, dict):
        return json.dumps({key: entry for key, entry in value.items() if key not in value.get("volatile", [])})
    return [entry for entry in value if not (isinstance(entry, dict) and entry.get("name") in TIMED)]


def _parquet(path: Path) -> Any:
    if path.name != "cost.parquet":
        return path.read_bytes()
    return pd.read_parquet(path).drop(columns=["seconds", "texts_per_second", "peak_memory_mb"]).to_csv()


def _page(path: Path) -> str:
    """The page without what is marked."""
    marked = re.compile(r'<(t[dh]|p|a|figure)\b[^>]*class="[^"]*\bvolatile\b[^"]*"[^>]*>.*?</\1>', re.DOTALL)
    return marked.sub("", path.read_text(encoding="utf-8"))


def _markdown(path: Path) -> str:
    """REPORT.md without its table of times, its figures of times and its date."""
    text, cost = path.read_text(encoding="utf-8"), path.with_name("tables") / "cost.md"
    if path.name == "REPORT.md" and cost.is_file():
        text = text.replace(cost.read_text(encoding="utf-8").strip(), "")
    aside = [f"figures/{name}." for name in TIMED]
    lines = [line for line in text.splitlines() if not any(name in line for name in aside)]
    return "\n".join(line for line in lines if not line.startswith("Newest cell of this run"))


READERS: dict[str, Callable[[Path], Any]] = {".json": _json, ".parquet": _parquet, ".html": _page, ".md": _markdown}
