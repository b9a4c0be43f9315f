"""Judge claims from the results of a run: `analysis/claims.parquet`.

Each rule is a function with the name of its entry in `plan.claims.RULES`. It takes the run and a claim, and returns the
measured value and a verdict. If the run has no cells to measure, the rule raises `NotTestableError`; its message is
shown in the table.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from zsbench.config.published import PUBLISHED, load_published
from zsbench.evaluation.cells import paired_cells, read_cell
from zsbench.evaluation.compare import (
    AVERAGE,
    SHAPLEY,
    Comparisons,
    answers_of,
    available,
    bases,
    models,
    resample,
    test_of,
)
from zsbench.evaluation.metrics import average_precision
from zsbench.evaluation.protocols import representative
from zsbench.evaluation.statistics import interval, row_weights
from zsbench.evaluation.verdicts import EFFECT, NO_EFFECT
from zsbench.plan.claims import (
    CONTRADICTED,
    COUNTED,
    NOT_TESTABLE,
    RULES,
    SUPPORTED,
    UNDECIDED,
    named,
    suite_of,
)
from zsbench.plan.comparisons import CLAIMS, Pair
from zsbench.plan.suites import ARGMAX, METRICS, is_random, nli_of, suite_systems, suites_of
from zsbench.store import frames
from zsbench.store.errors import counted
from zsbench.store.integrity import check_rows
from zsbench.store.layout import Layout
from zsbench.store.provenance import digest, read_json

Spec = dict[str, Any]
BLENDS = np.linspace(0, 1, 21)  # NLI weights on the grid of rule `blend`
RENAMED = {"head": "scoring_method", "max_length": "max_sequence_length"}  # option -> key of a GliZNet's config.json


class NotTestableError(Exception):
    """A claim that this run cannot test; the message is shown in the table."""


@dataclass(frozen=True)
class Finding:
    """The result of a rule.

    Attributes:
        measured: the quantity in words.
        value, low, high: the quantity with its interval, if it has one.
        verdict: `SUPPORTED`, `CONTRADICTED`, `UNDECIDED` or `NOT_TESTABLE`.
        why: the facts behind the verdict.
        systems: ids of the systems that were compared.
    """

    measured: str
    verdict: str
    why: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    systems: str = ""


@dataclass(frozen=True)
class Run:
    """A measured and compared run. `spec` is the analysis spec."""

    root: Path
    spec: Spec

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.root)

    def frame(self, name: str) -> pd.DataFrame:
        """A frame of `analysis/`; empty if the run has none."""
        return frames.read(self.root, name)

    @property
    def statistics(self) -> Spec:
        return self.spec["statistics"]

    def systems(self, claim: Spec) -> list[Spec]:
        """The systems of a claim.

        Raises:
            NotTestableError: the run lacks one of them.
        """
        systems = {name: named(self.spec, name) for name in claim.get("systems") or ()}
        for name, system in systems.items():
            if system is None:
                raise NotTestableError(f"the run has no {name}")
        return [system for system in systems.values() if system is not None]

    def suite(self, claim: Spec) -> str:
        """The suite that decides a claim.

        Raises:
            NotTestableError: no suite has all systems of the claim.
        """
        suite = suite_of(self.spec, claim)
        if suite is None:
            raise NotTestableError("no suite with this metric has all systems of the claim")
        return suite

    def options(self, system: Spec) -> Spec:
        """The configuration in the checkpoint of a system, `config.json`.

        Raises:
            NotTestableError: there is no checkpoint.
        """
        if not system.get("model"):
            raise NotTestableError(f"{system['id']} does not load a model")
        if system["trained"]:
            folder = self.layout.checkpoint(system["model"], system["seeds"][0])
        else:
            folder = self.layout.fetched(system["model"]).parent / "files"
        path = folder / "config.json"
        if not path.is_file():
            raise NotTestableError(f"{system['id']} has no config.json")
        config = json.loads(path.read_text(encoding="utf-8"))
        return config | {option: config[key] for option, key in RENAMED.items() if key in config}

    def loss_terms(self, system: Spec) -> dict[str, bool]:
        """Loss term -> whether it was ever nonzero in training; {} for a system that was not trained in this run."""
        used: dict[str, bool] = {}
        for seed in system["seeds"] if system.get("trained") and system.get("model") else ():
            path = self.layout.model(system["model"], seed)
            for entry in read_json(path).get("history", ()) if path.is_file() else ():
                used = {term: used.get(term, False) or value != 0 for term, value in entry["losses"].items()}
        return used


def write_claims(root: Path, spec: Spec) -> None:
    """Judge all claims and write `analysis/claims.parquet`, one row per claim in config order."""
    run = Run(Path(root), spec)
    rows = []
    for name, claim in spec.get("claims", {}).items():
        facts = {"id": name, "claim": claim["claim"], "source": claim["source"], "rule": claim["rule"]}
        rows.append(facts | asdict(judge(run, claim)))
    frames.write(run.layout, "claims", rows)


def judge(run: Run, claim: Spec) -> Finding:
    """Apply the rule of a claim."""
    rule: Callable[[Run, Spec], Finding] = globals()[claim["rule"]]
    names = ", ".join(one["id"] for name in claim.get("systems") or () if (one := named(run.spec, name)))
    try:
        finding = rule(run, claim)
    except NotTestableError as error:
        return Finding("", NOT_TESTABLE, str(error), systems=names)
    return replace(finding, systems=finding.systems or names)


# Rules, in the order of `RULES`.


def better(run: Run, claim: Spec) -> Finding:
    """The first system's metric is larger than the second's.

    Supported by an effect (corrected p) with that sign. Contradicted by an effect with the opposite sign, or by the
    verdict that there is no effect larger than the margin.
    """
    first, second = run.systems(claim)
    suite = run.suite(claim)
    metric = claim.get("metric") or run.spec["suites"][suite]["metric"]
    if first["id"] == second["id"]:
        raise NotTestableError(f"both systems are {first['id']}")
    if is_random(first) or is_random(second):
        raise NotTestableError("the value of a random control is an expectation, without rows to pair")
    terms, others = run.loss_terms(first), run.loss_terms(second)
    if others and (idle := [term for term, used in terms.items() if not used and term not in others]):
        raise NotTestableError(f"the loss term {idle[0]} of {first['id']} was 0 throughout training")
    if metric == run.spec["suites"][suite]["metric"]:
        row = _compared(run, suite, first["id"], second["id"])
    else:
        row = _compared_by(run, suite, metric, first, second)
    if row is None:
        raise NotTestableError(f"the systems have no common scored rows in {suite}")
    return _difference(run, row, METRICS[metric].name)


def _difference(run: Run, row: Spec, metric: str) -> Finding:
    """The finding for one row of tested differences."""
    margin = run.statistics["margin"]
    where = row["split"] if row["protocol"] == ARGMAX else f"{row['protocol']} on {row['split']}"
    what = f"{metric}, {row['system']} minus {row['baseline']} ({where})"
    numbers = {"value": row["delta"], "low": row["low"], "high": row["high"]}
    p = row["p_adjusted"] if pd.notna(row["p_adjusted"]) else row["p"]
    unit = "between these checkpoints" if row["unit"] == "checkpoints" else "between trainings"
    if row["verdict"] == EFFECT:
        word = SUPPORTED if row["delta"] > 0 else CONTRADICTED
        return Finding(what, word, f"p {p:.4f}, {unit}", **numbers)
    if row["verdict"] == NO_EFFECT:
        return Finding(what, CONTRADICTED, f"no effect larger than ±{margin:g}, {unit}", **numbers)
    if row["verdict"] == "":
        raise NotTestableError("no test is possible with two seeds, or with thresholds fitted on the reported rows")
    needs = [
        f"{row[key]:,.0f} {word}" for key, word in (("needs_rows", "rows"), ("needs_seeds", "seeds")) if row[key] > 0
    ]
    more = f"; detecting {margin:g} would need {' or '.join(needs)}" if needs else ""
    return Finding(
        what, UNDECIDED, f"p {p:.4f}; minimum detectable effect {row['mde']:.3f} at 80 % power{more}", **numbers
    )


def _compared(run: Run, suite: str, first: str, second: str) -> Spec | None:
    """The tested difference of two systems on the suite average, under its representative protocol."""
    rows = run.frame("deltas")
    pair = (rows["system"] == first) & (rows["baseline"] == second) & (rows["dataset"] == AVERAGE)
    rows = rows[pair & (rows["table"] == CLAIMS) & (rows["suite"] == suite)]
    decided = set(zip(rows["protocol"], rows["split"], strict=True))
    shown = (ARGMAX, "test") if (ARGMAX, "test") in decided else representative(decided)
    if shown is None:
        return None
    return rows[(rows["protocol"] == shown[0]) & (rows["split"] == shown[1])].iloc[0].to_dict()


def _compared_by(run: Run, suite: str, metric: str, first: Spec, second: Spec) -> Spec | None:
    """The difference of two systems in a metric other than the suite's headline metric, tested on its own."""
    entry = run.spec["suites"][suite]
    spec = run.spec | {"systems": [first, second], "suites": {suite: entry | {"metric": metric}}}
    answers = {one["id"]: answers_of(run.layout, suite, one, spec) for one in entry["datasets"]}
    keys = available({name: of_dataset.systems for name, of_dataset in answers.items()})
    single = entry["task"] == "single"
    chosen = (ARGMAX, "test") if single else representative({(protocol, split) for split, _, protocol in keys})
    if chosen is None:
        return None
    pair = Pair(CLAIMS, suite, chosen[1], first["id"], chosen[0], second["id"], chosen[0])
    evidence = {
        name: resample(name, of_dataset, [test_of(pair)], metric, single, run.statistics)
        for name, of_dataset in answers.items()
    }
    comparisons = Comparisons(evidence, bases(spec, suite), run.statistics, models(spec, suite))
    return next((row for row in comparisons.rows([pair]) if row["dataset"] == AVERAGE), None)


