"""Deltas: the right pairs, paired draws, complete families, reproducible bytes."""

import numpy as np
import pandas as pd
import pytest
from synthetic import make_run, make_spec

from tests.measured import measure
from zsbench.evaluation.cells import read_cell
from zsbench.evaluation.compare import (
    AVERAGE,
    Answers,
    Comparisons,
    Evidence,
    Sample,
    available,
    bases,
    compare,
    correct,
    models,
    rank_rows,
    resample,
)
from zsbench.evaluation.metrics import one_hot
from zsbench.evaluation.statistics import mcnemar, seed_spread
from zsbench.plan.comparisons import Contrast, Pair, hybrid_contrasts, pairs_of
from zsbench.store.frames import COLUMNS
from zsbench.store.layout import Layout

HYBRID = {"nli": "nli", "template": "{}", "nli_only": ["a"], "training": {"epochs": 25, "blend_weight": 1.0}}
CONTRACT = (
    "table suite dataset metric protocol system baseline factor delta low high p p_adjusted n_rows n_seeds mcnemar_p"
)


@pytest.fixture(scope="module")
def deltas(analysed):
    return pd.read_parquet(analysed.root / "analysis" / "deltas.parquet")


@pytest.fixture(scope="module")
def metrics(analysed):
    frame = pd.read_parquet(analysed.root / "analysis" / "metrics.parquet")
    keys = ["dataset", "system", "protocol", "split"]
    return frame[(frame["metric"] == "macro_f1") & (frame["label"] == "")].groupby(keys)["value"].mean()


def test_columns(deltas):
    assert list(deltas.columns) == COLUMNS["deltas"].split()
    assert set(CONTRACT.split()) <= set(COLUMNS["deltas"].split())


def test_every_delta_is_the_difference_of_the_printed_means(deltas, metrics):
    for row in deltas[(deltas["dataset"] != "average") & (deltas["factor"] != "thresholds (Shapley)")].itertuples():
        system = metrics[row.dataset, row.system, row.protocol, row.split]
        baseline = metrics[row.dataset, row.baseline, row.baseline_protocol, row.split]
        assert row.delta == pytest.approx(system - baseline)
        assert row.low <= row.high


def test_the_average_is_over_datasets(deltas):
    suite = deltas[deltas["table"] == "gliclass_suite"]
    by_dataset = suite[suite["dataset"] != "average"].groupby("system")["delta"].mean()
    averages = suite[suite["dataset"] == "average"].set_index("system")
    assert averages["delta"].to_dict() == pytest.approx(by_dataset.to_dict())
    assert set(averages["n_rows"]) == {240}
    assert averages["mcnemar_p"].isna().all()


def test_the_named_system_meets_every_other(deltas, analysed):
    suite = deltas[(deltas["table"] == "gliclass_suite") & (deltas["dataset"] == "average")]
    others = [one["id"] for one in analysed.spec["systems"] if "gliclass" in one["suites"]]
    assert set(suite["baseline"]) == {"gliznet-full"}
    assert suite["system"].tolist() == [name for name in others if name != "gliznet-full"]


def test_ablations_are_the_derived_contrasts(deltas):
    found = deltas[(deltas["table"] == "ablations") & (deltas["dataset"] == "average")]
    assert found["factor"].tolist() == ["margin", "VICReg", "compound warm (2 factors)"]
    assert set(found["baseline"]) == {"gliznet-full"}


def test_peers_are_trained_systems_of_other_kinds(deltas):
    found = deltas[(deltas["table"] == "peers") & (deltas["dataset"] == "average")]
    assert found[["system", "baseline"]].to_numpy().tolist() == [["gliznet-full", "nli-mini"]]


def test_a_headline_is_thresholds_plus_system(deltas):
    found = deltas[(deltas["table"] == "topics") & (deltas["dataset"] == "average")]
    for (split, protocol), group in found[found["protocol"] != "fixed-0.5"].groupby(["split", "protocol"]):
        value = group.set_index(["system", "baseline", "factor"])["delta"]
        total = value["hybrid", "nli-mini", "system + thresholds"]
        parts = value["nli-mini", "nli-mini", "thresholds"] + value["hybrid", "nli-mini", "system"]
        assert total == pytest.approx(parts), (split, protocol)


