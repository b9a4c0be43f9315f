"""Suites are only config: three with custom ids and different headline metrics, from scores to deltas."""

import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from synthetic import TOPICS, make_run, make_spec, system

from tests.measured import measure
from zsbench.evaluation.compare import answers_of, compare
from zsbench.plan.contents import absent, figures, tables
from zsbench.store.layout import Layout

METRICS = {"2nd-look": "accuracy", "b": "macro_f1", "many-per-text": "mean_ap"}


def dataset(name: str, task: str, labels: list[str]) -> dict:
    return {
        "id": name,
        "title": name,
        "task": task,
        "labels": labels,
        "label_names": labels,
        "domain": "d",
        "wordings": 1,
    }


def three_suites() -> dict:
    spec = make_spec(seeds=(1, 2, 3), draws=200)
    multi = {key: spec["suites"]["topics"][key] for key in ("protocols", "folds", "fold_seed", "partitions")}
    spec["suites"] = {
        "2nd-look": {"task": "single", "datasets": [dataset("one", "single", ["x", "y"])]},
        "b": {"task": "single", "datasets": [dataset(name, "single", ["x", "y", "z"]) for name in ("two", "three")]},
        "many-per-text": {"task": "multi", "datasets": [dataset("four", "multi", TOPICS)], **multi},
    }
    for suite, metric in METRICS.items():
        spec["suites"][suite] |= {"title": suite, "metric": metric}
    everywhere = tuple(METRICS)
    spec["systems"] = [
        system("gliznet-full", seeds=(1, 2, 3), suites=everywhere),
        system("gliznet-no-margin", seeds=(1, 2, 3), suites=everywhere),
        system("nli-mini", "nli", seeds=(1, 2, 3), suites=everywhere),
        system("biencoder", "biencoder", seeds=(0,), suites=("b", "many-per-text"), trained=False),
    ]
    spec["gliznet"] = {"base": {}, "variants": {"full": {}, "no-margin": {"margin": 0.0}}, "compounds": {}}
    return spec


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root, spec = tmp_path_factory.mktemp("runs") / "three", three_suites()
    make_run(root, spec, rows=60)
    measure(root, spec)
    compare(root, spec)
    return root, spec, *(pd.read_parquet(root / "analysis" / f"{name}.parquet") for name in ("metrics", "deltas"))


def test_every_delta_is_of_its_suites_metric(run) -> None:
    _, _, metrics, deltas = run
    assert deltas.groupby("suite")["metric"].unique().map(list).to_dict() == {s: [m] for s, m in METRICS.items()}
    keys = ["dataset", "system", "protocol", "split", "metric"]
    means = metrics[metrics["label"] == ""].groupby(keys)["value"].mean()
    cells = deltas[deltas["dataset"] != "average"]
    assert set(cells["dataset"]) == {"one", "two", "three", "four"}
    for row in cells.itertuples():
        ours = means[row.dataset, row.system, row.protocol, row.split, row.metric]
        theirs = means[row.dataset, row.baseline, row.baseline_protocol, row.split, row.metric]
        assert row.delta == pytest.approx(ours - theirs), row


def test_a_metric_of_scores_is_compared_once_per_split_and_knows_no_thresholds(run) -> None:
    root, _, metrics, deltas = run
    multi = deltas[deltas["suite"] == "many-per-text"]
    assert set(multi["factor"]) == {"system"}
    assert multi.groupby("split")["protocol"].nunique().to_dict() == {"validation": 1, "test": 1}
    scores = pd.read_parquet(Layout(root).scores("many-per-text", "four", "nli-mini", 2))
    test = scores[scores["split"] == "test"]
    gold = pd.DataFrame([[j in row for j in range(len(TOPICS))] for row in test["gold"]]).to_numpy()
    expected = average_precision_score(gold, test.filter(like="score:").to_numpy(), average="macro")
    mine = metrics[(metrics["system"] == "nli-mini") & (metrics["seed"] == 2) & (metrics["metric"] == "mean_ap")]
    assert mine[mine["split"] == "test"]["value"].tolist() == pytest.approx([expected] * 2)  # fixed-0.5, held-out


def test_rows_are_right_by_their_decisions_where_the_metric_reads_scores(run) -> None:
    """McNemar's test needs correct and wrong rows, which do not follow from scores alone."""
    root, spec, _, _ = run
    suite = spec["suites"]["many-per-text"]
    of_scores = answers_of(Layout(root), "many-per-text", suite["datasets"][0], spec)
    suite["metric"] = "macro_f1"
    of_decisions = answers_of(Layout(root), "many-per-text", suite["datasets"][0], spec)
    suite["metric"] = "mean_ap"
    for key, predictions in of_decisions.systems.items():
        right = (predictions[0, 0] == of_decisions.gold[key[0]]).all(axis=1)
        assert right.any() and (of_scores.correct[key] == right).all()


def test_tables_and_figures_are_named_after_their_suites(run) -> None:
    _, spec, _, deltas = run
    assert list(tables(spec))[:2] == ["2nd-look_suite", "b_suite"]
    assert {"ablations", "peers", "many-per-text", "many-per-text_deltas"} <= set(tables(spec))
    assert set(deltas["table"]) <= set(tables(spec))
    assert {"2nd-look_heatmap", "b_forest", "many-per-text_pr_curves"} <= set(figures(spec))
    assert {item.suite for item in [*tables(spec).values(), *figures(spec).values()]} == {"", *METRICS}
    assert absent(spec) == [
        "no label orders and wordings: scoring.sensitivity is not set, or does not apply to any system and dataset",
        "no confusable labels: scoring.confusable is not set",
        "no increasing numbers of labels: scoring.label_counts is not set",
        "no claims: those of the project are about GliZNet and HybridNLI, and the config names none",
        "no blend weights: no hybrid was trained",
    ]