def confusable(run: Run, claim: Spec) -> Finding:
    """Like `better`, for the accuracy between labels that are similar for the untrained encoder
    (`evaluation.confusable`).
    """
    first, second = run.systems(claim)
    rows = run.frame("confusable")
    if rows.empty:
        raise NotTestableError("confusable labels were not configured, or there are none")
    same = (rows["system"] == first["id"]) & (rows["baseline"] == second["id"])
    turned = (rows["system"] == second["id"]) & (rows["baseline"] == first["id"])
    picked = rows[(same | turned) & (rows["dataset"] == AVERAGE)]
    if picked.empty:
        raise NotTestableError(f"{first['id']} and {second['id']} do not differ in exactly one factor")
    row = picked.iloc[0].to_dict()
    if row["system"] != first["id"]:
        row |= {"system": first["id"], "baseline": second["id"], "delta": -row["delta"]}
        row |= {"low": -row["high"], "high": -row["low"]}
    return _difference(run, row, f"accuracy on {row['pairs']:.0f} pairs of labels")


def constant(run: Run, claim: Spec) -> Finding:
    """A quantity does not change with the number of labels.

    Tokens: contradicted if the interval of the slope is above 0; supported if it is below a hundredth of a token per
    label. Accuracy: contradicted if the interval excludes 0; supported if it is within the margin.
    """
    (system,) = run.systems(claim)
    metric, rows = claim["metric"], run.frame("label_slopes")
    rows = rows[(rows["system"] == system["id"]) & (rows["metric"] == metric)]
    if rows.empty:
        raise NotTestableError(f"{system['id']} was not scored with increasing numbers of labels")
    row = rows.iloc[0]
    margin = 0.01 if metric == "tokens" else run.statistics["margin"]
    what = f"{COUNTED[metric]}, {system['id']}, {row['fewest']:.0f} to {row['most']:.0f} labels"
    numbers = {"value": row["slope"], "low": row["low"], "high": row["high"]}
    why = f"from {row['first']:.{1 if metric == 'tokens' else 3}f} to {row['last']:.{1 if metric == 'tokens' else 3}f}"
    why += f", {row['rows']:.0f} texts of {row['datasets']}"
    if row["low"] > 0 or row["high"] < 0:
        return Finding(what, CONTRADICTED, why, **numbers)
    within = -margin < row["low"] and row["high"] < margin
    return Finding(what, SUPPORTED if within else UNDECIDED, why, **numbers)


