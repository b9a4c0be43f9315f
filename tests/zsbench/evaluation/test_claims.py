"""Claims: every rule on made-up runs with known truth, claims of the project and of a user."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from synthetic import frame_of, make_run, make_spec, system, write_cell

from tests.measured import measure
from zsbench.config.load import ConfigError, load_resources, load_yaml, resolve
from zsbench.evaluation import claims as rules
from zsbench.evaluation.cells import read_cell
from zsbench.evaluation.claims import Run, judge, write_claims
from zsbench.evaluation.compare import compare
from zsbench.evaluation.compare import test_of as of_pair
from zsbench.plan.claims import CONTRADICTED, KINDS, NOT_TESTABLE, RULES, SUPPORTED, UNDECIDED, kind_of, named
from zsbench.plan.comparisons import pairs_of
from zsbench.plan.plan import Plan
from zsbench.store.frames import COLUMNS
from zsbench.store.layout import WORKFLOW, Layout
from zsbench.store.provenance import file_sha256, write_json

EMBEDDED = WORKFLOW / "configs" / "embedded.yaml"
# A user's claim: five lines of YAML under `claims`.
OWN = """
claims:
  majority-is-worse:
    claim: The majority is no match for GliZNet
    rule: better
    systems: [gliznet-full, majority]
    metric: accuracy
