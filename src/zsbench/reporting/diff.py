"""What changed between two runs, or between two systems: paired differences with intervals, and facts that differ.

Axis legend: D draws, n rows, M prediction sets, S seeds.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zsbench.config.load import ConfigError
from zsbench.evaluation.cells import Cell
from zsbench.evaluation.compare import Sample, average, paired
from zsbench.evaluation.f1 import point_macro_f1
from zsbench.evaluation.protocols import representative_decision
from zsbench.evaluation.statistics import bootstrap_macro_f1, difference, holm
from zsbench.reporting.explain import open_cell
from zsbench.reporting.frames import AVERAGE, SIGNIFICANT
from zsbench.store.cells import OK, status
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, digest, read_json
from zsbench.systems.controls import RANDOM

FACTS = ("weights_sha256", "labels_digest", "rows_sha256", "precision", "device", "source", "settings")
SETTING = ("labels_digest", "rows_sha256", "precision", "device")  # that two systems share in a fair comparison
STATISTICS = {"draws": 10_000, "seed": 0, "level": 0.95}  # the defaults of a config's `statistics`
COLUMNS = ["suite", "dataset", "system", "a", "b", "delta", "low", "high", "p", "p_holm", "n_rows", "seeds"]
Key = tuple[str, str, str]  # suite, dataset, system
Cells = dict[Key, Callable[[], list[Cell]]]  # read when called: all seeds of one system on one dataset


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        deltas: suite, dataset ("average" over a suite's), system, a, b, delta (b - a), low, high, p, p_holm, n_rows,
            seeds (of a and b).
        notes: a line for each cell that only one run has, whose rows differ, or whose card says something else.
    """

    deltas: pd.DataFrame
    notes: list[str]


def compare_runs(
    a: Path,
    b: Path,
    systems: tuple[str, str] | None = None,
    statistics: dict[str, Any] | None = None,
    suite: str = "*",
) -> Comparison:
    """Macro-F1 of run `b` minus run `a` on the cells that both have, all seeds of each.

    Decided by `representative_decision`.

    Args:
        a, b: `results/<run>`; the same folder twice to compare two systems of one run.
        systems: (system of a, system of b); without it every system is compared with itself.
        statistics: `draws`, `seed`, `level`.
        suite: only this suite.

    Raises:
        IntegrityError: a folder without cells, a damaged cell, or nothing in common.
        ConfigError: a system that its run does not have, or a random control.
    """
    statistics = STATISTICS | (statistics or {})
    left, right = _cells(Path(a), suite), _cells(Path(b), suite)
    if systems is not None:
        left, right = _only(left, systems[0], systems, a), _only(right, systems[1], systems, b)
    shared = [key for key in left if key in right]
    if not shared:
        raise IntegrityError(f"{a} and {b} have no cell in common (suite, dataset and system)")
    notes = [f"only in {a if key in left else b}: {'/'.join(key)}" for key in left | right if key not in shared]
    found: dict[Key, tuple[Sample, Sample]] = {}
    for key in shared:
        sides = left[key](), right[key]()
        if sides[0][0].rows_digest != sides[1][0].rows_digest:
            notes.append(f"not compared, other rows: {'/'.join(key)}")
            continue
        if systems is not None and any(side[0].card["settings"].get("control") in RANDOM for side in sides):
            raise ConfigError(f"systems: {key[2]}: a random control's cell is one draw, and its delta would be luck")
        notes += _facts(key, sides[0][0].card, sides[1][0].card, FACTS if systems is None else SETTING)
        found[key] = _samples(key, sides, statistics)
    rows = [_row(key, *pair, statistics) for key, pair in found.items()]
    rows += list(_averages(found, statistics, notes))
    return Comparison(_corrected(pd.DataFrame(rows, columns=COLUMNS)), notes)


def _cells(root: Path, pattern: str) -> Cells:
    """Readers of a run's cells, those without scores left out."""
    layout = Layout(root)
    seeds: dict[Key, list[int]] = {}
    without: set[Key] = set()  # a seed without scores, so no number (see `read_cells`)
    for path in sorted((root / "cells").glob(f"{pattern}/*/*/seed*/card.json")):
        suite, dataset, system, seed = path.parts[-5:-1]
        seeds.setdefault((suite, dataset, system), []).append(int(seed.removeprefix("seed")))
        if status(read_json(path)) != OK:
            without.add((suite, dataset, system))
    if not seeds:
        raise IntegrityError(f"{root} holds no cells; expected results/<run>")

    def reader(key: Key) -> Callable[[], list[Cell]]:
        places = [(*key, seed) for seed in sorted(seeds[key])]
        return lambda: [open_cell(layout, place, read_json(layout.card(*place))) for place in places]

    return {key: reader(key) for key in seeds if key not in without}


