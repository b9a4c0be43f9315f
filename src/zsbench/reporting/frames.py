"""Input of a report: analysis frames, cards and training records of a run. No metrics are computed here."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from zsbench.evaluation.protocols import representative
from zsbench.plan.comparisons import PREFIX, suite_table
from zsbench.plan.suites import METRICS, suites_of
from zsbench.store import frames
from zsbench.store.cells import FAILED, NOT_APPLICABLE, OK, CellId, dataset_card, read_files, status
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json

HEADLINE = 6  # most systems that can be told apart in one panel
SERIES_COLORS = 8  # number of colours in `figures.style`, after which they repeat
AVERAGE = "average"  # the dataset name of values over a whole suite
SINGLE, MULTI = "single", "multi"  # tasks: one label per text, any number of labels per text
WORDS = {NOT_APPLICABLE: "n/a", FAILED: "failed"}  # shown in place of a missing number


def capital(words: str) -> str:
    """The words with a capital letter at the start, as in a heading."""
    return words[0].upper() + words[1:]


@dataclass(frozen=True)
class Missing:
    """Why a system has no result on a dataset: status and reason of the worst cell over its seeds."""

    status: str
    reason: str
    seeds: tuple[int, ...]  # those without scores

    @property
    def word(self) -> str:
        return WORDS[self.status]


@dataclass(frozen=True)
class RunData:
    """A run as seen by the report.

    Args:
        spec: the analysis spec: `run`, `suites`, `systems`, `gliznet`, `statistics`.
    """

    root: Path
    spec: dict[str, Any]

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    def frame(self, name: str) -> pd.DataFrame:
        """An analysis frame (`store.frames`)."""
        return frames.read(self.root, name)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        return self.frame("metrics")

    @cached_property
    def deltas(self) -> pd.DataFrame:
        return self.frame("deltas")

    @cached_property
    def cost(self) -> pd.DataFrame:
        return self.frame("cost")

    @cached_property
    def speed(self) -> pd.DataFrame:
        """Time, memory and truncation of scoring by (system, suite), over all its datasets and seeds."""
        groups = self.cost.groupby(["system", "suite"])
        sums = groups[["texts", "seconds", "truncated_texts", "truncated_labels"]].sum(min_count=1)
        sums["texts_per_second"] = sums["texts"] / sums["seconds"].where(sums["seconds"] > 0)
        return sums.assign(peak_memory_mb=groups["peak_memory_mb"].max(), n_sets=groups["dataset"].nunique())

    @property
    def alpha(self) -> float:
        """Significance level for adjusted p: 1 - `statistics.level`, as in verdicts."""
        return 1 - float(self.spec["statistics"]["level"])

    @property
    def level(self) -> str:
        """The level of intervals, as printed: `95 %`."""
        return f"{100 * self.spec['statistics']['level']:g} %"

    @property
    def reference(self) -> str:
        """The reference system of the deltas in tables."""
        return self.spec["statistics"]["system"]

    def against_reference(self, suite: str) -> pd.DataFrame:
        """The deltas of each other system of a single-label suite against the reference."""
        return self.deltas[self.deltas["table"] == suite_table(suite)]

    def suites(self, task: str) -> list[str]:
        """Suites of a task, in config order."""
        return suites_of(self.spec, task)

    def suite_title(self, suite: str) -> str:
        return self.spec["suites"][suite]["title"]

    def titled(self, title: str, suite: str) -> str:
        """The title of a table or figure of a suite, after that of the suite if the run has several of a task."""
        several = bool(suite) and len(self.suites(self.spec["suites"][suite]["task"])) > 1
        return f"{self.suite_title(suite)}: {title}" if several else title

    def metric(self, suite: str) -> str:
        """The headline metric of a suite, as named in `metrics.parquet`."""
        return self.spec["suites"][suite]["metric"]

    def metric_name(self, suite: str) -> str:
        """The display name of the headline metric: `macro-F1`."""
        return METRICS[self.metric(suite)].name

    def metric_title(self, suite: str) -> str:
        """The display name at the start of a heading: `Macro-F1`."""
        return capital(self.metric_name(suite))

    def metric_names(self, suites: Iterable[str]) -> str:
        """The display names of the headline metrics of suites: `macro-F1 and accuracy`."""
        return " and ".join(dict.fromkeys(map(self.metric_name, suites)))

    def decision(self, suite: str) -> tuple[str, str]:
        """The (protocol, split) that represents a suite if only one can be shown; empty if nothing was measured."""
        if self.spec["suites"][suite]["task"] == SINGLE:
            return "argmax", "test"
        rows = self.metrics[self.metrics["suite"] == suite]
        return representative(zip(rows["protocol"], rows["split"], strict=True)) or ("", "")

    def decided(self, suite: str) -> pd.DataFrame:
        """The metrics of a suite under its `decision`."""
        protocol, split = self.decision(suite)
        rows = self.metrics[self.metrics["suite"] == suite]
        return rows[(rows["protocol"] == protocol) & (rows["split"] == split)]

    def datasets(self, suite: str) -> dict[str, dict[str, Any]]:
        """Datasets of a suite by id, in table order."""
        return {entry["id"]: entry for entry in self.spec["suites"][suite]["datasets"]}

    @cached_property
    def titles(self) -> dict[str, str]:
        """Dataset id -> title, over all suites."""
        return {name: entry["title"] for suite in self.spec["suites"] for name, entry in self.datasets(suite).items()}

    def systems(self, suite: str, controls: bool = True) -> list[str]:
        """Systems of a suite in table order."""
        return [
            entry["id"]
            for entry in self.spec["systems"]
            if suite in entry["suites"] and (controls or not entry["control"])
        ]

    def system(self, name: str) -> dict[str, Any]:
        """The spec of a system; {} if the run does not have it."""
        return next((entry for entry in self.spec["systems"] if entry["id"] == name), {})

    @cached_property
    def controls(self) -> frozenset[str]:
        return frozenset(entry["id"] for entry in self.spec["systems"] if entry["control"])

    def seeds(self, system: str) -> list[int]:
        return list(self.system(system).get("seeds", []))

    @cached_property
    def trained_seeds(self) -> list[int]:
        """The seeds that all trained systems share; [] if the run trained none."""
        return next((list(entry["seeds"]) for entry in self.spec["systems"] if entry["trained"]), [])

    @cached_property
    def ablations(self) -> frozenset[str]:
        """Ablation variants of GliZNet: neither the reference nor part of a named compound."""
        gliznet = self.spec["gliznet"]
        named = {name for pair in gliznet["compounds"].values() for name in pair}
        return frozenset(f"{PREFIX}{name}" for name in gliznet["variants"] if name not in named) - {self.reference}

    def headline(self, *suites: str, limit: int = HEADLINE) -> list[str]:
        """The few systems shown in crowded figures: the reference and the best others, no controls or ablations."""
        names = [name for suite in suites for name in self.systems(suite, controls=False)]
        names = [name for name in dict.fromkeys(names) if name not in self.ablations]
        names.sort(key=lambda name: name != self.reference)  # stable: table order behind the reference
        if len(names) <= limit:
            return names
        quality = pd.concat([self.suite_means(suite)[AVERAGE].dropna() for suite in suites]).groupby(level=0).mean()
        best = sorted(names, key=lambda name: (name != self.reference, -quality.get(name, -1.0)))[:limit]
        return [name for name in names if name in best]

    def shown_note(self, names: list[str], *suites: str) -> str:
        """The end of a caption if a figure shows only some of the systems of its suites."""
        others = len({name for suite in suites for name in self.systems(suite, controls=False)}) - len(names)
        return f" {others} further systems (controls aside) are in the tables alone." if others > 0 else ""

    @cached_property
    def series(self) -> dict[str, int]:
        """Index of the `series_style` of each system, the same in all figures; colours are unique within a suite."""
        numbers: dict[str, int] = {}
        for suite in self.spec["suites"]:
            names = self.headline(suite)
            for name in names:
                colors = {numbers[other] % SERIES_COLORS for other in names if other in numbers}
                free = (n for n in itertools.count() if n not in numbers.values() and n % SERIES_COLORS not in colors)
                numbers.setdefault(name, next(free))
        ids = [entry["id"] for entry in self.spec["systems"]]
        ids.sort(key=lambda name: (name != self.reference, name in self.controls, name in self.ablations))
        for name in ids:
            numbers.setdefault(name, next(n for n in itertools.count() if n not in numbers.values()))
        return numbers

    @cached_property
    def unmoved(self) -> frozenset[str]:
        """Systems with a seed whose validation metric never improved in training; for a hybrid, all systems that use
        its heads."""
        still = {key for key, record in self.trainings.items() if record.get("selection_never_moved")}
        return frozenset(
            entry["id"]
            for entry in self.spec["systems"]
            if entry["trained"] and entry["settings"].get("blend") != "nli"
            if any((entry.get("model"), seed) in still for seed in entry["seeds"])
        )

    def chosen_on(self, system: str, dataset: str, split: str) -> bool:
        """Whether the weights of a multi-label system were selected on the rows of this split.

        Heads trained in this run use the validation rows of their dataset for early stopping. Which rows a publisher
        used is not known, so every split of a dataset that the config declares as `seen` counts.
        """
        entry = self.system(system)
        if entry["settings"].get("blend") == "nli":  # does not use the heads
            return False
        if entry["trained"]:
            return split == "validation" and entry["settings"].get("dataset") == dataset
        return dataset in entry["settings"].get("seen", [])

    def seen(self, suite: str, dataset: str) -> dict[str, str]:
        """Whether each system was trained on the dataset, according to its cards: `yes`, `unknown` or `no`."""
        answers: dict[str, str] = {}
        for cell in self.cells():
            if cell[:2] == (suite, dataset):
                answer = str(self.cards[cell].get("seen", "unknown"))
                rank = ("yes", "unknown", "no").index
                answers[cell[2]] = min(answer, answers.get(cell[2], "no"), key=rank)
        return answers

    def suite_means(self, suite: str, metric: str = "") -> pd.DataFrame:
        """A metric (default: the headline metric) averaged over seeds, with the suite's `decision`: systems as rows,
        dataset ids as columns, both in table order; NaN where a system has no result.

        A last column `average` is the plain mean over datasets, only for systems that have every dataset: averages
        over different sets are never ranked.
        """
        rows = self.decided(suite)
        rows = rows[(rows["metric"] == (metric or self.metric(suite))) & (rows["label"] == "")]
        means = rows.groupby(["system", "dataset"])["value"].mean().unstack()
        missing = [(dataset, system) for kind, dataset, system in self.missing if kind == suite]
        columns = [name for name in self.datasets(suite) if name in {*means.columns, *(name for name, _ in missing)}]
        index = [name for name in self.systems(suite) if name in {*means.index, *(name for _, name in missing)}]
        if not columns:
            return pd.DataFrame(columns=[AVERAGE], dtype=float)
        means = means.reindex(index=index, columns=columns).rename_axis(index="system", columns=None)
        means[AVERAGE] = means[columns].mean(axis=1, skipna=False)
        return means

    def cell_values(self) -> dict[CellId, float]:
        """Headline metric of all cells, with the `decision` of their suite."""
        return {
            (suite, row.dataset, row.system, int(row.seed)): float(row.value)
            for suite in self.spec["suites"]
            for row in self.decided(suite).itertuples()
            if row.metric == self.metric(suite) and not row.label
        }

    def scores(self, suite: str, dataset: str, system: str, seed: int) -> pd.DataFrame | None:
        """Stored scores of a cell, or None if the cell is missing or has no scores."""
        key = (suite, dataset, system, seed)
        return read_files(self.layout, key)[1].to_pandas() if key in self.cells() else None

    @cached_property
    def cards(self) -> dict[CellId, dict[str, Any]]:
        """Card of every stored cell, in table order."""
        keys = [
            (suite, dataset, system, seed)
            for suite in self.spec["suites"]
            for dataset in self.datasets(suite)
            for system in self.systems(suite)
            for seed in self.seeds(system)
        ]
        return {key: read_json(self.layout.card(*key)) for key in keys if self.layout.card(*key).is_file()}

    def dataset_card(self, dataset: str) -> dict[str, Any]:
        """Card of a prepared dataset; {} if it was not prepared."""
        return dataset_card(self.layout, dataset)

    def scored_rows(self, dataset: str) -> dict[str, int]:
        """Number of rows that were scored by split, from the card of the dataset's first cell; {} if it has none."""
        return next((self.cards[cell]["rows"] for cell in self.cells() if cell[1] == dataset), {})

    def cells(self) -> list[CellId]:
        """All stored cells with scores, in table order."""
        return [key for key, card in self.cards.items() if status(card) == OK]

    @cached_property
    def missing(self) -> dict[tuple[str, str, str], Missing]:
        """All (suite, dataset, system) without a result, in table order: a single seed without scores is enough."""
        lost: dict[tuple[str, str, str], list[tuple[str, str, int]]] = {}
        for (suite, dataset, system, seed), card in self.cards.items():
            if status(card) != OK:
                lost.setdefault((suite, dataset, system), []).append((status(card), card["reason"], seed))
        return {  # "failed" comes before "not-applicable"
            key: Missing(*min(cells)[:2], tuple(seed for _, _, seed in cells)) for key, cells in lost.items()
        }

    def missing_word(self, suite: str, datasets: list[str], *systems: str) -> str:
        """The status shown for a number that needs all of these cells; "" if none is missing."""
        keys = [(suite, dataset, system) for dataset in datasets for system in systems]
        return min((self.missing[key].word for key in keys if key in self.missing), default="")

    @cached_property
    def trainings(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Training records by (model, seed): models that are systems first, in table order, then the others by name."""
        rank = {entry["id"]: number for number, entry in enumerate(self.spec["systems"])}
        records = {
            (path.parents[1].name, int(path.parent.name.removeprefix("seed"))): read_json(path)
            for path in (self.root / "models").glob("*/seed*/training.json")
        }
        return dict(sorted(records.items(), key=lambda item: (rank.get(item[0][0], len(rank)), item[0])))