"""


def claim(rule, *systems, **keys):
    return {"claim": "said", "source": "a card", "rule": rule, "systems": list(systems), **keys}


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> SimpleNamespace:
    """A run whose later systems are better, with claims about it."""
    root, spec = tmp_path_factory.mktemp("claims") / "run", make_spec()
    spec["claims"] = {
        "true": claim("better", "biencoder", "gliznet-full"),
        "false": claim("better", "gliznet-full", "biencoder"),
        "close": claim("better", "gliznet-no-margin", "gliznet-full"),
        "other-metric": claim("better", "biencoder", "gliznet-full", metric="accuracy"),
        "control": claim("better", "gliznet-full", "majority"),
        "topics": claim("better", "hybrid", "nli-mini", suite="topics"),
        "absent": claim("better", "gliznet-full", "nobody"),
        "calibrated": claim("miscalibrated", "gliznet-full"),
        "gain": claim("attribution", "hybrid"),
        "printed": claim("published_delta", publication="P1", rows=["GliZNet", "GLiClass-large-v3"]),
    }
    make_run(root, spec, rows=200)
    measure(root, spec)
    compare(root, spec)
    write_claims(root, spec)
    frame = pd.read_parquet(root / "analysis" / "claims.parquet").set_index("id")
    return SimpleNamespace(root=root, spec=spec, frame=frame, run=Run(root, spec))


def test_a_difference_supports_contradicts_or_leaves_undecided(judged):
    verdict = judged.frame["verdict"]
    assert verdict["true"] == SUPPORTED and verdict["false"] == CONTRADICTED
    assert verdict["control"] == SUPPORTED
    assert "held-out on test" in judged.frame.loc["topics", "measured"]
    assert verdict["close"] in (UNDECIDED, SUPPORTED)
    true, false = judged.frame.loc["true"], judged.frame.loc["false"]
    assert (true["value"], true["low"]) == pytest.approx((-false["value"], -false["high"]))
    assert true["low"] > 0


def test_a_metric_other_than_the_headline_is_compared_by_itself(judged):
    found = judged.frame.loc["other-metric"]
    cells = pd.read_parquet(judged.root / "analysis" / "metrics.parquet")
    means = cells[(cells["metric"] == "accuracy") & (cells["label"] == "")].groupby("system")["value"].mean()
    assert found["value"] == pytest.approx(means["biencoder"] - means["gliznet-full"])
    assert found["verdict"] == SUPPORTED and "accuracy" in found["measured"]


def test_what_a_run_lacks_is_not_testable(judged):
    assert judged.frame.loc["absent", "verdict"] == NOT_TESTABLE
    assert "nobody" in judged.frame.loc["absent", "why"]
    for rule in ("constant", "one_pass", "order", "confusable"):
        found = judge(
            judged.run,
            claim(rule, "gliznet-full", "gliznet-no-margin")
            if rule == "confusable"
            else claim(rule, "gliznet-full", metric="tokens"),
        )
        assert found.verdict == NOT_TESTABLE and found.why


def test_claims_add_their_pair_to_the_family_that_is_tested(judged):
    spec = {**judged.spec, "claims": {}}
    available = {("test", entry["id"], "argmax") for entry in spec["systems"]}
    before, after = (pairs_of(one, "gliclass", available) for one in (spec, judged.spec))
    added = {of_pair(pair) for pair in after} - {of_pair(pair) for pair in before}
    assert added == set()  # the reference is tested against all others anyway
    more = {**spec, "claims": {"new": claim("better", "nli-mini", "biencoder")}}
    (pair,) = [pair for pair in pairs_of(more, "gliclass", available) if pair.table == "claims"]
    assert (pair.system, pair.baseline, pair.corrected) == ("nli-mini", "biencoder", True)


def test_thresholds_share_of_a_gain_is_their_shapley_value(judged):
    found, deltas = judged.frame.loc["gain"], judged.run.frame("deltas")
    rows = deltas[
        (deltas["dataset"] == "average") & (deltas["protocol"] == "val-tuned") & (deltas["system"] == "hybrid")
    ]
    parts = rows.set_index(["factor", "baseline"])["delta"]
    share = parts["thresholds (Shapley)", "nli-mini"] / parts["system + thresholds", "nli-mini"]
    assert found["value"] == pytest.approx(share) and found["low"] < share < found["high"]


def test_a_printed_difference_is_held_against_binomial_noise(judged):
    found = judged.frame.loc["printed"]
    p1 = rules.load_published(rules.PUBLISHED)
    counts = np.array([p1["rows"][name] for name in p1["publications"]["P1"]["datasets"]])
    sides = [np.array(p1["publications"]["P1"]["systems"][name]["values"]) for name in ("GliZNet", "GLiClass-large-v3")]
    error = np.sqrt(sum((side * (1 - side) / counts).sum() for side in sides)) / len(counts)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(1.96 * error, rel=0.05)
    assert found["verdict"] == SUPPORTED and found["value"] == pytest.approx(-0.1047, abs=1e-4)


def test_a_calibrated_system_is_not_called_miscalibrated():
    """At most 5 % of calibrated systems are; a miscalibrated one is detected."""
    from zsbench.evaluation.calibration import bins, calibrated_ece, ece

    rng, false = np.random.default_rng(3), 0
    for _ in range(200):
        confidences = 0.3 + 0.7 * rng.random(150)
        found = ece(bins(confidences, rng.random(150) < confidences))
        false += found > calibrated_ece(confidences, runs=200)[1]
    assert false / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def frames_of(judged, **frames) -> Run:
    run = Run(judged.root / "other", judged.spec)
    (run.root / "analysis").mkdir(parents=True, exist_ok=True)
    for name, rows in frames.items():
        pd.DataFrame(rows, columns=COLUMNS[name].split()).to_parquet(run.root / "analysis" / f"{name}.parquet")
    return run


@pytest.mark.parametrize(
    ("metric", "slope", "low", "high", "verdict"),
    [
        ("tokens", 5.0, 4.9, 5.1, CONTRADICTED),
        ("tokens", 0.0, 0.0, 0.0, SUPPORTED),
        ("tokens", 0.1, -0.2, 0.4, UNDECIDED),
        ("accuracy", -0.1, -0.2, -0.05, CONTRADICTED),
        ("accuracy", 0.0, -0.1, 0.1, UNDECIDED),
        ("accuracy", 0.001, -0.005, 0.006, SUPPORTED),
    ],
)
def test_a_constant_is_a_slope_of_0(judged, metric, slope, low, high, verdict):
    row = {"system": "gliznet-full", "kind": "joint", "metric": metric, "slope": slope, "low": low, "high": high}
    row |= {"first": 1.0, "last": 0.5, "fewest": 2, "most": 1000, "rows": 16, "datasets": "alpha"}
    run = frames_of(judged, label_slopes=[row])
    assert judge(run, claim("constant", "gliznet-full", metric=metric)).verdict == verdict


def test_one_pass_is_counted(judged):
    rows = [{"system": "gliznet-full", "labels": K, "sequences": s} for K, s in ((2, 1.0), (20, 1.0), (200, 10.0))]
    found = judge(frames_of(judged, label_counts=rows), claim("one_pass", "gliznet-full"))
    assert found.verdict == CONTRADICTED and found.value == 10 and "20 labels" in found.why
    found = judge(frames_of(judged, label_counts=rows[:2]), claim("one_pass", "gliznet-full"))
    assert found.verdict == SUPPORTED


@pytest.mark.parametrize(
    ("rate", "low", "high", "floor", "verdict"),
    [(0.2, 0.1, 0.3, 0.0, CONTRADICTED), (0.0, 0.0, 0.0, 0.0, SUPPORTED), (0.02, 0.0, 0.05, 0.01, UNDECIDED)],
)
def test_answers_that_flip_more_than_rounding_depend_on_the_order(judged, rate, low, high, floor, verdict):
    row = {"system": "gliznet-full", "kind": "order", "dataset": "alpha", "flip_rate": rate, "flip_low": low}
    row |= {"flip_high": high, "floor": floor, "median_shift": 0.01}
    run = frames_of(judged, sensitivity=[row])
    assert judge(run, claim("order", "gliznet-full")).verdict == verdict


def test_a_setting_is_read_from_the_loaded_config(judged):
    run = frames_of(judged)
    run = Run(run.root, {**judged.spec, "systems": [{**one, "model": one["id"]} for one in judged.spec["systems"]]})
    folder = Layout(run.root).checkpoint("gliznet-full", 1)
    write_json(folder / "config.json", {"scoring_method": "bilinear", "max_length": 512})
    found = judge(run, claim("setting", "joint", setting="head", value="cosine"))
    assert found.verdict == CONTRADICTED and "bilinear" in found.why
    assert judge(run, claim("setting", "joint", setting="head", value="bilinear")).verdict == SUPPORTED
    assert judge(run, claim("setting", "joint", setting="colour", value="red")).verdict == NOT_TESTABLE


def test_a_kind_means_the_first_system_of_it(judged):
    assert named(judged.spec, "joint")["id"] == "gliznet-full"
    assert named(judged.spec, "order-invariant")["id"] == "gliznet-warm"
    assert named(judged.spec, "hybrid")["id"] == "hybrid"
    assert named(judged.spec, "reference")["id"] == "gliznet-full"
    assert named(judged.spec, "labels-apart") is None
    assert kind_of(judged.spec, system("mine", "custom")) == ""


def test_the_projects_claims_are_about_twelve_rules_and_thirteen_points():
    claims = load_resources(WORKFLOW / "resources")["claims"]
    assert {entry["rule"] for entry in claims.values()} == set(RULES)
    assert all(hasattr(rules, name) for name in RULES)
    for entry in claims.values():
        assert all(name in KINDS or "-" in name or name == "hybrid" for name in entry.get("systems") or ())


def test_a_claim_of_a_users_own_takes_five_lines(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN)
    config = load_yaml(EMBEDDED) | load_yaml(tmp_path / "own.yaml")
    resources = resolve(config, WORKFLOW)
    spec = Plan(config, resources).analysis_spec
    assert spec["claims"]["majority-is-worse"]["claim"].startswith("The majority")
    assert len(spec["claims"]) == len(load_resources(WORKFLOW / "resources")["claims"]) + 1


def test_a_run_without_the_models_of_the_projects_claims_has_its_own_alone(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN.replace("gliznet-full", "oracle"))
    suites = {"gliclass": {"task": "single", "datasets": ["movie-snippets"]}}
    systems = {name: {"family": "control", "control": name} for name in ("majority", "oracle")}
    for own in ({}, load_yaml(tmp_path / "own.yaml")):
        config = {"run": "mine", "suites": suites, "systems": systems} | own
        resources = resolve(config, WORKFLOW)
        assert list(Plan(config, resources).analysis_spec["claims"]) == list(own.get("claims", {}))


def test_a_claim_of_a_users_own_is_judged(judged, tmp_path):
    (tmp_path / "own.yaml").write_text(OWN)
    (own,) = load_yaml(tmp_path / "own.yaml")["claims"].values()
    found = judge(judged.run, own)
    assert found.verdict == SUPPORTED and found.low > 0


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"rule": "better", "systems": ["gliznet-full"]}, "claims.mine.systems"),
        ({"rule": "better", "systems": ["gliznet-full", "nobody"]}, "claims.mine.systems"),
        ({"rule": "bigger", "systems": ["gliznet-full", "nli"]}, "claims.mine.rule"),
        ({"rule": "constant", "systems": ["joint"]}, "claims.mine.metric"),
        ({"rule": "constant", "systems": ["joint"], "metric": "macro_f1"}, "claims.mine.metric"),
        ({"rule": "order", "systems": ["joint"], "value": 3}, "claims.mine.value"),
        ({"rule": "reads", "systems": ["joint"], "value": "many"}, "claims.mine.value"),
        ({"rule": "trained_share", "systems": ["hybrid"], "value": 0}, "claims.mine.value"),
    ],
)
def test_a_wrong_claim_is_named_by_its_key(entry, key):
    config = load_yaml(EMBEDDED) | {"claims": {"mine": {"claim": "said", **entry}}}
    with pytest.raises(ConfigError, match=f"`{key}`"):
        resolve(config, WORKFLOW)


def test_the_blend_that_was_best_on_validation_rows_is_found():
    rng = np.random.default_rng(0)
    gold = rng.random(4000) < 0.4
    good, bad = np.clip(0.5 + 0.3 * (2 * gold - 1) + 0.2 * rng.normal(size=(2, 4000)), 0, 1)
    noise = rng.random(4000)
    assert rules._best_blend(good, noise, gold) > 0.6
    assert rules._best_blend(noise, good, gold) < 0.4
    assert 0.2 < rules._best_blend(good, bad, gold) < 0.8


def blended(
    tmp_path: Path, trained: bool = True, learned: float = 0.25
) -> tuple[Run, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """A run whose only systems are three blends of one hybrid, and its test scores by blend: (gold, scores).

    The heads are better than the NLI model, except for the last label, which has no head. The learned weight of the NLI
    model is the same for every label with a head.
    """
    spec, seeds = make_spec(draws=200), (1, 2) if trained else (0,)
    names = {"learned": "hybrid", "heads": "hybrid-heads", "half": "hybrid-half"}
    spec["systems"] = [
        system(name, "hybridnli", seeds, ("topics",), trained, blend=kind, hybrid="hybrid", nli="n", dataset="mini")
        | {"model": "hybrid", "made_of": ["n", "mini"]}
        for kind, name in names.items()
    ]
    run = Run(make_run(tmp_path, spec, rows=400) and tmp_path, spec)
    topics, rng = spec["suites"]["topics"]["datasets"][0]["label_names"], np.random.default_rng(1)
    shown: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for seed in seeds:
        gold = read_cell(run.layout, "topics", spec["suites"]["topics"]["datasets"][0], "hybrid", seed).gold
        nli, heads = (1 / (1 + np.exp(-(gain * (2 * gold - 1) + rng.normal(size=gold.shape)))) for gain in (0.2, 1.5))
        heads[:, -1] = nli[:, -1]
        for kind, weight in (("learned", learned), ("heads", 0), ("half", 0.5)):
            scores = weight * nli + (1 - weight) * heads
            split = ["validation"] * 200 + ["test"] * 200
            frame = frame_of([np.flatnonzero(row).tolist() for row in gold], scores, topics, split)
            counts = {"parameters": 1050, "trained_parameters": 50}
            write_cell(run.layout, ("topics", "mini", names[kind], seed), frame, **counts)
            shown[f"{kind}{seed}"] = gold[200:], scores[200:]
        if trained:
            (path := run.layout.model("hybrid", seed)).parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"alphas": dict.fromkeys(topics[:-1], learned), "parameters": 50})
    return run, shown


@pytest.mark.parametrize(("learned", "verdict"), [(0.05, SUPPORTED), (0.9, CONTRADICTED)])
def test_a_learned_blend_is_compared_with_the_best_of_a_grid(tmp_path: Path, learned: float, verdict: str) -> None:
    run, shown = blended(tmp_path, learned=learned)
    found = judge(run, claim("blend", "hybrid"))
    assert f"Technology {learned:.2f} (grid 0.0" in found.why and "Environment" not in found.why
    means = {
        kind: np.mean([average_precision_score(gold[:, :-1], scores[:, :-1]) for gold, scores in sides])
        for kind in ("learned", "heads")
        for sides in [[shown[f"{kind}{seed}"] for seed in (1, 2)]]
    }
    assert found.value == pytest.approx(means["learned"] - means["heads"], abs=0.01)  # the grid's best: almost heads
    assert found.low < found.value < found.high and found.verdict == verdict


def test_the_blend_of_a_published_hybrid_is_not_known(tmp_path: Path) -> None:
    found = judge(blended(tmp_path, trained=False)[0], claim("blend", "hybrid"))
    assert (found.verdict, found.why) == (NOT_TESTABLE, "hybrid was not trained here")


def test_a_trained_share_is_trained_over_frozen_parameters(tmp_path: Path) -> None:
    run, _ = blended(tmp_path)
    for value, origins, verdict in (
        (0.05, ["n"], SUPPORTED),
        (0.048, ["n"], CONTRADICTED),
        (0.05, ["m"], NOT_TESTABLE),
    ):
        found = judge(run, claim("trained_share", "hybrid", value=value, made_of=origins))
        assert (found.verdict, found.value) == (verdict, 0.05) and "50 trained, 1,000 of n frozen" in found.why


def test_the_trained_share_of_a_model_without_a_frozen_part_is_not_testable(judged) -> None:
    found = judge(judged.run, claim("trained_share", "gliznet-full", value=0.05))
    assert found.verdict == NOT_TESTABLE and "gliznet-full" in found.why


def test_the_accuracy_on_long_texts_is_that_of_a_single_label_suite(tmp_path: Path) -> None:
    spec = make_spec(seeds=(1,), draws=100)
    spec["suites"] = dict(reversed(spec["suites"].items()))
    run = Run(tmp_path, make_run(tmp_path, spec))
    write_json(run.layout.checkpoint("gliznet-full", 1) / "config.json", {"max_sequence_length": 256})
    for one in spec["suites"]["gliclass"]["datasets"]:
        cell = read_cell(run.layout, "gliclass", one, "gliznet-full", 1)
        texts = pd.DataFrame({"sample_id": cell.sample_ids, "text": ["word " * (i + 1) for i in range(120)]})
        path = run.layout.dataset(one["id"])
        path.parent.mkdir(parents=True)
        texts.to_parquet(path)
        write_json(path.with_name("card.json"), {"rows_sha256": file_sha256(path)})
    found = judge(run, claim("reads", "gliznet-full", value=1024))
    assert found.verdict == CONTRADICTED and "limit 256 tokens" in found.why
    assert judge(run, claim("reads", "hybrid", value=1024)).why == "hybrid is not in a single-label suite"


@pytest.mark.parametrize("scored", ["mini other", "mini"])
def test_another_metric_is_compared_on_every_set_with_scores(tmp_path: Path, scored: str) -> None:
    """Here one set has validation rows alone, so all sets are compared on these."""
    spec = make_spec(seeds=(1,), draws=100)
    suite = spec["suites"]["topics"]
    suite |= {"protocols": ["fixed-0.5"], "datasets": [*suite["datasets"], suite["datasets"][0] | {"id": "other"}]}
    layout = Run(tmp_path, make_run(tmp_path, spec)).layout
    for one in spec["systems"]:
        for seed in one["seeds"] if "topics" in one["suites"] else ():
            place = "topics", "other", one["id"], seed
            frame = pd.read_parquet(layout.scores(*place)).assign(split="validation")
            lacks = {"status": "failed"} if one["id"] == "nli-mini" and "other" not in scored else {}
            write_cell(layout, place, frame, **lacks)
    measure(tmp_path, spec)
    found = judge(Run(tmp_path, spec), claim("better", "hybrid", "nli-mini", metric="micro_f1"))
    frame = pd.read_parquet(tmp_path / "analysis" / "metrics.parquet")
    rows = frame[(frame["metric"] == "micro_f1") & (frame["label"] == "") & frame["dataset"].isin(scored.split())]
    means = rows[rows["split"] == "validation"].groupby("system")["value"].mean()
    assert found.value == pytest.approx(means["hybrid"] - means["nli-mini"])
    assert "fixed-0.5 on validation" in found.measured


def test_a_token_limit_is_read_under_the_name_that_config_json_gives_it(tmp_path: Path) -> None:
    """transformers refuses to store `max_length`; a missing limit used to count as unlimited."""
    run = Run(tmp_path, {})
    system = {"id": "gliznet-full", "model": "gliznet-full", "trained": True, "seeds": [1]}
    folder = run.layout.checkpoint("gliznet-full", 1)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"max_sequence_length": 256, "scoring_method": "dot"}')
    assert {"max_length": 256, "head": "dot"}.items() <= run.options(system).items()
    (folder / "config.json").write_text("{}")
    assert not {"max_length", "head"} & run.options(system).keys()


def test_an_ablation_of_a_term_that_was_0_throughout_tests_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, {"suites": {"s": {"metric": "macro_f1"}}})
    full, without, untrained = (
        {"id": name, "model": name, "trained": trained, "seeds": [1, 2], "settings": {}}
        for name, trained in (("full", True), ("without", True), ("nli", False))
    )
    monkeypatch.setattr(Run, "suite", lambda *_: "s")
    monkeypatch.setattr(rules, "_compared", lambda *_: None)  # the next check, if the term was used

    def train(name: str, seed: int, **losses: float) -> None:
        path = run.layout.model(name, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"history": [{"losses": {"poly": 1.0, **losses}}, {"losses": {"poly": 0.5, **losses}}]})

    def why(second: dict[str, object]) -> str:
        monkeypatch.setattr(Run, "systems", lambda *_: [full, second])
        with pytest.raises(rules.NotTestableError) as refused:
            rules.better(run, {})
        return str(refused.value)

    for seed in (1, 2):
        train("full", seed, kl=0.0)
        train("without", seed)
    assert why(without) == "the loss term kl of full was 0 throughout training"
    assert "no common scored rows" in why(untrained)  # comparing with another model does not test the term
    train("full", 2, kl=0.1)
    assert "no common scored rows" in why(without)
