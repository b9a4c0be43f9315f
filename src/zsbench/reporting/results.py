"""A run as DataFrames, for a notebook or a script: `zsbench.results("results/embedded")`. Loads no torch.

Everything is read from stored files; no metric is computed here. docs/numbers.md documents the columns of the frames in
`analysis/`.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zsbench.evaluation.cells import SCORE_PREFIX, Cell, read_cell
from zsbench.evaluation.protocols import Decision, read_decisions
from zsbench.plan.plan import Plan
from zsbench.reporting.frames import AVERAGE, SINGLE, WORDS, RunData
from zsbench.store.cells import CellId, status
from zsbench.store.errors import ConfigError, suggest
from zsbench.store.frames import COLUMNS
from zsbench.store.integrity import read_frame
from zsbench.store.layout import Layout

CELL_FACTS = ("device", "precision", "revision", "verbalisation", "seen", "seconds", "texts_per_second")
VERDICT_COLUMNS = (
    "table suite protocol split system baseline baseline_protocol factor levels delta low high p p_adjusted unit mde"
    " verdict equivalence_low equivalence_high needs_rows needs_seeds n_sets n_seeds"
)


def open_results(run: str | Path) -> "Results":
    """Open a run by its folder (`results/embedded`) or its id (`embedded`).

    Raises:
        FileNotFoundError: there is no such run.
    """
    root = next((path for path in (Path(run), Path("results") / run) if Layout(path).config.is_file()), None)
    if root is None:
        raise FileNotFoundError(f"{Layout(Path(run)).config} is missing; expected a run id or results/<run>")
    return Results(RunData(root, Plan.read(root).spec("analysis")))


@dataclass(frozen=True, repr=False)
class Results:
    """The numbers of one run. Each property is a DataFrame, read on first access."""

    run: RunData

    def __repr__(self) -> str:
        counts = {"suite": self.run.spec["suites"], "dataset": self.run.titles, "system": self.run.spec["systems"]}
        sizes = [f"{len(items)} {name}{'s' * (len(items) != 1)}" for name, items in counts.items()]
        return f"<zsbench results {self.run.root}: {', '.join(sizes)}, {len(self.run.cards)} cells>"

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per cell, i.e. one system with one seed on one dataset.

        `value` is the suite's headline `metric` under `protocol` on `split`; `status` is ok, n/a or failed; `reason`
        explains a missing value.
        """
        values = self.run.cell_values()
        return pd.DataFrame([self._cell_row(cell, card, values.get(cell)) for cell, card in self.run.cards.items()])

    def _cell_row(self, cell: CellId, card: dict[str, Any], value: float | None) -> dict[str, Any]:
        suite, dataset, system, seed = cell
        protocol, split = self.run.decision(suite)
        entry, state = self.run.system(system), status(card)
        return {
            "suite": suite,
            "dataset": dataset,
            "system": system,
            "seed": seed,
            "family": entry["family"],
            "trained": entry["trained"],
            "control": entry["control"],
            "status": WORDS.get(state, state),
            "reason": card.get("reason", ""),
            "metric": self.run.metric(suite),
            "protocol": protocol,
            "split": split,
            "rows": card.get("rows", {}).get(split),
            "value": np.nan if value is None else value,
        } | {name: card.get(name) for name in CELL_FACTS}

    @property
    def metrics(self) -> pd.DataFrame:
        """Every metric of every cell, protocol, split and label (`analysis/metrics.parquet`)."""
        return self.run.metrics

    @property
    def deltas(self) -> pd.DataFrame:
        """Every paired difference with interval and p, per dataset and for the average (`analysis/deltas.parquet`)."""
        return self.run.deltas

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """Differences of averages with a verdict: effect, no effect, or undecided (with the data that would decide)."""
        whole = self.deltas[(self.deltas["dataset"] == AVERAGE) & self.deltas["verdict"].fillna("").ne("")]
        return whole[VERDICT_COLUMNS.split()].reset_index(drop=True)

    def frame(self, name: str) -> pd.DataFrame:
        """A frame of `analysis/`, such as ranks, calibration, reliability, sensitivity or cost.

        Raises:
            ConfigError: no frame has this name.
        """
        if name not in COLUMNS:
            raise ConfigError(f"frame: {name!r} does not exist{suggest(name, COLUMNS)}")
        return self.run.frame(name)

    def scores(self, dataset: str, system: str, seed: int | None = None, protocol: str = "") -> pd.DataFrame:
        """The answers of a system, one row per text and seed.

        Args:
            dataset: id of the dataset.
            seed: one of the system's seeds; by default all.
            protocol: protocol of a multi-label suite (`fixed-0.5`, `held-out`, ...); by default the one that tables
                show first.

        Returns:
            `seed`, `sample_id`, `split`, `text` (missing if the prepared rows are not available), `gold` and
            `predicted` (a label, or a list of labels in a multi-label suite), `correct` (all labels are right), and one
            column `score:LABEL` per label. Under `cv`, `predicted` is the majority over partitions.

        Raises:
            ConfigError: the run has no such dataset, system, seed or protocol.
            IntegrityError: a file is missing or damaged.
        """
        cells = self._cells(dataset, system, seed)
        return pd.concat([self._texts(cell, protocol) for cell in cells], ignore_index=True)

    def _cells(self, dataset: str, system: str, seed: int | None) -> list[CellId]:
        """Cells with scores of a system on a dataset."""
        if dataset not in self.run.titles:
            raise ConfigError(f"dataset: {dataset!r} is not in this run{suggest(dataset, self.run.titles)}")
        scored = [cell for cell in self.run.cells() if cell[1] == dataset]
        cells = {cell[3]: cell for cell in scored if cell[2] == system}
        if not cells:
            systems = {cell[2] for cell in scored}
            raise ConfigError(f"system: {system!r} has no scores on {dataset!r}{suggest(system, systems)}")
        if seed is not None and seed not in cells:
            raise ConfigError(f"seed: {system!r} has no seed {seed}{suggest(seed, cells)}")
        return list(cells.values()) if seed is None else [cells[seed]]

    def _texts(self, cell_id: CellId, protocol: str) -> pd.DataFrame:
        suite, dataset, system, seed = cell_id
        cell = read_cell(self.run.layout, suite, self.run.datasets(suite)[dataset], system, seed)
        decision = self._decision(cell, protocol)
        gold, answers = cell.gold[decision.rows], decision.partitions.mean(axis=0) > 0.5
        single = self.run.spec["suites"][suite]["task"] == SINGLE
        frame = pd.DataFrame({"seed": seed, "sample_id": np.array(cell.sample_ids, dtype=object)[decision.rows]})
        frame["split"] = cell.split[decision.rows]
        frame["text"] = frame["sample_id"].map(self._stored_texts(dataset))
        frame["gold"] = _named(gold, cell.label_names, single)
        frame["predicted"] = _named(answers, cell.label_names, single)
        frame["correct"] = (gold == answers).all(axis=1)
        columns = [f"{SCORE_PREFIX}{label}" for label in cell.label_names]
        return frame.join(pd.DataFrame(cell.scores[decision.rows], columns=columns))

    def _decision(self, cell: Cell, protocol: str) -> Decision:
        """The stored decision under a protocol, on its last split (test if there is one)."""
        decisions = {decision.protocol: decision for decision in read_decisions(self.run.layout, cell)}
        wanted = protocol or self.run.decision(cell.suite)[0]
        if wanted not in decisions:
            raise ConfigError(f"protocol: {wanted!r} is not among those of {cell.name}{suggest(wanted, decisions)}")
        return decisions[wanted]

    def _stored_texts(self, dataset: str) -> dict[str, str]:
        path = self.run.layout.dataset(dataset)
        if not path.is_file():
            return {}
        rows = read_frame(path, ["sample_id", "text"])
        return dict(zip(rows["sample_id"], rows["text"], strict=True))


def _named(chosen: np.ndarray, labels: Any, single: bool) -> list[Any]:
    """(n, L) bool -> a label per row, or a list of labels per row."""
    named = [[labels[index] for index in np.flatnonzero(row)] for row in chosen]
    return [row[0] for row in named] if single else named
