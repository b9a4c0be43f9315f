"""All differences shown in tables (`analysis/deltas.parquet`) and ranks (`analysis/ranks.parquet`), computed from
stored scores.

Axis legend: D draws, S seeds, K partitions of `cv` (otherwise 1), n rows, L labels, V variants.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from zsbench.evaluation import verdicts
from zsbench.evaluation.cells import paired_cells
from zsbench.evaluation.metrics import point
from zsbench.evaluation.protocols import read_decisions
from zsbench.evaluation.statistics import (
    Spread,
    bootstrap,
    degrees_of_freedom,
    interval,
    mcnemar,
    p_value,
    ranks,
    seed_spread,
    shapley,
    step_down_max_t,
    swapped,
)
from zsbench.plan.comparisons import Pair, pairs_of
from zsbench.plan.suites import FIXED, METRICS, suite_systems
from zsbench.store import frames
from zsbench.store.layout import Layout
from zsbench.store.provenance import digest

AVERAGE = "average"
TUNED, CROSS_FITTED = "val-tuned", "cv"
SHAPLEY = "thresholds (Shapley)"
CHECKPOINTS, TRAININGS = "checkpoints", "trainings"
RARE = 5  # labels with fewer gold rows are reported

Key = tuple[str, str, str]  # split, system, protocol
Test = tuple[Key, Key]  # the two sides of a comparison, in sorted order


@dataclass(frozen=True)
class Answers:
    """The answers of every system of a suite on one dataset.

    Attributes:
        gold: split -> (n, L) bool.
        systems: key -> (S, K, n, L) predictions, or scores (K = 1) if the metric reads them.
        correct: key -> (n,) whether the first seed is correct on each row; if empty, derived from the predictions in
            `systems`.
    """

    gold: dict[str, np.ndarray]
    systems: dict[Key, np.ndarray]
    correct: dict[Key, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """A metric of one system on one dataset, or its mean over datasets, under one protocol.

    Attributes:
        points: (S,) value of each seed.
        draws: (D, S) the same in each bootstrap draw of rows.
        correct: (n,) whether the first seed is correct on each row (multi-label: on all labels).
    """

    system: str
    points: np.ndarray
    draws: np.ndarray
    correct: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """Resampling results of one dataset. All systems share the draws of rows, and all tests share the swaps.

    Attributes:
        samples: key -> the metric of a system.
        null: test -> (D,) differences under the null hypothesis, where chance decides which side gave which answer.
        unseen: split -> variance from unseen rows, see `verdicts.unseen_variance`.
        rare: split -> number of labels with 1 to `RARE` - 1 gold rows.
    """

    samples: dict[Key, Sample]
    null: dict[Test, np.ndarray]
    unseen: dict[str, float]
    rare: dict[str, int]


@dataclass
class Measured:
    """A difference on one dataset or on their average; `correct` fills in the results of the multiple-testing family.

    Attributes:
        low, high: percentile interval.
        p: two-sided; nan if there is no test (two seeds, or thresholds of one side tuned on the reported rows).
        null: (D,) differences under the null hypothesis, due to rows and seeds.
        scale: their standard deviation; makes differences of one family comparable.
        precision: uncertainty of the difference, by source.
        df: degrees of freedom of the variance between seeds; nan with one seed per side.
        unit: what the difference generalises to: only these "checkpoints", or "trainings" of these recipes.
    """

    delta: float
    low: float
    high: float
    p: float
    null: np.ndarray
    scale: float
    precision: verdicts.Precision
    df: float
    unit: str
    n_rows: int
    n_seeds: int
    n_baseline_seeds: int
    rare_labels: int
    mcnemar_p: float
    n_sets: int = 1
    p_adjusted: float = math.nan
    tests: int = 0
    critical: float = math.nan


def compare(root: Path, spec: dict[str, Any]) -> None:
    """Write `analysis/deltas.parquet` and `analysis/ranks.parquet`.

    `plan.comparisons` defines the comparisons. Each has one row per dataset and a row `average`, in which datasets are
    strata. Both cover the datasets on which both sides have scores (`n_sets` of them); a comparison without any has no
    row.

    A multiple-testing family is all comparisons of a suite under one protocol on one split, each counted once even if
    several tables show it. Comparisons with controls (sanity checks) and those that change both system and thresholds
    (sums of others) are not in a family; their `p_adjusted` is missing. Single datasets are tested only if the average
    is significant.

    Args:
        spec: the analysis spec. A suite's `metric` is one of `plan.suites.METRICS` (default macro_f1).

    Raises:
        IntegrityError: a cell is missing, damaged or unpaired.
    """
    layout = Layout(Path(root))
    rows: list[dict[str, Any]] = []
    ranking: list[dict[str, Any]] = []
    for suite, entry in spec["suites"].items():
        single, metric = entry["task"] == "single", entry["metric"]
        answers = {dataset["id"]: answers_of(layout, suite, dataset, spec) for dataset in entry["datasets"]}
        shared = available({name: of_dataset.systems for name, of_dataset in answers.items()})
        pairs = pairs_of(spec, suite, shared)
        tests = list(dict.fromkeys(test_of(pair) for pair in pairs))
        evidence = {
            name: resample(name, of_dataset, tests, metric, single, spec["statistics"])
            for name, of_dataset in answers.items()
        }
        comparisons = Comparisons(evidence, bases(spec, suite), spec["statistics"], models(spec, suite))
        suite_rows = comparisons.rows(pairs)
        rows += [row | {"metric": metric} for row in suite_rows]
        ranking += rank_rows(suite, evidence, [s["id"] for s in suite_systems(spec, suite) if not s["control"]])
    frames.write(layout, "deltas", rows)
    frames.write(layout, "ranks", ranking)


def answers_of(layout: Layout, suite: str, dataset: dict[str, Any], spec: dict[str, Any]) -> Answers:
    """The decisions (or scores, if the metric reads them) of every system on one dataset, under every protocol."""
    entry = spec["suites"][suite]
    scores = METRICS[entry["metric"]].reads == "scores"
    answers = Answers({}, {})
    for system, cells in paired_cells(layout, suite, dataset, suite_systems(spec, suite)):
        by_seed = [read_decisions(layout, cell) for cell in cells]
        for decisions in zip(*by_seed, strict=True):  # one protocol and split, all seeds
            first = decisions[0]
            gold = answers.gold[first.split] = cells[0].gold[first.rows]
            key = first.split, system["id"], first.protocol
            answers.correct[key] = (first.partitions[0] == gold).all(axis=1)
            answers.systems[key] = np.stack(
                [cell.scores[first.rows][None] for cell in cells]
                if scores
                else [decision.partitions for decision in decisions]
            )
    return answers


def available(scored: dict[str, Collection[Key]]) -> set[Key]:
    """The keys (split, system, protocol) that can be compared: their protocol and split exist on every scored dataset.

    A protocol that one dataset does not support (no test split) is left out for every system.

    Args:
        scored: dataset -> its keys; datasets without any are ignored.
    """
    decided = [keys for keys in scored.values() if keys]
    everywhere = [{(split, protocol) for split, _, protocol in keys} for keys in decided]
    common = set.intersection(*everywhere) if everywhere else set()
    return {key for keys in decided for key in keys if (key[0], key[2]) in common}


def sides_of(pair: Pair) -> tuple[Key, Key]:
    """The keys of a pair: the system, then its baseline."""
    return (pair.split, pair.system, pair.protocol), (pair.split, pair.baseline, pair.baseline_protocol)


def test_of(pair: Pair) -> Test:
    """The test of a pair, regardless of which side a table shows first."""
    first, second = sorted(sides_of(pair))
    return first, second


def bases(spec: dict[str, Any], suite: str) -> dict[str, str]:
    """Trained system -> what it is a variant of.

    All GliZNet variants share one base config, as do all hybrids; any other trained system is its own base, and so is
    the NLI model that a hybrid scores alone (blend `nli`).
    """
    shared = ("gliznet", "hybridnli")
    return {
        system["id"]: system["family"]
        if system["family"] in shared and system["settings"].get("blend") != "nli"
        else system["id"]
        for system in suite_systems(spec, suite)
        if system["trained"]
    }


def models(spec: dict[str, Any], suite: str) -> dict[str, str]:
    """Trained system -> the model that it loads. Blends of a hybrid load the same checkpoints."""
    return {system["id"]: system["model"] for system in suite_systems(spec, suite) if system["trained"]}


def resample(
    dataset: str, answers: Answers, tests: Iterable[Test], metric: str, single: bool, statistics: dict[str, Any]
) -> Evidence:
    """Bootstrap every system and swap the answers of every test on one dataset; all share the draws of their split.

    Args:
        metric: a name in `plan.suites.METRICS`.
        single: each row has one gold label.
        statistics: `draws` and `seed` of the config.
    """
    evidence = Evidence({}, {}, {}, {})
    for split, gold in answers.gold.items():
        keys = [key for key in answers.systems if key[0] == split]
        sets = {key: answers.systems[key] for key in keys}
        flat = np.concatenate([of_system.reshape(-1, *gold.shape) for of_system in sets.values()])  # (M, n, L)
        starts = np.cumsum([0, *(len(s) * s.shape[1] for s in sets.values())])
        indices = {
            key: np.arange(start, start + s.shape[0] * s.shape[1]).reshape(s.shape[:2])
            for (key, s), start in zip(sets.items(), starts, strict=False)
        }
        seed = int(digest([statistics["seed"], dataset, split]), 16)
        draws = bootstrap(metric, gold, flat, statistics["draws"], seed, single)
        points = point(metric, gold, flat, single)
        for key, index in indices.items():
            correct = answers.correct[key] if answers.correct else (sets[key][0, 0] == gold).all(axis=1)
            evidence.samples[key] = Sample(key[1], points[index].mean(axis=1), draws[:, index].mean(axis=2), correct)
        here = [test for test in tests if all(key in indices for key in test)]
        if here:
            paired = [paired_indices(indices[first], indices[second]) for first, second in here]
            null = swapped(metric, gold, flat, paired, statistics["draws"], seed, single)
            evidence.null.update(zip(here, null.T, strict=True))
        counts = gold.sum(axis=0)
        evidence.unseen[split] = verdicts.unseen_variance(gold)
        evidence.rare[split] = int(((counts > 0) & (counts < RARE)).sum())
    return evidence


def paired_indices(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match the answer sets of two sides, (S, K) indices each; a side with fewer seeds or partitions repeats its own.

    Returns:
        Two flat index arrays of equal length.
    """
    shape = tuple(max(sizes) for sizes in zip(first.shape, second.shape, strict=True))
    wanted = np.ix_(*(np.arange(size) for size in shape))
    return tuple(  # type: ignore[return-value]
        side[wanted[0] % side.shape[0], wanted[1] % side.shape[1]].ravel() for side in (first, second)
    )