def one_pass(run: Run, claim: Spec) -> Finding:
    """The encoder reads one sequence per text, regardless of the number of labels. Counts have no interval."""
    (system,) = run.systems(claim)
    rows = run.frame("label_counts")
    rows = rows[(rows["system"] == system["id"]) & rows["sequences"].notna()]
    if rows.empty:
        raise NotTestableError(f"{system['id']} was not scored with increasing numbers of labels")
    counts = rows.sort_values("labels")[["labels", "sequences"]].to_numpy()
    alone = [int(labels) for labels, sequences in counts if round(sequences, 6) == 1]
    listed = ", ".join(f"{sequences:g} at {labels:.0f}" for labels, sequences in counts)
    most = float(counts[:, 1].max())
    why = f"{listed} labels; one up to {max(alone)} labels" if alone and most > 1 else f"{listed} labels"
    what = f"encoder sequences per text, {system['id']}, at {counts[-1][0]:.0f} labels"
    return Finding(what, SUPPORTED if most <= 1 else CONTRADICTED, why, value=float(counts[-1][1]))


def miscalibrated(run: Run, claim: Spec) -> Finding:
    """Confidence does not match accuracy.

    Supported if the mean ECE over the sets of the suite is above the mean 95th percentile of the ECE of calibrated
    confidences (exceeded by at most 5 % of calibrated systems). Contradicted if the interval of the ECE is below the
    margin.
    """
    (system,) = run.systems(claim)
    suite, rows = run.suite(claim), run.frame("calibration")
    rows = rows[(rows["system"] == system["id"]) & (rows["suite"] == suite)]
    if rows.empty:
        raise NotTestableError(f"{system['id']} has no scores on {suite}")
    ece, low, high, sets = _over_sets(rows, "ece", "ece_low", "ece_high")
    largest = float(rows.groupby("dataset", observed=True)["ece_calibrated_high"].mean().mean())
    what = f"ECE, {system['id']}, mean over {counted(sets, 'set')}"
    why = f"a calibrated system shows at most {largest:.3f} on as many rows (95 %)"
    if ece > largest:
        return Finding(what, SUPPORTED, why, ece, low, high)
    calibrated = high < run.statistics["margin"]
    return Finding(what, CONTRADICTED if calibrated else UNDECIDED, why, ece, low, high)