def test_a_pair_is_tested_once_whatever_tables_show_it(deltas):
    average = deltas[(deltas["dataset"] == "average") & deltas["p_adjusted"].notna()]
    sides = [frozenset(pair) for pair in zip(average["system"], average["baseline"], strict=True)]
    single = average[average["suite"] == "gliclass"].assign(
        sides=[s for s, suite in zip(sides, average["suite"], strict=True) if suite == "gliclass"]
    )
    assert single["sides"].duplicated().any()  # an ablation is also a row of the suite's table
    for _, rows in single.groupby("sides"):
        assert rows["p_adjusted"].nunique() == rows["verdict"].nunique() == 1
        assert rows["delta"].abs().max() == pytest.approx(rows["delta"].abs().min())
    assert set(single["tests"]) == {single["sides"].nunique()}
    assert (average["p_adjusted"] >= average["p"] - 1e-9).all()


def test_controls_and_confounded_sums_are_in_no_family(deltas):
    outside = deltas["baseline"].isin(["majority", "oracle"]) | (deltas["factor"] == "system + thresholds")
    assert deltas.loc[outside, "p_adjusted"].isna().all()


def test_a_pair_with_a_control_is_in_no_family_in_any_table():
    """The control may be the reference, and a claim may name it."""
    spec = make_spec()
    spec["statistics"]["system"] = "majority"
    spec["claims"] = {"x": {"rule": "better", "systems": ["majority", "nli-mini"]}}
    pairs = pairs_of(spec, "gliclass", {("test", one["id"], "argmax") for one in spec["systems"]})
    assert {pair.table for pair in pairs if not pair.corrected} == {"gliclass_suite", "peers", "claims"}
    assert all(pair.corrected == ("majority" not in (pair.system, pair.baseline)) for pair in pairs)


def test_dataset_cells_are_tested_where_the_average_is_significant(deltas):
    keys = ["table", "system", "baseline", "protocol", "split", "factor"]
    gates = deltas[deltas["dataset"] == "average"].set_index(keys)["p_adjusted"]
    for row in deltas[(deltas["dataset"] != "average")].to_dict("records"):
        gate = gates[tuple(row[key] for key in keys)]
        assert np.isnan(row["p_adjusted"]) == (not gate < 0.05)
        assert not row["p_adjusted"] < gate


def test_thresholds_tuned_on_the_reported_rows_have_no_p_but_their_optimism(deltas, metrics):
    tuned = deltas[(deltas["protocol"] == "val-tuned") & (deltas["factor"] == "thresholds")]
    assert len(tuned) and tuned["p"].isna().all() and set(tuned["verdict"]) == {""}
    row = tuned[(tuned["system"] == "hybrid") & (tuned["dataset"] == "mini")].iloc[0]
    apparent, honest = (metrics["mini", "hybrid", protocol, "validation"] for protocol in ("val-tuned", "cv"))
    assert row["optimism"] == pytest.approx(apparent - honest)


def test_the_share_of_thresholds_is_the_mean_of_both_orders(deltas):
    average = deltas[(deltas["dataset"] == "average") & (deltas["protocol"] == "held-out")]
    value = average.set_index(["system", "baseline", "factor"])
    shared = value.loc[("hybrid", "nli-mini", "thresholds (Shapley)")]
    orders = [value.loc[(name, name, "thresholds"), "delta"] for name in ("nli-mini", "hybrid")]
    assert shared["delta"] == pytest.approx(np.mean(orders))
    assert shared["low"] <= shared["delta"] <= shared["high"] and np.isnan(shared["p"])


def test_mcnemar_compares_the_first_seeds(deltas, analysed):
    layout, dataset = Layout(analysed.root), analysed.spec["suites"]["gliclass"]["datasets"][1]
    right = []
    for name, seed in (("gliznet-full", 1), ("biencoder", 0)):
        cell = read_cell(layout, "gliclass", dataset, name, seed)
        right.append(cell.scores.argmax(axis=1) == cell.gold.argmax(axis=1))
    row = deltas[(deltas["table"] == "gliclass_suite") & (deltas["dataset"] == "beta")].set_index("system")
    assert row.at["biencoder", "mcnemar_p"] == pytest.approx(mcnemar(*right))


