"""Deltas: the right pairs, paired draws, honest families, the same bytes twice."""

import math

import numpy as np
import pandas as pd
import pytest
from synthetic import make_run, make_spec

from zsbench.evaluation.cells import read_cell
from zsbench.evaluation.compare import COLUMNS, Sample, available, compare, paired
from zsbench.evaluation.statistics import holm, mcnemar
from zsbench.plan.comparisons import hybrid_contrasts
from zsbench.plan.contrasts import ConfoundedContrastError
from zsbench.store.layout import Layout

HYBRID = {"nli": "nli", "template": "{}", "nli_only": ["a"], "training": {"epochs": 25, "blend_weight": 1.0}}
CONTRACT = "table suite dataset metric protocol system baseline factor delta low high p p_holm n_rows n_seeds mcnemar_p"


@pytest.fixture(scope="module")
def deltas(analysed):
    return pd.read_parquet(analysed.root / "analysis" / "deltas.parquet")


@pytest.fixture(scope="module")
def metrics(analysed):
    frame = pd.read_parquet(analysed.root / "analysis" / "metrics.parquet")
    keys = ["dataset", "system", "protocol", "split"]
    return frame[(frame["metric"] == "macro_f1") & (frame["label"] == "")].groupby(keys)["value"].mean()


def test_columns(deltas):
    assert list(deltas.columns) == COLUMNS
    assert set(CONTRACT.split()) <= set(COLUMNS)


def test_every_delta_is_the_difference_of_the_printed_means(deltas, metrics):
    for row in deltas[deltas["dataset"] != "average"].itertuples():
        system = metrics[row.dataset, row.system, row.protocol, row.split]
        baseline = metrics[row.dataset, row.baseline, row.baseline_protocol, row.split]
        assert row.delta == pytest.approx(system - baseline)
        assert row.low <= row.high


def test_the_average_is_over_datasets(deltas):
    suite = deltas[deltas["table"] == "gliclass_suite"]
    by_dataset = suite[suite["dataset"] != "average"].groupby("baseline")["delta"].mean()
    averages = suite[suite["dataset"] == "average"].set_index("baseline")
    assert averages["delta"].to_dict() == pytest.approx(by_dataset.to_dict())
    assert set(averages["n_rows"]) == {240}
    assert averages["mcnemar_p"].isna().all()


def test_the_named_system_meets_every_other(deltas, analysed):
    suite = deltas[(deltas["table"] == "gliclass_suite") & (deltas["dataset"] == "average")]
    others = [one["id"] for one in analysed.spec["systems"] if "gliclass" in one["suites"]]
    assert set(suite["system"]) == {"gliznet-full"}
    assert suite["baseline"].tolist() == [name for name in others if name != "gliznet-full"]


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


def test_holm_is_over_the_rows_of_a_family_and_controls_stay_out(deltas):
    suite = deltas[deltas["table"] == "gliclass_suite"]
    controls = suite["baseline"].isin(["majority", "oracle"])
    assert suite.loc[controls, "p_holm"].isna().all()
    for average in (True, False):
        family = suite[~controls & ((suite["dataset"] == "average") == average)]
        assert family["p_holm"].to_numpy() == pytest.approx(holm(family["p"].to_numpy()))
        assert set(family["tests"]) == {len(family)}


def test_mcnemar_compares_the_first_seeds(deltas, analysed):
    layout, dataset = Layout(analysed.root), analysed.spec["suites"]["gliclass"]["datasets"][1]
    right = []
    for name, seed in (("gliznet-full", 1), ("biencoder", 0)):
        cell = read_cell(layout, "gliclass", dataset, name, seed)
        right.append(cell.scores.argmax(axis=1) == cell.gold.argmax(axis=1))
    row = deltas[(deltas["table"] == "gliclass_suite") & (deltas["dataset"] == "beta")].set_index("baseline")
    assert row.at["biencoder", "mcnemar_p"] == pytest.approx(mcnemar(*right))


def test_a_second_run_writes_the_same_bytes(analysed):
    path = analysed.root / "analysis" / "deltas.parquet"
    before = path.read_bytes()
    compare(analysed.root, analysed.spec)
    assert path.read_bytes() == before


