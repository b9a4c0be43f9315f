"""The measure step: frames as documented, errors that name damaged cells, no torch."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from synthetic import make_run, make_spec, system, write_cell

from tests.measured import measure
from zsbench.evaluation.compare import compare
from zsbench.evaluation.measure import gather, measure_job
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json, write_json


@pytest.fixture
def small(tmp_path):
    """A run for a test to damage."""
    spec = make_spec(seeds=(1,))
    return tmp_path / "run", make_run(tmp_path / "run", spec, rows=24)


def frame(run, name):
    return pd.read_parquet(run.root / "analysis" / f"{name}.parquet")


def test_frames_have_the_columns_of_the_contract(analysed):
    columns = {
        "metrics": "suite dataset system seed protocol split metric label value",
        "calibration": "dataset system seed ece brier auroc",
        "reliability": "dataset system bin low high count confidence accuracy",
        "cost": "dataset system seed seconds texts_per_second peak_memory_mb texts truncated_texts truncated_labels",
        "sensitivity": "kind dataset system seed k mean low high flip_rate flip_low flip_high floor rows",
    }
    for name, wanted in columns.items():
        assert set(wanted.split()) <= set(frame(analysed, name).columns)


def test_every_cell_has_its_metrics_and_they_are_those_of_its_scores(analysed):
    metrics = frame(analysed, "metrics").set_index(
        ["dataset", "system", "seed", "protocol", "split", "metric", "label"]
    )
    scores = pd.read_parquet(Layout(analysed.root).scores("gliclass", "beta", "nli-mini", 2))
    predicted = scores.filter(like="score:").to_numpy().argmax(axis=1)
    expected = f1_score([gold[0] for gold in scores["gold"]], predicted, average="macro")
    assert metrics.loc[("beta", "nli-mini", 2, "argmax", "test", "macro_f1", ""), "value"] == pytest.approx(expected)
    oracle = metrics.loc[("mini", "oracle", 0, "held-out", "test", "exact_match", ""), "value"]
    assert oracle == 1.0
    assert np.isfinite(metrics["value"]).all()


def test_metrics_json_says_where_thresholds_came_from(analysed):
    stored = read_json(Layout(analysed.root).metrics("topics", "mini", "hybrid", 1))
    sources = {(one["protocol"], one["split"]): one["thresholds_fitted_on"] for one in stored["decisions"]}
    assert sources["held-out", "test"] == "validation"
    assert sources["fixed-0.5", "test"] == ""
    assert set(stored["decisions"][0]["labels"]["Health"]) == {"precision", "recall", "f1", "ap", "threshold"}


def test_reliability_counts_all_rows_of_all_seeds(analysed):
    found = frame(analysed, "reliability").groupby(["suite", "dataset", "system"])["count"].sum()
    assert found["gliclass", "beta", "nli-mini"] == 3 * 120
    assert found["topics", "mini", "hybrid"] == 3 * 60 * 5


def test_sensitivity_is_measured_from_the_answers_of_cells(small):
    root, spec = small
    spec["suites"]["gliclass"]["metric"] = "accuracy"
    gold = [0, 1, 0, 1]
    stored = {"key": "k", "labels": 2, "gold": gold, "order": [gold, [1, 1, 0, 1]], "verbalisation": [], "again": gold}
    stored |= {"order_p": [[0.75, 0.75, 0.75, 0.75], [0.25, 0.5, 0.5, 1.0]], "verbalisation_p": []}
    write_json(Layout(root).cell("gliclass", "alpha", "gliznet-full", 1) / "sensitivity.json", stored)
    measure(root, spec)
    (found,) = pd.read_parquet(root / "analysis" / "sensitivity.parquet").to_dict("records")
    expected = {"kind": "order", "dataset": "alpha", "system": "gliznet-full", "seed": 1, "k": 2, "rows": 4}
    expected |= {"mean": 0.875, "low": 0.75, "high": 1.0, "flip_rate": 0.25, "floor": 0.0, "median_shift": 0.25}
    assert expected.items() <= found.items()
    assert 0 <= found["flip_low"] <= 0.25 <= found["flip_high"] <= 1


@pytest.mark.parametrize("damage", ["scores", "card", "missing"])
def test_a_damaged_cell_is_named(small, damage):
    root, spec = small
    layout, place = Layout(root), ("gliclass", "beta", "nli-mini", 1)
    if damage == "scores":
        path = layout.scores(*place)
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "card":
        layout.card(*place).write_text("{")
    else:
        layout.scores(*place).unlink()
    with pytest.raises(IntegrityError, match="gliclass/beta/nli-mini/seed1"):
        measure(root, spec)


def rewrite(layout, place, change):
    """Change a cell's scores and update its card."""
    import hashlib

    path = layout.scores(*place)
    table = pd.read_parquet(path)
    change(table).to_parquet(path, index=False)
    card = read_json(layout.card(*place)) | {"scores_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    write_json(layout.card(*place), card)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(**{"score:a": np.nan}), "24 non-finite scores"),
        (lambda t: t.rename(columns={"score:a": "score:z"}), "scores are for labels"),
        (lambda t: t.assign(gold=[[0, 1]] * len(t)), "exactly one gold label"),
        (lambda t: t.assign(gold=[[7]] * len(t)), "gold indices outside 0 ... 2"),
        (lambda t: t.iloc[::-1], "different rows"),
        (lambda t: t.iloc[:0], "no rows"),
    ],
)
def test_a_cell_that_does_not_fit_is_named(small, change, message):
    root, spec = small
    rewrite(Layout(root), ("gliclass", "beta", "nli-mini", 1), change)
    with pytest.raises(IntegrityError, match=rf"gliclass/beta/nli-mini/seed1.*{message}|{message}.*nli-mini"):
        measure(root, spec)
        compare(root, spec)