def test_a_second_run_writes_the_same_bytes(analysed):
    path = analysed.root / "analysis" / "deltas.parquet"
    before = path.read_bytes()
    compare(analysed.root, analysed.spec)
    assert path.read_bytes() == before


STATISTICS = {"seed": 1, "draws": 2000, "level": 0.95, "margin": 0.02}


def right_answers(rng, n, *skills):
    """Gold of two balanced labels, and one prediction set (1, 1, n, 2) per skill (the share of correct rows)."""
    gold = one_hot(np.arange(n) % 2, 2)
    return gold, [np.where(rng.random((n, 1)) < skill, gold, ~gold)[None, None] for skill in skills]


def compared(gold, base=None, **systems):
    """The first system against each other one, corrected as one family."""
    keys = {name: ("test", name, "argmax") for name in systems}
    first, *others = keys.values()
    tests = [(first, other) for other in others]
    answers = Answers({"test": gold}, dict(zip(keys.values(), systems.values(), strict=True)))
    evidence = resample("d", answers, tests, "accuracy", True, STATISTICS)
    comparisons = Comparisons({"d": evidence}, base or {}, STATISTICS)
    family = [{name: comparisons.measured(test, ["d"]) for name in ("d", AVERAGE)} for test in tests]
    if not np.isnan(family[0][AVERAGE].p):
        correct(family, 0.95)
    return [levels[AVERAGE] for levels in family]


def test_a_system_against_its_twin_has_no_delta_and_no_evidence():
    gold, (one,) = right_answers(np.random.default_rng(0), 100, 0.7)
    (found,) = compared(gold, a=one, b=one.copy())
    assert (found.delta, found.low, found.high, found.p, found.p_adjusted) == (0, 0, 0, 1, 1)


def test_two_seeds_have_no_p_and_one_speaks_of_checkpoints():
    rng = np.random.default_rng(0)
    gold, sets = right_answers(rng, 400, *[0.9] * 3, *[0.6] * 3)
    for seeds, unit, tested in ((1, "checkpoints", True), (2, "checkpoints", False), (3, "trainings", True)):
        (found,) = compared(gold, a=np.concatenate(sets[:seeds]), b=np.concatenate(sets[3 : 3 + seeds]))
        assert found.unit == unit
        assert np.isnan(found.p) != tested


def test_seeds_widen_the_interval_and_pooling_narrows_it_again():
    rng = np.random.default_rng(4)
    systems = {}
    for name in "abcdef":
        gold, sets = right_answers(rng, 2000, *(0.7 + 0.03 * rng.normal(size=3)))
        systems[name] = np.concatenate(sets)
    alone, pooled = (compared(gold, base, **systems)[0] for base in ({}, dict.fromkeys("abcdef", "base")))
    fixed = compared(gold, a=systems["a"][:1], b=systems["b"][:1])[0]
    assert fixed.high - fixed.low < pooled.high - pooled.low < alone.high - alone.low
    assert pooled.df == 10 and alone.df < 5


BLENDS = ("hybrid", "hybrid-heads", "hybrid-half", "hybrid-nli")  # of one training a seed
OTHERS = ("no-blend", "no-kl", "v1", "bare")  # trainings of their own


def hybrids_of(rng: np.random.Generator, seeds: int = 5) -> tuple[dict, dict[str, np.ndarray]]:
    """The analysis spec and values (S,) of five trained hybrids, of which the first is scored under four blends.

    A training's value has standard deviation 1. Heads alone and the equal blend depend on the same five checkpoints, so
    they are nearly as lucky as the learned blend in each seed; the NLI model alone is the same in every seed.
    """
    values = {name: rng.normal(size=seeds) for name in ("hybrid", *OTHERS)}
    for name, share in (("hybrid-heads", 0.9), ("hybrid-half", 0.95)):
        values[name] = share * values["hybrid"] + np.sqrt(1 - share**2) * rng.normal(size=seeds)
    values["hybrid-nli"] = np.zeros(seeds)
    systems = [hybrid_of(name, blend=name.partition("-")[2] or "learned") | {"model": "hybrid"} for name in BLENDS] + [
        hybrid_of(name) for name in OTHERS
    ]
    return {"systems": systems}, values


