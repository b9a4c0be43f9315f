"""What a report reads: the analysis frames of a run, its scores, its training records; no metric is made here."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from zsbench.evaluation.cells import checked_files
from zsbench.evaluation.protocols import representative
from zsbench.store.integrity import read_frame
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.store.status import FAILED, NOT_APPLICABLE, OK, status

# Columns of each analysis frame; a frame that a run does not have reads as empty with these columns.
COLUMNS = {
    "metrics": "suite dataset system seed protocol split metric label value",
    "deltas": (
        "table suite dataset metric protocol split system baseline factor delta low high p p_holm tests unit mde"
        " verdict equivalence_low equivalence_high needs_rows needs_seeds optimism rare_labels n_rows n_sets n_seeds"
        " mcnemar_p"
    ),
    "ranks": "suite protocol split system value rank rank_low rank_high p_best",
    "calibration": "suite dataset system seed ece ece_calibrated brier auroc",
    "reliability": "suite dataset system bin low high count confidence accuracy",
    "sensitivity": "kind dataset system seed k mean low high flip_rate flip_low flip_high floor rows",
    "cost": "suite dataset system seed seconds texts_per_second peak_memory_mb texts truncated_texts truncated_labels",
}
SIGNIFICANT = 0.05  # Holm-corrected p below which a difference is called one
HEADLINE = 6  # systems that one panel can show and a reader can still tell apart
AVERAGE = "average"  # the dataset name of deltas over a whole suite
WORDS = {NOT_APPLICABLE: "n/a", FAILED: "failed"}  # what stands in the place of a number

Place = tuple[str, str, str, int]  # suite, dataset, system, seed


@dataclass(frozen=True)
class Missing:
    """Why a system has no number on a dataset: the status and reason of its seeds' cells, the worst first."""

    status: str
    reason: str
    seeds: tuple[int, ...]  # those without scores

    @property
    def word(self) -> str:
        return WORDS[self.status]