def test_measuring_and_comparing_import_no_torch(small):
    root, spec = small
    spec["statistics"]["draws"] = 100
    code = (
        "import json, sys; from pathlib import Path\n"
        "from tests.measured import measure; from zsbench.evaluation.compare import compare\n"
        "from zsbench.reporting.tables import write_tables\n"
        "root, spec = Path(sys.argv[1]), json.load(sys.stdin)\n"
        "measure(root, spec); compare(root, spec); write_tables(root, spec, root / 'tables')\n"
        "print([name for name in ('torch', 'transformers', 'datasets', 'evaluate') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)], input=json.dumps(spec), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_random_control_is_its_expectation_and_not_its_cells_draw(tmp_path):
    draws = []
    for seed in range(2):  # two draws of the cell, the same value
        spec = make_spec()
        spec["suites"].pop("topics")
        spec["systems"] = [system("chance", "control", (0,), ("gliclass",), False, "uniform-random")]
        root = tmp_path / str(seed)
        make_run(root, spec, rows=60)
        for dataset in spec["suites"]["gliclass"]["datasets"]:
            place = ("gliclass", dataset["id"], "chance", 0)
            frame = pd.read_parquet(Layout(root).scores(*place))
            columns = [name for name in frame if name.startswith("score:")]
            frame[columns] = np.random.default_rng(seed).random(frame[columns].shape).astype(np.float32)
            write_cell(Layout(root), place, frame)
        measure(root, spec)
        frame = pd.read_parquet(root / "analysis" / "metrics.parquet")
        draws.append(frame[frame["metric"] == "accuracy"]["value"].to_numpy())
    np.testing.assert_array_equal(draws[0], draws[1])
    labels = [len(dataset["labels"]) for dataset in spec["suites"]["gliclass"]["datasets"]]
    np.testing.assert_allclose(draws[0], 1 / np.array(labels), atol=4 * 0.065 / 10)  # 60 rows, 100 draws


def test_a_system_is_measured_by_itself_and_then_gathered(small):
    """Separate jobs give the same result as `measure` in one process."""
    root, spec = small
    measure(root, spec)
    frames = {path.name: path.read_bytes() for path in (root / "analysis").glob("*.parquet")}
    system = next(entry for entry in spec["systems"] if entry["id"] == "nli-mini")
    changed = Layout(root).metrics("topics", "mini", "nli-mini", 1)
    changed.unlink()
    others = {path: path.stat().st_mtime_ns for path in root.glob("cells/*/*/*/*/metrics.json")}
    job = {"system": "nli-mini", "seed": 1, "settings": system["settings"], "suites": spec["suites"]}
    measure_job(root, job)
    assert set(read_json(Layout(root).measured("nli-mini", 1))["cells"]) == {
        "gliclass/alpha",
        "gliclass/beta",
        "topics/mini",
    }
    assert changed.is_file()
    assert all(path.stat().st_mtime_ns == time for path, time in others.items() if "nli-mini" not in str(path))
    gather(root, spec)
    assert frames == {path.name: path.read_bytes() for path in (root / "analysis").glob("*.parquet")}


def test_comparing_refuses_decisions_of_other_scores(small):
    root, spec = small
    measure(root, spec)
    rewrite(Layout(root), ("gliclass", "beta", "nli-mini", 1), lambda table: table.assign(**{"score:a": 0.5}))
    with pytest.raises(IntegrityError, match="gliclass/beta/nli-mini/seed1"):
        compare(root, spec)
