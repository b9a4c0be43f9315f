"""Comparison of two runs or two systems: paired differences with intervals, and differing facts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zsbench.evaluation.cells import Cell
from zsbench.evaluation.compare import Answers, Comparisons, Evidence, Test, resample
from zsbench.evaluation.protocols import Decision, decisions_of, representative
from zsbench.evaluation.statistics import holm
from zsbench.plan.suites import RANDOM
from zsbench.reporting.explain import open_cell
from zsbench.reporting.frames import AVERAGE
from zsbench.store.cells import OK, cell_ids, status
from zsbench.store.errors import ConfigError, suggest
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json

FACTS = ("weights_sha256", "labels_digest", "rows_sha256", "precision", "device", "source", "settings")
SETTING = ("labels_digest", "rows_sha256", "precision", "device")  # must be equal for a fair comparison of two systems
STATISTICS = {"draws": 10_000, "seed": 0, "level": 0.95}  # the defaults of a config's `statistics`
SIGNIFICANT = 0.05  # adjusted p below which a difference gets a mark
COLUMNS = ["suite", "dataset", "system", "a", "b", "delta", "low", "high", "p", "p_adjusted", "n_rows", "seeds"]
Key = tuple[str, str, str]  # suite, dataset, system
TEST: Test = (("", "b", ""), ("", "a", ""))  # b minus a, under one protocol
Decisions = dict[tuple[str, str], Decision]  # (protocol, split) -> decision
Cells = dict[Key, Callable[[], list[Cell]]]  # lazy readers of all seeds of one system on one dataset


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        deltas: suite, dataset (or "average" over the suite), system, a, b, delta (b - a), low, high, p, p_adjusted,
            n_rows, seeds (numbers of seeds of a and b).
        notes: one line per cell that only one run has, whose rows differ, or whose cards differ.
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
    """Macro-F1 of run `b` minus run `a` on the cells that both have, with all seeds.

    Predictions are those of the runs, with several labels per text under the protocol that `representative` picks of
    those that both runs used.

    Args:
        a, b: `results/<run>`; the same folder twice to compare two systems of one run.
        systems: (system of a, system of b); by default, every system is compared with itself.
        statistics: `draws`, `seed`, `level`; missing keys get the defaults of the config.
        suite: glob pattern of the suites to compare; by default all.

    Raises:
        IntegrityError: a folder has no cells, a cell is damaged, or the runs have no cell in common.
        ConfigError: a run does not have the given system, or it is a random control.
    """
    statistics = STATISTICS | (statistics or {})
    left, right = _cells(Path(a), suite), _cells(Path(b), suite)
    layouts = Layout(Path(a)), Layout(Path(b))
    if systems is not None:
        left, right = _only(left, systems[0], systems, a), _only(right, systems[1], systems, b)
    shared = [key for key in left if key in right]
    if not shared:
        raise IntegrityError(f"{a} and {b} have no cell in common (suite, dataset and system)")
    notes = [f"only in {a if key in left else b}: {'/'.join(key)}" for key in left | right if key not in shared]
    resampled: dict[tuple[str, str], dict[str, Evidence]] = {}  # (suite, system) -> dataset -> evidence
    for key in shared:
        sides = left[key](), right[key]()
        if sides[0][0].rows_digest != sides[1][0].rows_digest:
            notes.append(f"not compared, other rows: {'/'.join(key)}")
            continue
        if systems is not None and any(side[0].card["settings"].get("control") in RANDOM for side in sides):
            raise ConfigError(f"systems: {key[2]}: a random control is a single draw and cannot be compared")
        notes += _facts(key, sides[0][0].card, sides[1][0].card, FACTS if systems is None else SETTING)
        decided = [[decisions_of(layout, cell) for cell in side] for layout, side in zip(layouts, sides, strict=True)]
        evidence = _evidence(sides[0][0], decided, statistics)
        if evidence is None:
            notes.append(f"not compared, no protocol in common: {'/'.join(key)}")
        else:
            resampled.setdefault((key[0], key[2]), {})[key[1]] = evidence
    base = {} if systems else {"a": "", "b": ""}  # seeds of the same recipe are paired
    rows = []
    for (suite, system), sets in resampled.items():
        comparisons = Comparisons(sets, base, statistics)
        rows += [_row(comparisons, suite, system, name, [name]) for name in sets]
        if len({tuple(len(sample.points) for sample in one.samples.values()) for one in sets.values()}) > 1:
            notes.append(f"no average, seeds differ between datasets: {suite}/{system}")
        else:
            rows.append(_row(comparisons, suite, system, AVERAGE, list(sets)))
    return Comparison(_corrected(pd.DataFrame(rows, columns=COLUMNS)), notes)


def _cells(root: Path, pattern: str) -> Cells:
    """Readers of a run's cells, without (suite, dataset, system) that lack scores for any seed."""
    layout = Layout(root)
    seeds: dict[Key, list[int]] = {}
    without: set[Key] = set()  # some seed has no scores (see `read_cells`)
    for suite, dataset, system, seed in cell_ids(root, pattern):
        seeds.setdefault((suite, dataset, system), []).append(seed)
        if status(read_json(layout.card(suite, dataset, system, seed))) != OK:
            without.add((suite, dataset, system))
    if not seeds:
        raise IntegrityError(f"{root}: no cells; expected results/<run>")

    def reader(key: Key) -> Callable[[], list[Cell]]:
        ids = [(*key, seed) for seed in sorted(seeds[key])]
        return lambda: [open_cell(layout, cell_id) for cell_id in ids]

    return {key: reader(key) for key in seeds if key not in without}