@dataclass
class Comparisons:
    """The comparisons of one suite.

    Attributes:
        evidence: dataset -> its resampling results.
        base: trained system -> what it is a variant of (see `bases`).
        statistics: `draws`, `seed`, `level`, `margin`.
        model: trained system -> the model that it loads (see `models`); by default, each has its own.
    """

    evidence: dict[str, Evidence]
    base: dict[str, str]
    statistics: dict[str, Any]
    model: dict[str, str] = field(default_factory=dict)
    _spreads: dict[Any, tuple[Spread, Spread]] = field(default_factory=dict)

    def rows(self, pairs: list[Pair]) -> Iterator[dict[str, Any]]:
        """For each pair, one row per dataset on which both sides have scores, and one for their average."""
        results: dict[Test, dict[str, Measured]] = {}
        families: dict[tuple[str, str], list[dict[str, Measured]]] = {}
        for pair in pairs:
            test = test_of(pair)
            levels = self.levels(test)
            if test in results or not levels:
                continue
            results[test] = {name: self.measured(test, sets) for name, sets in levels.items()}
            if pair.corrected and not math.isnan(results[test][AVERAGE].p):
                families.setdefault((pair.protocol, pair.split), []).append(results[test])
        for family in families.values():
            correct(family, self.statistics["level"])
        for pair in pairs:
            for name, measured in results.get(test_of(pair), {}).items():
                yield self.row(pair, name, measured)
            if pair.factor == "system + thresholds":
                yield from self.shapley_rows(pair)

    def levels(self, test: Test) -> dict[str, list[str]]:
        """Row name -> its datasets: each dataset on which both sides have scores, then `average` over all of them."""
        common = [name for name, evidence in self.evidence.items() if all(key in evidence.samples for key in test)]
        return {**{name: [name] for name in common}, AVERAGE: common} if common else {}

    def sample(self, key: Key, datasets: list[str]) -> Sample:
        return average([self.evidence[name].samples[key] for name in datasets])

    def measured(self, test: Test, datasets: list[str]) -> Measured:
        """The difference of a test on one dataset, or on the average of several."""
        first, second = (self.sample(key, datasets) for key in test)
        null = np.mean([self.evidence[name].null[test] for name in datasets], axis=0)
        drawn = first.draws.mean(axis=1) - second.draws.mean(axis=1)
        split, counts = test[0][0], (len(first.points), len(second.points))
        unseen = sum(self.evidence[name].unseen[split] for name in datasets) / len(datasets) ** 2
        effects, parts = self.seeds(test, datasets)
        seeds = sum(spread.variance / count for spread, count in parts)
        either = sum(min(spread.variance, spread.rows) / count for spread, count in parts)
        rows = float(drawn.var(ddof=1))
        shared = max(0.0, rows - sum(spread.rows / count for spread, count in parts))
        shrink = math.sqrt(shared / rows) if rows > 0 else 1.0  # errors of single trainings are already in `effects`
        drawn = drawn.mean() + shrink * (drawn - drawn.mean()) + effects
        null = shrink * null + effects
        known = [(spread.variance / count, spread.df) for spread, count in parts]
        tested = 2 not in counts and not tuned_against_other(test)
        delta = float(first.points.mean() - second.points.mean())
        low, high = interval(drawn, self.statistics["level"])
        return Measured(
            delta=delta,
            low=low,
            high=high,
            p=p_value(delta, null) if tested else math.nan,
            null=null,
            scale=math.sqrt(float(((null - effects) ** 2).mean()) + seeds) or 1.0,
            precision=verdicts.Precision(
                shared + unseen, seeds - either, either, degrees_of_freedom(shared + unseen, *known)
            ),
            df=degrees_of_freedom(0.0, *known) if parts else math.nan,
            unit=TRAININGS if parts and tested else CHECKPOINTS,
            n_rows=len(first.correct),
            n_seeds=counts[0],
            n_baseline_seeds=counts[1],
            n_sets=len(datasets),
            rare_labels=sum(self.evidence[name].rare[split] for name in datasets),
            mcnemar_p=mcnemar(first.correct, second.correct) if len(datasets) == 1 else math.nan,
        )

    def seeds(self, test: Test, datasets: list[str]) -> tuple[np.ndarray, list[tuple[Spread, float]]]:
        """Errors (D,) of a difference due to the choice of seeds, and (variance of one training, number of trainings).

        A side with one seed adds nothing: the difference is then between checkpoints. Errors follow Student's t. Their
        normal part is the same for a system in all its comparisons, and their variance part is shared by all variants
        of a base. Two sides with the same checkpoints have an error of their own, that of their paired differences.
        """
        (_, one, protocol), (_, other, other_protocol) = test
        samples = [self.sample(key, datasets) for key in test]
        counts = [len(sample.points) for sample in samples]
        draws = self.statistics["draws"]
        if self.model.get(one, one) == self.model.get(other, other):  # two protocols, or two blends of one hybrid
            if counts[0] < 2:
                return np.zeros(draws), []
            points = (samples[0].points - samples[1].points)[None]
            moved = (samples[0].draws - samples[1].draws)[:, None]
            spread = seed_spread(points, moved)[1]
            both = " ".join(dict.fromkeys((one, other)))
            effects = self.errors(both, math.sqrt(spread.variance / counts[0]), spread.df, both)
            return effects, [(spread, counts[0])]
        spreads = [self.spread(key, datasets) if count > 1 else None for key, count in zip(test, counts, strict=True)]
        blocked = (
            one in self.base
            and self.base[one] == self.base.get(other)
            and protocol == other_protocol
            and counts[0] == counts[1] > 1
        )
        effects = np.zeros(draws)
        parts: list[tuple[Spread, float]] = []
        for (_, system, _), pooled, count, sign in zip(test, spreads, counts, (1, -1), strict=True):
            if pooled is not None:
                spread = pooled[0] if blocked else pooled[1]
                base = self.base.get(system, system)
                effects += sign * self.errors(system, math.sqrt(spread.variance / count), spread.df, base)
                parts.append((spread, count))
        if blocked:  # both sides share one variance estimate
            parts = [(parts[0][0], counts[0] / 2)]
        return effects, parts

    def errors(self, system: str, scale: float, df: float, base: str) -> np.ndarray:
        """(D,) Student's t errors of a system's mean over seeds."""

        def generator(*names: str) -> np.random.Generator:
            return np.random.default_rng(int(digest([self.statistics["seed"], "seeds", *names]), 16))

        draws = self.statistics["draws"]
        if scale == 0:
            return np.zeros(draws)
        return (
            scale * generator(system).standard_normal(draws) * np.sqrt(df / generator("of", base).chisquare(df, draws))
        )

    def spread(self, key: Key, datasets: list[str]) -> tuple[Spread, Spread]:
        """Variance between the seeds of a system, pooled over the variants of its base on these datasets.

        Of several systems that load the same model, only the first counts: they are not separate trainings.

        Returns:
            Blocked on seed and not blocked, see `seed_spread`.
        """
        split, system, protocol = key
        base, wanted = self.base.get(system), len(self.evidence[datasets[0]].samples[key].points)
        cache_key = split, protocol, tuple(datasets), base or system, wanted
        if cache_key not in self._spreads:
            variants = [
                variant
                for variant in ((split, name, protocol) for name, its in self.base.items() if its == base)
                if all(variant in self.evidence[name].samples for name in datasets)
            ] or [key]
            by_model: dict[str, Sample] = {}
            for variant in variants:
                if len((sample := self.sample(variant, datasets)).points) == wanted:
                    by_model.setdefault(self.model.get(variant[1], variant[1]), sample)
            samples = [*by_model.values()]
            self._spreads[cache_key] = seed_spread(
                np.stack([sample.points for sample in samples]), np.stack([sample.draws for sample in samples], axis=1)
            )
        return self._spreads[cache_key]

    def row(self, pair: Pair, dataset: str, measured: Measured) -> dict[str, Any]:
        """A row of the frame; signs are reversed if the table shows the test's second side first."""
        level, margin = self.statistics["level"], self.statistics["margin"]
        sign = 1 if sides_of(pair)[0] == test_of(pair)[0] else -1
        ends = sorted((sign * measured.low, sign * measured.high))
        delta, precision = sign * measured.delta, measured.precision
        equivalence = verdicts.equivalence_interval(delta, precision, level)
        critical = measured.critical
        if math.isnan(critical):
            critical = float(np.quantile(np.abs(measured.null), level)) / measured.scale
        critical = max(critical, float(norm.ppf((1 + level) / 2)))  # few differing rows: few distinct values
        tested = not math.isnan(measured.p)
        p = measured.p_adjusted if pair.corrected else measured.p
        word = verdicts.verdict(p, equivalence, margin, level) if tested else ""
        seeds = max(measured.n_seeds, measured.n_baseline_seeds)  # an untrained side has one
        enough = verdicts.needs(precision, critical, margin, measured.n_rows, seeds)
        counts = (measured.n_seeds, measured.n_baseline_seeds)[::sign]
        return {
            **dataclasses.asdict(pair),
            "dataset": dataset,
            "delta": delta,
            "low": ends[0],
            "high": ends[1],
            "p": measured.p,
            "p_adjusted": measured.p_adjusted if pair.corrected else math.nan,
            "tests": measured.tests if pair.corrected else 0,
            "unit": measured.unit,
            "df": measured.df,
            "error": precision.error,
            "equivalence_low": equivalence[0],
            "equivalence_high": equivalence[1],
            "mde": verdicts.detectable(precision, critical),
            "verdict": word,
            "needs_rows": enough[0] if word == verdicts.UNDECIDED else math.nan,
            "needs_seeds": enough[1] if word == verdicts.UNDECIDED else math.nan,
            "optimism": self.optimism(pair, dataset),
            "rare_labels": measured.rare_labels,
            "n_rows": measured.n_rows,
            "n_sets": measured.n_sets,
            "n_seeds": counts[0],
            "n_baseline_seeds": counts[1],
            "mcnemar_p": measured.mcnemar_p,
        }

    def optimism(self, pair: Pair, dataset: str) -> float:
        """A system's gain from tuning thresholds on the reported rows: `val-tuned` minus `cv` on the same rows."""
        keys = [(pair.split, pair.system, protocol) for protocol in (TUNED, CROSS_FITTED)]
        datasets = self.levels(test_of(pair))[dataset]
        if pair.protocol != TUNED or any(key not in self.evidence[name].samples for name in datasets for key in keys):
            return math.nan
        tuned, fitted = (self.sample(key, datasets).points.mean() for key in keys)
        return float(tuned - fitted)

    def shapley_rows(self, pair: Pair) -> Iterator[dict[str, Any]]:
        """Contribution of fitted thresholds to the gain of a system that uses them over a baseline at 0.5.

        The mean over both orders of the two changes, i.e. of the rows `thresholds` of the baseline and of the system.
        """
        sides = [
            (pair.baseline, FIXED),
            (pair.baseline, pair.protocol),
            (pair.system, FIXED),
            (pair.system, pair.protocol),
        ]
        keys = [(pair.split, *side) for side in sides]
        for dataset, names in self.levels(test_of(pair)).items():
            samples = [self.sample(key, names) for key in keys]
            delta = shapley(*(sample.points.mean() for sample in samples))
            drawn = shapley(*(sample.draws.mean(axis=1) for sample in samples))
            low, high = interval(drawn, self.statistics["level"])
            yield {
                **dataclasses.asdict(dataclasses.replace(pair, factor=SHAPLEY)),
                "dataset": dataset,
                "delta": float(delta),
                "low": low,
                "high": high,
                "tests": 0,
                "unit": CHECKPOINTS,
                "n_rows": len(samples[0].correct),
                "n_sets": len(names),
                "verdict": "",
                "rare_labels": 0,
                "n_seeds": len(samples[3].points),
                "n_baseline_seeds": len(samples[0].points),
            }