def _only(cells: Cells, system: str, names: tuple[str, str], root: Path) -> Cells:
    """Cells of one system, under a name that both sides share."""
    known = sorted({key[2] for key in cells})
    if system not in known:
        raise ConfigError(f"{root} has no system {system!r}; it has: {', '.join(known)}")
    name = f"{names[1]} - {names[0]}"
    return {(suite, dataset, name): read for (suite, dataset, own), read in cells.items() if own == system}


def _samples(key: Key, sides: tuple[list[Cell], list[Cell]], statistics: dict[str, Any]) -> tuple[Sample, Sample]:
    """Both sides in the same draws of rows."""
    decisions = [representative_decision(cell) for side in sides for cell in side]
    single, gold = sides[0][0].card["task"] == "single", sides[0][0].gold[decisions[0].rows]
    predictions = np.stack([decision.predictions for decision in decisions])  # (M, n, L)
    seed = int(digest([statistics["seed"], key[1]]), 16)
    draws = bootstrap_macro_f1(gold, predictions, statistics["draws"], seed, skip_absent=single)  # (D, M)
    points = point_macro_f1(gold, predictions, skip_absent=single)
    correct = (predictions == gold).all(axis=2)  # (M, n)
    k = len(sides[0])
    hashes = [[cell.card["scores_sha256"] for cell in side] for side in sides]
    # One name for both sides makes `paired` take seed by seed differences: right when they are the same scores.
    names = (key[2], key[2]) if hashes[0] == hashes[1] else (f"a {key[2]}", f"b {key[2]}")
    return (
        Sample(names[0], points[:k], draws[:, :k], correct[0]),
        Sample(names[1], points[k:], draws[:, k:], correct[k]),
    )


def _row(key: Key, a: Sample, b: Sample, statistics: dict[str, Any]) -> dict[str, Any]:
    tested = asdict(difference(*paired(b, a, statistics), statistics["level"]))
    where = dict(zip(("suite", "dataset", "system"), key, strict=True))
    means = {"a": float(a.points.mean()), "b": float(b.points.mean())}
    return where | means | tested | {"n_rows": len(a.correct), "seeds": f"{len(a.points)}, {len(b.points)}"}


def _averages(
    found: dict[Key, tuple[Sample, Sample]], statistics: dict[str, Any], notes: list[str]
) -> Iterator[dict[str, Any]]:
    """A row for each system's mean over the datasets of a suite that both runs share."""
    for suite, system in dict.fromkeys((suite, system) for suite, _, system in found):
        own = [pair for key, pair in found.items() if (key[0], key[2]) == (suite, system)]
        if len({(len(a.points), len(b.points)) for a, b in own}) > 1:
            notes.append(f"no average, seeds differ between datasets: {suite}/{system}")
            continue
        yield _row((suite, AVERAGE, system), average([a for a, _ in own]), average([b for _, b in own]), statistics)


def _corrected(frame: pd.DataFrame) -> pd.DataFrame:
    """Holm's correction, among averages and among single datasets apart."""
    for _, family in frame.groupby(frame["dataset"] == AVERAGE):
        frame.loc[family.index, "p_holm"] = holm(family["p"].to_numpy())
    return frame


def _facts(key: Key, left: dict[str, Any], right: dict[str, Any], facts: tuple[str, ...]) -> list[str]:
    """What the two cards (of the first seeds) say differently, of these facts."""
    changed = [name for name in facts if left.get(name) != right.get(name)]
    return [f"differs in {', '.join(changed)}: {'/'.join(key)}"] if changed else []


def as_text(comparison: Comparison, a: str, b: str) -> str:
    """The comparison for a terminal: averages first, then datasets, then notes."""
    frame = comparison.deltas
    frame = frame.assign(first=frame["dataset"] != AVERAGE).sort_values(["suite", "first"], kind="stable")
    titles = ("suite", "dataset", "system")
    widths = [max([len(title), *frame[title].map(len)]) for title in titles]
    head = " ".join(title.ljust(width) for title, width in zip(titles, widths, strict=True))
    lines = [
        f"macro-F1 (topics: held-out where there are test rows, else cv); a: {a}, b: {b};"
        " delta = b - a; paired bootstrap; p corrected by Holm (averages apart"
        f" from datasets), * below {SIGNIFICANT}",
        "",
        f"{head}       a       b    delta  interval             p",
    ]
    for row in frame.itertuples():
        names = (row.suite, row.dataset, row.system)
        name = " ".join(text.ljust(width) for text, width in zip(names, widths, strict=True))
        interval = f"[{row.low:+.4f}, {row.high:+.4f}]"
        mark = "*" if row.p_holm < SIGNIFICANT else ""
        lines.append(f"{name}  {row.a:.4f}  {row.b:.4f}  {row.delta:+.4f}  {interval}  {row.p_holm:.4f}{mark}")
    return "\n".join([*lines, *([""] if comparison.notes else []), *comparison.notes]) + "\n"
