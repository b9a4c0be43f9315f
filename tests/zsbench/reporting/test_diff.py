"""`zsbench compare`: two runs, or two systems of one."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.measured import measure
from zsbench.config.load import ConfigError
from zsbench.reporting.diff import Comparison, as_text, compare_runs
from zsbench.reporting.frames import RunData
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, file_sha256, read_json, write_json

FEW = {"draws": 400}


@pytest.fixture
def other(made: SimpleNamespace, tmp_path: Path) -> Path:
    """A second run: nli-mini is as good as the oracle, products has other rows, one system is missing."""
    root = tmp_path / "results" / "second"
    for system in ("nli-mini", "biencoder", "oracle"):
        for folder in (made.root / "cells" / "gliclass").glob(f"*/{system}"):
            shutil.copytree(folder, root / "cells" / "gliclass" / folder.parent.name / system)
    layout = Layout(root)
    for dataset in ("newsgroups", "r8", "movies", "products"):
        for seed in (1, 2, 3):
            _replace(layout, ("gliclass", dataset, "nli-mini", seed), ("gliclass", dataset, "oracle", 0))
    path = layout.scores("gliclass", "products", "biencoder", 0)
    pd.read_parquet(path).iloc[1:].to_parquet(path, index=False)
    _sign(layout, ("gliclass", "products", "biencoder", 0))
    return root


def _replace(layout: Layout, where: tuple[str, str, str, int], by: tuple[str, str, str, int]) -> None:
    shutil.copy(layout.scores(*by), layout.scores(*where))
    _sign(layout, where)


def _sign(layout: Layout, where: tuple[str, str, str, int]) -> None:
    card = read_json(layout.card(*where))
    write_json(layout.card(*where), card | {"scores_sha256": file_sha256(layout.scores(*where)), "source": "changed"})


def test_what_changed_is_found_and_what_did_not_is_zero(made: SimpleNamespace, other: Path) -> None:
    found = compare_runs(made.root, other, statistics=FEW)
    table = found.deltas.set_index(["system", "dataset"])
    better = table.loc[("nli-mini", "average")]
    assert better["b"] == 1.0 and better["delta"] == pytest.approx(1 - better["a"]) and better["p_adjusted"] < 0.05
    single = table.loc["nli-mini"].drop("average")
    assert better["delta"] == pytest.approx(single["delta"].mean()) and len(single) == 4
    same = table.loc["oracle"]
    assert (same["delta"] == 0).all() and (same["p_adjusted"] == 1).all() and (same["low"] == 0).all()
    assert (table["low"] <= table["delta"]).all() and (table["delta"] <= table["high"]).all()


def test_what_cannot_be_compared_is_noted(made: SimpleNamespace, other: Path) -> None:
    notes = compare_runs(made.root, other, statistics=FEW).notes
    assert "not compared, other rows: gliclass/products/biencoder" in notes
    assert f"only in {made.root}: gliclass/r8/gliznet-full" in notes
    assert "differs in source: gliclass/r8/nli-mini" in notes


def test_two_systems_of_one_run_agree_with_the_analysis(made: SimpleNamespace) -> None:
    found = compare_runs(made.root, made.root, ("gliznet-full", "biencoder"), made.spec["statistics"])
    row = found.deltas.set_index(["suite", "dataset"]).loc[("gliclass", "average")]
    deltas = pd.read_parquet(made.root / "analysis" / "deltas.parquet")
    stored = deltas[(deltas["table"] == "gliclass_suite") & (deltas["dataset"] == "average")].set_index("system")
    assert row["delta"] == pytest.approx(stored.loc["biencoder", "delta"])
    # other draws of rows: the same interval up to the noise of 1,000 draws
    np.testing.assert_allclose(
        [row["low"], row["high"]], stored.loc["biencoder", ["low", "high"]].astype(float), atol=0.02
    )
    assert row["system"] == "biencoder - gliznet-full"
    assert found.notes == []  # different weights of two systems are not worth a note


def test_text_puts_averages_first_and_repeats_itself(made: SimpleNamespace, other: Path) -> None:
    text = as_text(compare_runs(made.root, other, statistics=FEW), "first", "second")
    lines = [line for line in text.splitlines() if line.startswith("gliclass")]
    assert "average" in lines[0] and "average" not in lines[-1] and "*" in text
    assert text == as_text(compare_runs(made.root, other, statistics=FEW), "first", "second")


def test_errors_name_what_is_allowed(made: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="no cells; expected results/<run>"):
        compare_runs(made.root, tmp_path)
    with pytest.raises(
        ConfigError, match=r"has no system 'gliznet-ful'; did you mean 'gliznet-full'\? allowed: biencoder"
    ):
        compare_runs(made.root, made.root, ("gliznet-ful", "biencoder"))
    with pytest.raises(ConfigError, match="systems: .*prior-random"):
        compare_runs(made.root, made.root, ("prior-random", "biencoder"))


def test_only_protocols_that_both_runs_used_are_compared(made: SimpleNamespace, tmp_path: Path) -> None:
    root, spec = tmp_path / "results" / "fixed", json.loads(json.dumps(made.spec))
    shutil.copytree(made.root / "cells" / "topics", root / "cells" / "topics")

    def compared(protocol: str) -> Comparison:
        spec["suites"] = {"topics": made.spec["suites"]["topics"] | {"protocols": [protocol]}}
        measure(root, spec)
        return compare_runs(made.root, root, statistics={"draws": 20})

    values = RunData(made.root, made.spec).metrics.set_index(["dataset", "system", "protocol", "split", "metric"])
    fixed = compared("fixed-0.5")
    for row in fixed.deltas.query("dataset == 'topics-mini'").itertuples():
        if "random" not in row.system:
            stored = values.loc[("topics-mini", row.system, "fixed-0.5", "test", "macro_f1"), "value"].mean()
            assert (row.a, row.b) == pytest.approx((stored, stored))
    assert not fixed.notes or all(note.startswith("only in") for note in fixed.notes)
    other = compared("heads-tuned")
    assert other.deltas.empty and "not compared, no protocol in common: topics/topics-mini/hybrid" in other.notes