@dataclass(frozen=True)
class RunData:
    """One run as the report sees it.

    Args:
        root: `results/<run>`.
        spec: the analysis spec: `run`, `suites`, `systems`, `gliznet`, `statistics`.
    """

    root: Path
    spec: dict[str, Any]

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    def frame(self, name: str) -> pd.DataFrame:
        """An analysis frame; empty, with its columns, when the run has none.

        Raises:
            IntegrityError: the stored frame is damaged, or lacks a column that the contract names.
        """
        path = self.root / "analysis" / f"{name}.parquet"
        columns = COLUMNS[name].split()
        if not path.is_file():
            return pd.DataFrame(columns=columns)
        return read_frame(path, columns)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        return self.frame("metrics")

    @cached_property
    def deltas(self) -> pd.DataFrame:
        return self.frame("deltas")

    @cached_property
    def cost(self) -> pd.DataFrame:
        return self.frame("cost")

    @property
    def reference(self) -> str:
        """The system whose deltas the tables print."""
        return self.spec["statistics"]["system"]

    def datasets(self, suite: str) -> dict[str, dict[str, Any]]:
        """Datasets of a suite by id, in table order."""
        return {entry["id"]: entry for entry in self.spec["suites"].get(suite, {}).get("datasets", [])}

    def systems(self, suite: str, controls: bool = True) -> list[str]:
        """Systems of a suite in table order."""
        return [
            entry["id"]
            for entry in self.spec["systems"]
            if suite in entry["suites"] and (controls or not entry["control"])
        ]

    def seeds(self, system: str) -> list[int]:
        return next((list(entry["seeds"]) for entry in self.spec["systems"] if entry["id"] == system), [])

    def is_ablation(self, system: str) -> bool:
        """A GliZNet variant that exists to be contrasted: not the reference, not one side of a named compound."""
        variant = system.removeprefix("gliznet-")
        gliznet = self.spec.get("gliznet", {})
        named = {name for pair in gliznet.get("compounds", {}).values() for name in pair}
        return (
            system.startswith("gliznet-")
            and variant in gliznet.get("variants", {})
            and variant not in named
            and system != self.reference
        )

    def headline(self, suite: str, limit: int = HEADLINE) -> list[str]:
        """The few systems that crowded figures show: the reference, the best others; no controls, no ablations."""
        found = [name for name in self.systems(suite, controls=False) if not self.is_ablation(name)]
        found.sort(key=lambda name: name != self.reference)  # stable: table order behind the reference
        if len(found) <= limit:
            return found
        means: dict[str, list[float]] = {}
        for (kind, _, system, _), value in self.main_metric().items():
            if kind == suite:
                means.setdefault(system, []).append(value)
        quality = {name: sum(values) / len(values) for name, values in means.items() if self.complete(suite, name)}
        best = sorted(found, key=lambda name: (name != self.reference, -quality.get(name, -1.0)))[:limit]
        return [name for name in found if name in best]

    def shown_note(self, suite: str, names: list[str]) -> str:
        """A caption's last words when a figure shows only some of the suite's systems."""
        others = len(self.systems(suite, controls=False)) - len(names)
        return f" {others} further systems (controls aside) are in the tables alone." if others > 0 else ""

    @cached_property
    def places(self) -> dict[str, int]:
        """A number a system, the same in every figure: those that headline figures show come first."""
        controls = {entry["id"]: entry["control"] for entry in self.spec["systems"]}
        names = [name for suite in self.spec["suites"] for name in self.headline(suite)]
        names += sorted(controls, key=lambda name: (name != self.reference, controls[name], self.is_ablation(name)))
        return {name: place for place, name in enumerate(dict.fromkeys(names))}

    @cached_property
    def unmoved(self) -> frozenset[str]:
        """Systems with a seed whose training says that its selection metric never moved; of a hybrid, all that read
        its heads."""
        still = {place for place, record in self.trainings().items() if record.get("selection_never_moved")}
        return frozenset(
            entry["id"]
            for entry in self.spec["systems"]
            if entry["trained"] and entry["settings"].get("blend") != "nli"
            if any((entry.get("model"), seed) in still for seed in entry["seeds"])
        )

    def trained_on(self, suite: str, dataset: str) -> set[str]:
        """Systems whose cards say that they were trained on the dataset."""
        return {
            system
            for kind, name, system, seed in self.cells()
            if (kind, name) == (suite, dataset) and (self.card(kind, name, system, seed) or {}).get("seen") == "yes"
        }

    def suite_means(self, suite: str, metric: str = "macro_f1") -> pd.DataFrame:
        """Mean over seeds of a test metric under argmax: systems as rows, dataset ids as columns, table order.

        NaN where a system has no number. A last column `average` is the plain mean over datasets, only for systems
        that have every dataset: averages over different sets are never ranked.
        """
        frame = self.metrics
        picked = frame[
            (frame["suite"] == suite)
            & (frame["metric"] == metric)
            & (frame["split"] == "test")
            & (frame["protocol"] == "argmax")
            & (frame["label"].fillna("") == "")
        ]
        means = picked.groupby(["system", "dataset"], observed=True)["value"].mean().unstack()
        missing = [(dataset, system) for kind, dataset, system in self.missing if kind == suite]
        columns = [name for name in self.datasets(suite) if name in {*means.columns, *(name for name, _ in missing)}]
        rows = [name for name in self.systems(suite) if name in {*means.index, *(name for _, name in missing)}]
        if not columns:
            return pd.DataFrame(columns=[AVERAGE], dtype=float)
        means = means.reindex(index=rows, columns=columns)
        means[AVERAGE] = means[columns].mean(axis=1, skipna=False)
        return means

    def topic_protocol(self) -> tuple[str, str] | None:
        """(protocol, split) that topic figures show, of those the run has."""
        topics = self.metrics[self.metrics["suite"] == "topics"]
        return representative(zip(topics["protocol"], topics["split"], strict=True))

    def main_metric(self) -> dict[tuple[str, str, str, int], float]:
        """Macro-F1 of every cell (suite, dataset, system, seed) under the protocol that the page shows first."""
        shown = {"gliclass": ("argmax", "test"), "topics": self.topic_protocol()}
        frame = self.metrics[self.metrics["metric"] == "macro_f1"]
        return {
            (row.suite, row.dataset, row.system, int(row.seed)): float(row.value)
            for row in frame.itertuples()
            if shown.get(row.suite) == (row.protocol, row.split)
        }

    def scores(self, suite: str, dataset: str, system: str, seed: int) -> pd.DataFrame | None:
        """Stored scores of a cell, or None when the run has no such cell, or one without scores."""
        place = (suite, dataset, system, seed)
        return checked_files(self.layout, place)[1].to_pandas() if place in self.cells() else None

    def card(self, suite: str, dataset: str, system: str, seed: int) -> dict[str, Any] | None:
        """Card of a cell, or None when the run has no such cell."""
        path = self.layout.card(suite, dataset, system, seed)
        return read_json(path) if path.is_file() else None

    @cached_property
    def _cards(self) -> dict[Place, dict[str, Any]]:
        """Cards of the run, in table order."""
        places = [
            (suite, dataset, system, seed)
            for suite in self.spec["suites"]
            for dataset in self.datasets(suite)
            for system in self.systems(suite)
            for seed in self.seeds(system)
        ]
        return {place: read_json(self.layout.card(*place)) for place in places if self.layout.card(*place).is_file()}

    def cells(self) -> list[Place]:
        """(suite, dataset, system, seed) of every stored cell that holds scores, in table order."""
        return [place for place, card in self._cards.items() if status(card) == OK]

    @cached_property
    def missing(self) -> dict[tuple[str, str, str], Missing]:
        """Every (suite, dataset, system) without a number, in table order: one seed without scores makes it so."""
        found: dict[tuple[str, str, str], list[tuple[str, str, int]]] = {}
        for (suite, dataset, system, seed), card in self._cards.items():
            if status(card) != OK:
                found.setdefault((suite, dataset, system), []).append((status(card), card["reason"], seed))
        return {
            place: Missing(
                *min(cells)[:2], tuple(seed for _, _, seed in cells)
            )  # "failed" comes before "not-applicable"
            for place, cells in found.items()
        }

    def complete(self, suite: str, system: str) -> bool:
        """Whether the system has a number on every dataset of a suite."""
        return not any((kind, name) == (suite, system) for kind, _, name in self.missing)

    def trainings(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Training records by (model, seed): models that are systems first, in table order, then the others by name."""
        order = [entry["id"] for entry in self.spec["systems"]]
        found = {}
        for path in (self.root / "models").glob("*/seed*/training.json"):
            found[path.parents[1].name, int(path.parent.name.removeprefix("seed"))] = read_json(path)
        rank = {name: place for place, name in enumerate(order)}
        return dict(sorted(found.items(), key=lambda item: (rank.get(item[0][0], len(rank)), item[0])))