def _over_sets(rows: pd.DataFrame, value: str, low: str, high: str) -> tuple[float, float, float, int]:
    """Mean over datasets of a quantity that is not negative, with its interval (datasets are independent), and their
    number; the arguments name columns."""
    sets = rows.groupby("dataset", observed=True)[[value, low, high]].mean()
    mean, count = float(sets[value].mean()), len(sets)
    below, above = (float(np.sqrt(((sets[value] - sets[end]) ** 2).sum())) / count for end in (low, high))
    return mean, max(0.0, mean - below), mean + above, count


def setting(run: Run, claim: Spec) -> Finding:
    """A setting of the loaded model has the claimed value."""
    (system,) = run.systems(claim)
    config = run.options(system)
    if claim["setting"] not in config:
        raise NotTestableError(f"the config of {system['id']} has no {claim['setting']!r}")
    value = config[claim["setting"]]
    what = f"{claim['setting']} in the config of {system['id']}"
    if value == claim["value"]:
        return Finding(what, SUPPORTED, f"the value is {value!r}")
    return Finding(what, CONTRADICTED, f"the value is {value!r}, not {claim['value']!r}")


def reads(run: Run, claim: Spec) -> Finding:
    """The model reads the claimed number of tokens, and is as accurate on long texts as on short ones.

    Contradicted if its configuration allows fewer tokens. Otherwise the verdict depends on accuracy on the longer half
    of the texts of each set minus accuracy on the shorter half: contradicted if the interval is below 0, supported if
    it is above minus the margin.
    """
    (system,) = run.systems(claim)
    suite = next((suite for suite in suites_of(run.spec, "single") if suite in system["suites"]), None)
    if suite is None:
        raise NotTestableError(f"{system['id']} is not in a single-label suite")
    config = run.options(system)
    if "max_length" not in config:
        raise NotTestableError(f"the config of {system['id']} has no token limit")
    limit = config["max_length"]
    differences, variances, cut, texts = [], [], 0, 0
    for dataset in run.spec["suites"][suite]["datasets"]:
        for _, cells in paired_cells(run.layout, suite, dataset, [system]):
            right = np.mean([cell.gold[np.arange(len(cell.gold)), cell.winners] for cell in cells], axis=0)
            frame = pd.read_parquet(check_rows(run.layout.dataset(dataset["id"])), columns=["sample_id", "text"])
            words = frame.set_index("sample_id")["text"].str.split().str.len().loc[list(cells[0].sample_ids)].to_numpy()
            longer = words > np.median(words)
            if 1 < longer.sum() < len(longer) - 1:
                differences.append(right[longer].mean() - right[~longer].mean())
                variances.append(sum(right[half].var(ddof=1) / half.sum() for half in (longer, ~longer)))
            cut, texts = cut + int(cells[0].card.get("truncated_texts") or 0), texts + len(right)
    if not differences:
        raise NotTestableError(f"all texts of {suite} have the same length")
    value, error = float(np.mean(differences)), float(np.sqrt(np.sum(variances)) / len(differences))
    level = run.statistics["level"]
    half_width = float(norm.ppf((1 + level) / 2)) * error
    low, high = value - half_width, value + half_width
    what = f"accuracy on the longer half of the texts minus the shorter, {system['id']}, {len(differences)} sets"
    why = f"limit {limit} tokens; {cut} of {texts} texts were truncated"
    if limit < claim["value"] or high < 0:
        return Finding(what, CONTRADICTED, why, value, low, high)
    return Finding(what, SUPPORTED if low > -run.statistics["margin"] else UNDECIDED, why, value, low, high)