def test_a_system_against_its_twin_has_no_delta_and_no_evidence():
    rng = np.random.default_rng(0)
    points, draws = rng.random(3), rng.random((500, 3))
    one, twin = (Sample("a", points, draws, np.ones(4, bool)) for _ in range(2))
    delta, samples = paired(one, twin, {"seed": 1, "draws": 500})
    assert delta == 0
    assert not samples.any()


def test_seeds_widen_the_interval_of_a_trained_system():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.001, size=(4000, 1))
    fixed = Sample("b", np.array([0.5]), 0.5 + noise, np.ones(4, bool))
    steady = Sample("a", np.full(3, 0.6), 0.6 + noise + np.zeros((4000, 3)), np.ones(4, bool))
    spread = Sample("a", np.array([0.5, 0.6, 0.7]), np.array([0.5, 0.6, 0.7]) + noise, np.ones(4, bool))
    statistics = {"seed": 1, "draws": 4000}
    assert paired(steady, fixed, statistics)[1].std() < 1e-9  # the rows move both alike
    low, high = np.quantile(paired(spread, fixed, statistics)[1], [0.025, 0.975])
    half = 4.303 * 0.1 / math.sqrt(3)  # Student's t, two degrees of freedom
    assert (low, high) == pytest.approx((0.1 - half, 0.1 + half), rel=0.15)


def test_mistakes_in_the_spec_are_named(tmp_path):
    spec = make_run(tmp_path, make_spec(seeds=(1,), draws=100), rows=20)
    unknown = spec | {"statistics": spec["statistics"] | {"system": "gliznet-ful"}}
    with pytest.raises(ValueError, match="system: 'gliznet-ful' is not a system of the run; allowed: gliznet-"):
        compare(tmp_path, unknown)
    stray = spec["gliznet"] | {"compounds": {}, "variants": {"full": {}, "warm": {"head": "dot", "margin": 0.0}}}
    compare(tmp_path, spec | {"gliznet": stray})  # two factors apart and not named: no contrast is derived
    found = pd.read_parquet(tmp_path / "analysis" / "deltas.parquet")
    assert "ablations" not in set(found["table"])
    from zsbench.plan.contrasts import contrast

    with pytest.raises(ConfoundedContrastError, match="head, margin"):
        contrast(stray, "warm", "full")


def hybrid_of(name: str, **changes):
    settings = HYBRID | {"id": name, "hybrid": name, "seed": 0, "blend": "learned"} | changes
    return {"id": name, "family": "hybridnli", "settings": settings, "suites": ["topics"], "trained": True}


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
        ("heads", "hybrid", "blend of NLI and heads", "heads vs learned"),
        ("v1", "hybrid", "blend term of the loss", "0.0 vs 1.0"),
        ("bare", "hybrid", "hypothesis template", "this is {} vs {}"),
    ]


def test_hybrid_ablations_have_a_row_a_protocol_and_families_of_their_own(deltas, metrics):
    rows = deltas[(deltas["table"] == "topic_deltas") & (deltas["dataset"] == "mini")]
    assert set(zip(rows["system"], rows["baseline"], strict=True)) == {("hybrid-heads", "hybrid")}
    assert set(rows["protocol"]) == {"fixed-0.5", "val-tuned", "cv", "held-out"}
    row = rows[rows["protocol"] == "cv"].iloc[0]
    wanted = metrics["mini", "hybrid-heads", "cv", "validation"] - metrics["mini", "hybrid", "cv", "validation"]
    assert row["delta"] == pytest.approx(wanted) and row["tests"] == 1 and row["p_holm"] == row["p"]


def test_a_protocol_needs_every_dataset_and_a_system_only_those_it_has_scores_on():
    here = dict.fromkeys([("test", "x", "held-out"), ("validation", "x", "cv"), ("validation", "y", "cv")])
    there = dict.fromkeys([("validation", "x", "cv")])  # no test split, and y has no scores
    cells = {"here": here, "there": there, "nobody": {}}
    assert available(cells) == {("validation", "x", "cv"), ("validation", "y", "cv")}
    assert available({"nobody": {}}) == set()