def average(samples: list[Sample]) -> Sample:
    """Mean over datasets for each seed and draw: datasets are strata, and a seed is one model on all of them."""
    return Sample(
        samples[0].system,
        np.mean([sample.points for sample in samples], axis=0),
        np.mean([sample.draws for sample in samples], axis=0),
        np.concatenate([sample.correct for sample in samples]),
    )


def tuned_against_other(test: Test) -> bool:
    """Whether only one side was tuned on the reported rows; it would gain even without a real effect."""
    protocols = {protocol for _, _, protocol in test}
    return len(protocols) == 2 and TUNED in protocols


def correct(family: list[dict[str, Measured]], level: float) -> None:
    """Fill in `p_adjusted`, `tests` and `critical`: for the averages, then for the datasets of significant averages.

    The p of a dataset is at least that of its average.
    """
    _step_down([levels[AVERAGE] for levels in family], level)
    for levels in family:
        for cell in levels.values():
            cell.critical = levels[AVERAGE].critical
    gated = [levels for levels in family if levels[AVERAGE].p_adjusted < 1 - level]
    cells = [cell for levels in gated for name, cell in levels.items() if name != AVERAGE]
    if cells:
        _step_down(cells, level)
    for levels in gated:
        for cell in levels.values():
            cell.p_adjusted = max(cell.p_adjusted, levels[AVERAGE].p_adjusted)