def comparisons_of(spec: dict, values: dict[str, np.ndarray]) -> Comparisons:
    """Comparisons of systems whose values have no noise from rows."""
    samples = {
        ("test", name, "cv"): Sample(name, of_seeds, np.tile(of_seeds, (2, 1)), np.ones(10, bool))
        for name, of_seeds in values.items()
    }
    statistics = STATISTICS | {"draws": 20}
    evidence = {"d": Evidence(samples, {}, {}, {})}
    return Comparisons(evidence, bases(spec, "topics"), statistics, models(spec, "topics"))


def against(first: str, second: str):
    return ("test", first, "cv"), ("test", second, "cv")


def test_blends_of_one_training_are_not_pooled_as_if_they_were_several():
    spec, values = hybrids_of(np.random.default_rng(0))
    distinct = np.stack([values[name] for name in ("hybrid", *OTHERS)])
    wanted = seed_spread(distinct, np.tile(distinct, (2, 1, 1)))
    for blend in ("hybrid", "hybrid-heads"):
        _, parts = comparisons_of(spec, values).seeds(against(blend, "no-kl"), ["d"])
        assert [(spread.variance, spread.df, count) for spread, count in parts] == [(wanted[0].variance, 16, 2.5)]


def test_the_pooled_variance_of_hybrids_is_that_of_a_training():
    """True variance 1; with the blends as further trainings, the mean would be .76."""
    found = []
    for repeat in range(600):
        _, ((spread, _),) = comparisons_of(*hybrids_of(np.random.default_rng(repeat))).seeds(
            against("no-blend", "no-kl"), ["d"]
        )
        found.append(spread.variance)
    assert np.mean(found) == pytest.approx(1, abs=3 * np.sqrt(2 / 16 / 600))


def test_two_blends_of_one_training_are_compared_seed_by_seed():
    """The difference is small in every seed, although trainings differ much."""
    spec, values = hybrids_of(np.random.default_rng(0))
    for blend in BLENDS[1:]:
        effects, ((spread, count),) = comparisons_of(spec, values).seeds(against("hybrid", blend), ["d"])
        assert spread.variance == pytest.approx((values["hybrid"] - values[blend]).var(ddof=1))
        assert (spread.df, count) == (4, 5) and effects.std() > 0


def test_an_nli_model_that_is_not_trained_has_no_variance_between_seeds():
    spec, values = hybrids_of(np.random.default_rng(0))
    _, parts = comparisons_of(spec, values).seeds(against("hybrid-nli", "no-kl"), ["d"])
    assert [spread.variance > 0 for spread, _ in parts] == [False, True]


def average_row(gold, statistics, **systems):
    """The row `average` of the first of two systems against the second."""
    keys = [("test", name, "argmax") for name in systems]
    answers = Answers({"test": gold}, dict(zip(keys, systems.values(), strict=True)))
    evidence = resample("d", answers, [tuple(sorted(keys))], "accuracy", True, statistics)
    first, second = systems
    pair = Pair("t", "s", "test", first, "argmax", second, "argmax")
    return list(Comparisons({"d": evidence}, {}, statistics).rows([pair]))[-1]


@pytest.mark.parametrize("discordant", [0, 1, 3])
def test_nearly_identical_systems_have_no_smaller_critical_value_than_others(discordant):
    """With few differing rows, swaps have few distinct values, which may all lie within one standard deviation."""
    gold, (one,) = right_answers(np.random.default_rng(0), 50, 0.8)
    other = one.copy()
    other[0, 0, :discordant] = ~other[0, 0, :discordant]
    row = average_row(gold, STATISTICS, a=one, b=other)
    assert row["mde"] > 2.8 * row["error"]  # 1.96 + 0.84, as in any test at 5 %


@pytest.mark.parametrize("untrained", ["a", "z"])
def test_the_seeds_that_are_needed_do_not_depend_on_names(untrained):
    """An untrained side, which comes first in one of the two, has one cell; this must not count as one seed."""
    rng = np.random.default_rng(3)
    gold, (fixed, *sets) = right_answers(rng, 4000, 0.79, 0.76, 0.79, 0.82)
    row = average_row(gold, STATISTICS | {"margin": 0.04}, **{untrained: fixed, "m": np.concatenate(sets)})
    assert (row["verdict"], row["n_seeds"], row["n_baseline_seeds"]) == ("undecided", 1, 3)
    assert row["mde"] > 0.04
    assert row["needs_seeds"] >= 3 * (row["mde"] / 0.04) ** 2  # enough if seeds are the only variance