def _only(cells: Cells, system: str, names: tuple[str, str], root: Path) -> Cells:
    """Cells of one system, renamed to a name that both sides share."""
    known = sorted({key[2] for key in cells})
    if system not in known:
        raise ConfigError(f"{root} has no system {system!r}{suggest(system, known)}")
    name = f"{names[1]} - {names[0]}"
    return {(suite, dataset, name): read for (suite, dataset, name_here), read in cells.items() if name_here == system}


def _evidence(cell: Cell, decided: list[list[Decisions]], statistics: dict[str, Any]) -> Evidence | None:
    """Both sides resampled with the same draws of rows; None if they have no protocol in common.

    Args:
        cell: one of their cells; all have the same rows.
        decided: the decisions on every seed's cell of each side.
    """
    common = set.intersection(*(set(made) for side in decided for made in side))
    shown = representative(common) or min(common, default=None)
    if shown is None:
        return None
    answers = [np.stack([made[shown].partitions for made in side]) for side in decided]
    return resample(
        cell.dataset,
        Answers({"": cell.gold[decided[0][0][shown].rows]}, dict(zip(reversed(TEST), answers, strict=True))),
        [TEST],
        "macro_f1",
        cell.card["task"] == "single",
        statistics,
    )


def _row(comparisons: Comparisons, suite: str, system: str, name: str, datasets: list[str]) -> dict[str, Any]:
    tested = comparisons.measured(TEST, datasets)
    b, a = (float(comparisons.sample(key, datasets).points.mean()) for key in TEST)
    return {
        "suite": suite,
        "dataset": name,
        "system": system,
        "a": a,
        "b": b,
        "delta": tested.delta,
        "low": tested.low,
        "high": tested.high,
        "p": tested.p,
        "n_rows": tested.n_rows,
        "seeds": f"{tested.n_baseline_seeds}, {tested.n_seeds}",
    }


def _corrected(frame: pd.DataFrame) -> pd.DataFrame:
    """Add Holm-corrected p, separately for averages and for single datasets; comparisons with two seeds have no p."""
    tested = frame[frame["p"].notna()]
    for _, family in tested.groupby(tested["dataset"] == AVERAGE):
        frame.loc[family.index, "p_adjusted"] = holm(family["p"].to_numpy())
    return frame.astype({"p_adjusted": float})


def _facts(key: Key, left: dict[str, Any], right: dict[str, Any], facts: tuple[str, ...]) -> list[str]:
    """A note on the given facts that differ between the two cards (of the first seeds); [] if none does."""
    changed = [name for name in facts if left.get(name) != right.get(name)]
    return [f"differs in {', '.join(changed)}: {'/'.join(key)}"] if changed else []


def as_text(comparison: Comparison, a: str, b: str) -> str:
    """The comparison for a terminal: averages first, then datasets, then notes."""
    frame = comparison.deltas
    frame = frame.assign(first=frame["dataset"] != AVERAGE).sort_values(["suite", "first"], kind="stable")
    frame["interval"] = [f"[{low:+.4f}, {high:+.4f}]" for low, high in zip(frame["low"], frame["high"], strict=True)]
    table = frame.assign(p=frame["p_adjusted"]).to_string(
        index=False,
        na_rep="–",
        columns=["suite", "dataset", "system", "a", "b", "delta", "interval", "p"],
        formatters={"a": "{:.4f}".format, "b": "{:.4f}".format, "delta": "{:+.4f}".format, "p": _p_text},
    )
    lines = ["macro-F1, delta = b - a", f"a: {a}", f"b: {b}", "", table]
    legend = [
        "Intervals: paired bootstrap over rows. p: permutation test that swaps the answers of a and b row by row,",
        f"corrected by Holm, averages and datasets separately; * below {SIGNIFICANT}, – not tested (two seeds).",
        "Several labels per text: of held-out, cv, fixed-0.5 and val-tuned the first that both used, or else another.",
    ]
    return "\n".join([*lines, "", *legend, *([""] if comparison.notes else []), *comparison.notes]) + "\n"


def _p_text(p: float) -> str:
    return f"{p:.4f}*" if p < SIGNIFICANT else f"{p:.4f}"
