"""The search for learning rates: what its page shows, and that the config trains every family equally often."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from benchmarks import search
from zsbench.config.load import load_yaml, merge, resolve
from zsbench.plan.plan import Plan
from zsbench.store.layout import WORKFLOW

RECIPE = {"effective_batch": 16, "training_set": "mine"}


def training(run, system, rate, validation):
    folder = run / "models" / system / "seed1"
    folder.mkdir(parents=True)
    spec = {"id": system, "seed": 1, "recipe": RECIPE | {"learning_rate": rate}}
    history = [{"step": 40, "validation": 0.9}, {"step": 80, "validation": validation}]
    (folder / "training.json").write_text(json.dumps({"spec": spec, "history": history, "seconds": 90.0}))


def test_the_page_shows_the_last_validation_of_every_training_and_marks_the_best_of_a_row(tmp_path, capsys):
    for rate, values in {1e-4: (0.5, 0.7), 1e-3: (0.6, 0.4)}.items():
        run = tmp_path / f"search-{rate}"
        training(run, "nli-mini", rate, values[0])
        training(run, "gliznet-full", rate, values[1])
    rows = tmp_path / "search-0.0001" / "training_sets" / "mine" / "rows.parquet"
    rows.parent.mkdir(parents=True)
    one = {"split": "validation", "text": "a", "shown": ["x", "y"], "targets": [1, 0]}
    pd.DataFrame([one] * 400).to_parquet(rows)
    out = tmp_path / "search.md"
    with pytest.raises(SystemExit) as end:
        search.app([str(path) for path in sorted(tmp_path.glob("search-*"))] + ["--out", str(out)])
    assert not end.value.code
    text = out.read_text()
    assert [line.split() for line in text.splitlines() if line.startswith("|")][2:] == [
        ["|", "gliznet-full", "|", "**0.700**", "|", "0.400", "|"],
        ["|", "nli-mini", "|", "0.500", "|", "**0.600**", "|"],
    ]
    assert "80 steps of 16 texts, with seed 1" in text and "4 trainings" in text
    assert "random order scores 0.750." in text  # the true label of two is first or second
    assert "the same score has 0.500" in text


@pytest.mark.parametrize(("true", "labels"), [(1, 2), (1, 5), (2, 5), (4, 5), (3, 7)])
def test_the_expected_average_precision_is_the_mean_over_all_orders(true, labels):
    scores = np.arange(labels, 0, -1)
    orders = itertools.combinations(range(labels), true)
    each = [average_precision_score(np.isin(np.arange(labels), order), scores) for order in orders]
    assert search.random_average_precision(true, labels) == pytest.approx(np.mean(each))


def test_the_search_trains_what_the_embedded_run_trains_on_equal_terms():
    def plan(*names):
        config = merge(*(load_yaml(WORKFLOW / "configs" / f"{name}.yaml") for name in names))
        return Plan(config, resolve(config, WORKFLOW))

    demo, tried = plan("embedded"), plan("embedded", "search")
    assert {spec["family"] for spec in tried.trained.values()} == {spec["family"] for spec in demo.trained.values()}
    lengths = {(spec["recipe"]["steps"], spec["recipe"]["effective_batch"]) for spec in tried.trained.values()}
    assert lengths == {(demo.config["recipe"]["steps"], demo.config["recipe"]["effective_batch"])}
    assert len({spec["recipe"]["learning_rate"] for spec in tried.trained.values()}) == 1
