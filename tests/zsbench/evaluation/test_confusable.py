"""Accuracy between confusable labels against loops; its differences under the null and with an effect."""

import numpy as np
import pandas as pd
import pytest
from synthetic import make_run, make_spec

from zsbench.evaluation.cells import read_cell
from zsbench.evaluation.compare import Comparisons
from zsbench.evaluation.confusable import compare_confusable, confusable_accuracy, evidence_of
from zsbench.evaluation.label_pairs import alike
from zsbench.plan.comparisons import Pair
from zsbench.store.layout import Layout
from zsbench.store.provenance import write_json


def test_pairs_are_those_above_the_limit():
    cosines = np.array([[1.0, 0.6, 0.2], [0.6, 1.0, 0.5], [0.2, 0.5, 1.0]])
    assert alike(cosines, 0.4) == [[0, 1], [1, 2]]
    assert alike(cosines, 0.9) == []


def test_rows_are_judged_against_the_lookalikes_of_their_label():
    rng = np.random.default_rng(0)
    scores, gold = np.round(rng.random((80, 5)), 1), rng.integers(5, size=80)
    pairs = [[0, 1], [1, 3]]
    found = confusable_accuracy(scores, gold, pairs)
    for row, label, value in zip(scores, gold, found, strict=True):
        others = [b if a == label else a for a, b in pairs if label in (a, b)]
        if not others:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(
                np.mean([(row[label] > row[o]) + 0.5 * (row[label] == row[o]) for o in others])
            )


def test_the_frame_has_a_verdict_for_every_contrast(tmp_path):
    spec = make_spec(draws=300)
    make_run(tmp_path, spec, rows=80)
    write_json(Layout(tmp_path).label_pairs, {"encoder": "e", "cosine": 0.5, "pairs": {"alpha": [[0, 1]], "beta": []}})
    compare_confusable(tmp_path, spec)
    frame = pd.read_parquet(tmp_path / "analysis" / "confusable.parquet")
    assert set(frame["dataset"]) == {"alpha", "average"} and (frame["pairs"] == 1).all()
    row = frame[(frame["system"] == "gliznet-no-margin") & (frame["dataset"] == "average")].iloc[0]
    cells = [
        read_cell(Layout(tmp_path), "gliclass", spec["suites"]["gliclass"]["datasets"][0], row["system"], s)
        for s in (1, 2, 3)
    ]
    values = [confusable_accuracy(cell.scores, cell.gold.argmax(axis=1), [[0, 1]]).mean() for cell in cells]
    assert row["value"] == pytest.approx(np.mean(values))
    assert row["delta"] == pytest.approx(row["value"] - row["baseline_value"])
    assert row["verdict"] in ("effect", "no effect", "undecided")
    write_json(Layout(tmp_path).label_pairs, {"encoder": "e", "cosine": 0.5, "pairs": {"alpha": [], "beta": []}})
    compare_confusable(tmp_path, spec)
    assert pd.read_parquet(tmp_path / "analysis" / "confusable.parquet").empty


@pytest.mark.parametrize(("gain", "least", "most"), [(0.0, 0.0, 0.085), (0.12, 0.7, 1.0)])
def test_p_is_right_under_the_null_and_finds_an_effect(gain, least, most):
    pair, found, held = Pair("confusable", "s", "test", "one", "argmax", "other", "argmax"), 0, 0
    repeats = 200
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        skill = rng.normal(0, 0.2, size=300)
        values = {
            name: (rng.random(300) < np.clip(0.6 + more + skill, 0, 1)).astype(float)[None]
            for name, more in (("one", gain), ("other", 0.0))
        }
        statistics = {"seed": repeat, "draws": 400, "level": 0.95, "margin": 0.01}
        comparisons = Comparisons({"d": evidence_of("d", values, [pair], statistics)}, {}, statistics)
        row = next(row for row in comparisons.rows([pair]) if row["dataset"] == "average")
        found += row["p_adjusted"] < 0.05
        held += row["low"] <= gain <= row["high"]
    assert least <= found / repeats <= most
    if not gain:
        assert 0.90 <= held / repeats <= 0.985