def test_the_higher_of_two_is_the_likelier_best_also_where_draws_are_biased():
    """Few rows per label: draws lower macro-F1 of a system that misses one of three, not of one that misses all."""
    wanted = np.repeat(np.arange(20), 3)
    some, none = (np.where(missed, (wanted + 1) % 20, wanted) for missed in (np.arange(60) % 3 == 0, wanted >= 14))
    none[wanted >= 14] = 0
    keys = [("test", name, "argmax") for name in ("some", "none")]
    sets = {key: one_hot(answers, 20)[None, None] for key, answers in zip(keys, (some, none), strict=True)}
    evidence = resample("d", Answers({"test": one_hot(wanted, 20)}, sets), [], "macro_f1", True, STATISTICS)
    first, second = rank_rows("s", {"d": evidence}, ["some", "none"])
    assert 0 < first["value"] - second["value"] < 0.01
    assert 0.5 < first["p_best"] < 0.7 and first["p_best"] + second["p_best"] == pytest.approx(1)


def test_variants_that_differ_in_two_factors_are_no_ablation(tmp_path):
    spec = make_run(tmp_path, make_spec(seeds=(1,), draws=100), rows=20)
    measure(tmp_path, spec)
    stray = spec["gliznet"] | {"compounds": {}, "variants": {"full": {}, "warm": {"head": "dot", "margin": 0.0}}}
    compare(tmp_path, spec | {"gliznet": stray})  # differs in two factors and is not named, so there is no contrast
    found = pd.read_parquet(tmp_path / "analysis" / "deltas.parquet")
    assert "ablations" not in set(found["table"])


def hybrid_of(name: str, **changes):
    settings = HYBRID | {"id": name, "hybrid": name, "seed": 0, "blend": "learned"} | changes
    facts = {"id": name, "family": "hybridnli", "model": name, "settings": settings}
    return facts | {"suites": ["topics"], "trained": True}


def test_hybrids_that_differ_in_one_setting_are_contrasts():
    systems = [
        hybrid_of("hybrid"),
        hybrid_of("heads", blend="heads"),
        hybrid_of("v1", training=HYBRID["training"] | {"blend_weight": 0.0}),
        hybrid_of("bare", template="this is {}"),
        hybrid_of("two", template="this is {}", blend="half"),  # no contrast
        hybrid_of("published", blend="heads") | {"trained": False},
    ]
    assert list(hybrid_contrasts({"systems": systems}, "topics")) == [
        Contrast("heads", "hybrid", "blend of NLI and heads", "heads vs learned"),
        Contrast("v1", "hybrid", "blend term of the loss", "0.0 vs 1.0"),
        Contrast("bare", "hybrid", "hypothesis template", "this is {} vs {}"),
    ]


def test_hybrid_ablations_have_a_row_a_protocol(deltas, metrics):
    rows = deltas[(deltas["table"] == "topics_deltas") & (deltas["dataset"] == "mini")]
    assert set(zip(rows["system"], rows["baseline"], strict=True)) == {("hybrid-heads", "hybrid")}
    assert set(rows["protocol"]) == {"fixed-0.5", "val-tuned", "cv", "held-out"}
    row = rows[rows["protocol"] == "cv"].iloc[0]
    wanted = metrics["mini", "hybrid-heads", "cv", "validation"] - metrics["mini", "hybrid", "cv", "validation"]
    assert row["delta"] == pytest.approx(wanted)


def test_a_protocol_needs_every_dataset_and_a_system_only_those_it_has_scores_on():
    here = dict.fromkeys([("test", "x", "held-out"), ("validation", "x", "cv"), ("validation", "y", "cv")])
    there = dict.fromkeys([("validation", "x", "cv")])  # no test split, and y has no scores
    cells = {"here": here, "there": there, "nobody": {}}
    assert available(cells) == {("validation", "x", "cv"), ("validation", "y", "cv")}
    assert available({"nobody": {}}) == set()