def order(run: Run, claim: Spec) -> Finding:
    """Answers do not change with the order of the labels.

    The floor is the flip rate when the same order is scored again (rounding noise). Contradicted if the interval of the
    flip rate is above the floor; supported if the interval ends less than the margin above it.
    """
    (system,) = run.systems(claim)
    rows = run.frame("sensitivity")
    rows = rows[(rows["system"] == system["id"]) & (rows["kind"] == "order")]
    if rows.empty:
        raise NotTestableError(f"{system['id']} was not scored with other label orders")
    rate, low, high, count = _over_sets(rows, "flip_rate", "flip_low", "flip_high")
    floor, shift = rows.groupby("dataset", observed=True)[["floor", "median_shift"]].mean().mean()
    what = f"answers that flip, {system['id']}, mean over {counted(count, 'set')}"
    why = f"rescoring the same order flips {floor:.3f}; median |Δp| {shift:.4f}"
    if low > floor:
        return Finding(what, CONTRADICTED, why, rate, low, high)
    same = high <= floor + run.statistics["margin"]
    return Finding(what, SUPPORTED if same else UNDECIDED, why, rate, low, high)


def attribution(run: Run, claim: Spec) -> Finding:
    """Most of the hybrid's gain over its NLI model at 0.5 comes from the heads, not from fitted thresholds.

    The share of the thresholds is their Shapley value divided by the gain, under the card's protocol (`val-tuned`) or,
    without it, `cv` or `held-out`. Supported if its interval is below one half, contradicted if it is above.
    """
    (system,) = run.systems(claim)
    suite, rows = run.suite(claim), run.frame("deltas")
    nli = nli_of(run.spec, suite, system)
    if nli is None:
        raise NotTestableError(f"the run does not score the NLI model of {system['id']} on its own")
    rows = rows[(rows["dataset"] == AVERAGE) & (rows["table"] == suite)]

    def one(name: str, baseline: str, factor: str, protocol: str) -> Any:
        pick = (rows["system"] == name) & (rows["baseline"] == baseline) & (rows["factor"] == factor)
        matches = rows[pick & (rows["protocol"] == protocol)]
        return None if matches.empty else matches.iloc[-1]

    protocol = next((p for p in ("val-tuned", "cv", "held-out") if one(system["id"], nli, SHAPLEY, p) is not None), "")
    if not protocol:
        raise NotTestableError("the config has no protocol with fitted thresholds")
    total, share = one(system["id"], nli, "system + thresholds", protocol), one(system["id"], nli, SHAPLEY, protocol)
    if total["delta"] <= 0:
        return Finding(f"gain of {system['id']} over {nli}", CONTRADICTED, "there is no gain", total["delta"])
    value, low, high = (float(share[key]) / float(total["delta"]) for key in ("delta", "low", "high"))
    parts = [f"{protocol}: gain {total['delta']:+.3f}, thresholds {share['delta']:+.3f}"]
    if (held := one(nli, nli, "thresholds", "held-out")) is not None:
        parts.append(f"held-out thresholds alone (NLI) {held['delta']:+.3f}")
    if (heads := one(system["id"], nli, "system", "held-out")) is not None:
        parts.append(f"heads and blend at held-out thresholds {heads['delta']:+.3f}")
    alone = next(
        (other["id"] for other in _blends(run, suite, system) if other["settings"].get("blend") == "heads"), ""
    )
    if (heads := one(alone, nli, "system", "held-out")) is not None:
        parts.append(f"heads alone {heads['delta']:+.3f}")
    what = f"share of the gain of {system['id']} over {nli} due to fitted thresholds"
    verdict = SUPPORTED if high < 0.5 else CONTRADICTED if low > 0.5 else UNDECIDED
    return Finding(what, verdict, "; ".join(parts), value, low, high, f"{system['id']}, {nli}")