def _step_down(tests: list[Measured], level: float) -> None:
    observed = np.array([abs(test.delta) / test.scale for test in tests])
    null = np.abs(np.stack([test.null / test.scale for test in tests], axis=1))
    adjusted, critical = step_down_max_t(observed, null, level)
    for test, p in zip(tests, adjusted.tolist(), strict=True):
        test.p_adjusted, test.tests, test.critical = p, len(tests), critical


def rank_rows(suite: str, evidence: dict[str, Evidence], systems: list[str]) -> Iterator[dict[str, Any]]:
    """Each system's rank on the average over datasets, with the central 95 % of its ranks over draws, and the share of
    draws in which it ranks first.

    Includes only systems with scores on every dataset. Rows are resampled, seeds are not. Draws are shifted so that
    their mean is the system's value: where labels have few rows, macro-F1 is lower in draws, by different amounts for
    different systems, and this bias must not affect the ranks.
    """
    groups = dict.fromkeys((key[2], key[0]) for of_dataset in evidence.values() for key in of_dataset.samples)
    for protocol, split in groups:
        keys = [(split, name, protocol) for name in systems]
        keys = [key for key in keys if all(key in of_dataset.samples for of_dataset in evidence.values())]
        if len(keys) < 2:
            continue
        samples = [average([of_dataset.samples[key] for of_dataset in evidence.values()]) for key in keys]
        values = np.array([sample.points.mean() for sample in samples])
        drawn = np.stack([sample.draws.mean(axis=1) for sample in samples], axis=1)  # (D, M)
        drawn = ranks(np.round(drawn - drawn.mean(axis=0) + values, 9))  # rounding keeps equal systems tied
        best = drawn == drawn.min(axis=1, keepdims=True)
        first = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        for i, (key, rank) in enumerate(zip(keys, ranks(values), strict=True)):
            yield {
                "suite": suite,
                "protocol": protocol,
                "split": split,
                "system": key[1],
                "value": float(values[i]),
                "rank": float(rank),
                "rank_low": float(low[i]),
                "rank_high": float(high[i]),
                "p_best": float(first[i]),
            }