def blend(run: Run, claim: Spec) -> Finding:
    """The learned NLI weight of each label is as good as the best weight on a grid.

    The grid weight of a label is the one with the highest average precision on validation rows. Both are compared on
    test rows with a paired bootstrap, by mean average precision over the labels with a head. Contradicted if the
    interval is below 0, supported if it is above minus the margin.
    """
    (system,) = run.systems(claim)
    suite = run.suite(claim)
    if not system["trained"]:
        raise NotTestableError(f"{system['id']} was not trained here")
    other = {one["settings"].get("blend"): one["id"] for one in _blends(run, suite, system)}
    if not {"heads", "half"} <= other.keys():
        raise NotTestableError("the run does not score both blends, heads and half")
    name = system["settings"]["dataset"]
    dataset = next(one for one in run.spec["suites"][suite]["datasets"] if one["id"] == name)
    differences, draws, weights_of = [], [], []
    for seed in system["seeds"]:
        learned = read_json(run.layout.model(system["model"], seed))["alphas"]
        half, heads = (read_cell(run.layout, suite, dataset, other[kind], seed) for kind in ("half", "heads"))
        validation, test = (half.split == split for split in ("validation", "test"))
        if not (validation.any() and test.any()):
            raise NotTestableError(f"{name} does not have both validation and test rows")
        columns = [list(half.label_names).index(label) for label in learned]
        gold, head = half.gold[:, columns], heads.scores[:, columns]
        nli = 2 * half.scores[:, columns] - head  # half is the mean of both
        labels = range(len(columns))
        grid = [_best_blend(nli[validation, k], head[validation, k], gold[validation, k]) for k in labels]
        sides = [w * nli[test] + (1 - w) * head[test] for w in (np.array([*learned.values()], float), np.array(grid))]
        rows = int(test.sum())
        weights = np.concatenate([np.ones((1, rows), np.float32), *row_weights(rows, 2000, run.statistics["seed"])])
        values = [np.nanmean(average_precision(weights, gold[test], side), axis=1) for side in sides]
        differences.append(values[0][0] - values[1][0])
        draws.append(values[0][1:] - values[1][1:])
        pairs = zip(learned.items(), grid, strict=True)
        weights_of.append(", ".join(f"{label} {weight:.2f} (grid {w:.2f})" for (label, weight), w in pairs))
    value = float(np.mean(differences))
    low, high = interval(np.mean(draws, axis=0), run.statistics["level"])
    what = f"mean AP of {system['id']}, learned blend minus grid, test rows"
    margin = run.statistics["margin"]
    verdict = CONTRADICTED if high < 0 else SUPPORTED if low > -margin else UNDECIDED
    return Finding(what, verdict, f"NLI weights: {weights_of[0]}", value, low, high)


def _blends(run: Run, suite: str, hybrid: Spec) -> list[Spec]:
    """The systems of a suite with the checkpoints of a hybrid, i.e. its blends."""
    systems = suite_systems(run.spec, suite)
    return [one for one in systems if one["family"] == "hybridnli" and one["model"] == hybrid["model"]]


def _best_blend(nli: np.ndarray, head: np.ndarray, gold: np.ndarray) -> float:
    """The weight in `BLENDS` with the highest average precision; ties go to the one closest to one half."""
    scores = np.stack([w * nli + (1 - w) * head for w in BLENDS], axis=1)  # (n, G)
    values = average_precision(np.ones((1, len(gold))), np.repeat(gold[:, None], len(BLENDS), axis=1), scores)[0]
    best = np.flatnonzero(values >= np.nanmax(values) - 1e-12) if not np.isnan(values).all() else np.arange(len(BLENDS))
    return float(BLENDS[best[np.abs(BLENDS[best] - 0.5).argmin()]])


def trained_share(run: Run, claim: Spec) -> Finding:
    """A hybrid's number of trained parameters over that of its frozen NLI model, both from the card of a cell:
    supported if it rounds to the claimed value.
    """
    (system,) = run.systems(claim)
    if not system["trained"] or system["family"] != "hybridnli":
        raise NotTestableError(f"{system['id']} is not a hybrid that was trained here")
    settings = system["settings"]
    card = read_json(run.layout.card(run.suite(claim), settings["dataset"], system["id"], system["seeds"][0]))
    if "trained_parameters" not in card:
        raise NotTestableError(f"{system['id']} has no scores")
    trained, frozen = card["trained_parameters"], card["parameters"] - card["trained_parameters"]
    share = trained / frozen
    why = f"{trained:,} trained, {frozen:,} of {settings['nli']} frozen"
    what = f"trained over frozen parameters, {system['id']}"
    if not set(claim.get("made_of") or ()) <= set(system.get("made_of") or ()):
        return Finding(what, NOT_TESTABLE, f"{why}; the claim is about {', '.join(claim['made_of'])}", share)
    digits = max(0, -math.floor(math.log10(claim["value"])) + 1)
    return Finding(
        what, SUPPORTED if round(share, digits) == round(claim["value"], digits) else CONTRADICTED, why, share
    )


def published_delta(run: Run, claim: Spec) -> Finding:
    """A published difference of two averages is outside the sampling noise of its test sets.

    This uses no cells of the run. Assumptions: the published macro-F1 is the probability that a row is correct, and
    rows and systems are independent. (Two systems on the same rows mostly agree, so the true noise is probably smaller;
    macro-F1 with rare labels has more.) The noise is simulated with 10,000 draws.
    """
    reported = load_published(PUBLISHED)
    entry = reported["publications"].get(claim["publication"])
    if entry is None or not set(claim["rows"]) <= entry["systems"].keys() or "columns" in entry:
        raise NotTestableError(f"published.yaml has no {' and '.join(claim['rows'])} in {claim['publication']}")
    sides = [entry["systems"][name] for name in claim["rows"]]
    counts = [np.array([(reported["rows"] | side["rows"])[name] for name in entry["datasets"]]) for side in sides]
    generator = np.random.default_rng(int(digest([run.statistics["seed"], claim["rows"]]), 16))
    drawn = [
        generator.binomial(rows, side["values"], size=(10_000, len(rows))) / rows
        for rows, side in zip(counts, sides, strict=True)
    ]
    noise = (drawn[0] - drawn[1]).mean(axis=1)
    value = float(sides[0]["average"] - sides[1]["average"])
    low, high = interval(noise - noise.mean() + value, run.statistics["level"])
    what = f"printed average, {claim['rows'][0]} minus {claim['rows'][1]}"
    total = " and ".join(dict.fromkeys(f"{rows.sum():,}" for rows in counts))
    why = f"sampling noise ±{(high - low) / 2:.4f} over {total} rows, systems taken as independent; one training"
    return Finding(what, SUPPORTED if low > 0 or high < 0 else UNDECIDED, why, value, low, high)


assert all(name in globals() for name in RULES), "every rule needs a function"
