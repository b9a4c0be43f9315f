"""A run in which cells are missing: everything is written, names them, and averages say over which sets they are."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import made_up_run
import pandas as pd
import pytest

from zsbench.plan.contents import filled
from zsbench.reporting.diff import as_text, compare_runs
from zsbench.reporting.explain import explain
from zsbench.reporting.export import btzsc, model_index
from zsbench.reporting.figures import write_figures
from zsbench.reporting.frames import RunData
from zsbench.reporting.pages import write_report
from zsbench.reporting.tables import write_tables
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json

WHY = "19 of 77 labels do not fit the 64 tokens of a sequence"
LOST = {
    **{("gliclass", "newsgroups", "nli-mini", seed): ("not-applicable", WHY) for seed in (1, 2, 3)},
    ("gliclass", "r8", "gliznet-warm", 2): ("failed", "ZeroDivisionError: division by zero"),
    **{("gliclass", name, "biencoder", 0): ("failed", "no <such> file_name & 5 %") for name in made_up_run.DATASETS},
    **{("topics", "topics-mini", "hybrid-heads", seed): ("failed", "NaN scores") for seed in (1, 2, 3)},
}


def render(made: SimpleNamespace) -> SimpleNamespace:
    """Tables, figures and pages of a run."""
    out = made.root.parents[1] / "reports" / "synthetic"
    names = write_tables(made.root, made.spec, out / "tables")
    figures = write_figures(made.root, made.spec, out / "figures")
    write_report(made.root, made.spec, out)
    return SimpleNamespace(root=made.root, spec=made.spec, out=out, tables=names, figures=figures)


def with_lost(made: SimpleNamespace, folder: Path, lost: dict) -> SimpleNamespace:
    root, spec = folder / "results" / "synthetic", json.loads(json.dumps(made.spec))
    spec["statistics"]["draws"] = 200
    shutil.copytree(made.root, root)
    made_up_run.lose(root, lost, spec)
    return render(SimpleNamespace(root=root, spec=spec))


@pytest.fixture(scope="module")
def lossy(made, tmp_path_factory) -> SimpleNamespace:
    return with_lost(made, tmp_path_factory.mktemp("lossy"), LOST)


def rows(run: SimpleNamespace, name: str) -> list[dict[str, str]]:
    with (run.out / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def suite(run: SimpleNamespace) -> dict[str, dict[str, str]]:
    short = {entry["title"]: name for name, entry in RunData(run.root, run.spec).datasets("gliclass").items()}
    return {
        row["System"]: {short.get(key, key): text for key, text in row.items()} for row in rows(run, "gliclass_suite")
    }


def test_the_suite_table_says_what_is_missing_and_over_which_sets_averages_are(lossy):
    table, means = suite(lossy), RunData(lossy.root, lossy.spec).suite_means("gliclass")
    assert table["nli-mini"]["newsgroups"] == "n/a" and table["gliznet-warm"]["r8"] == "failed"
    assert {table["biencoder"][name] for name in (*made_up_run.DATASETS, "Average")} == {"failed"}
    own = means.loc["nli-mini"].drop("average").mean()
    assert table["nli-mini"]["Average"].startswith(f"{own:.4f} (3 of 4 sets)")
    assert "sets)" not in table["gliznet-full"]["Average"]
    notes = (lossy.out / "tables" / "gliclass_suite.notes.txt").read_text(encoding="utf-8")
    assert (
        f"n/a: nli-mini on {RunData(lossy.root, lossy.spec).datasets('gliclass')['newsgroups']['title']}: {WHY}."
        in notes
    )
    assert "(seed 2): ZeroDivisionError: division by zero." in notes


def test_a_partial_average_is_never_the_best(lossy):
    """gliznet-warm has the highest numbers by far; without r8 it is out of the ranking."""
    text = (lossy.out / "tables" / "gliclass_suite.md").read_text(encoding="utf-8")
    warm = next(line for line in text.splitlines() if line.startswith("| gliznet-warm"))
    assert "(3 of 4 sets)" in warm and warm.count("**") == 6, "best on its three sets, not on the average"
    first = (lossy.out / "REPORT.md").read_text(encoding="utf-8").split("leads the suite")[0].split()[-1]
    assert first != "gliznet-warm"


def test_differences_are_over_the_sets_that_both_have(made, lossy):
    def deltas(run):
        frame = pd.read_parquet(run.root / "analysis" / "deltas.parquet")
        return frame[(frame["suite"] == "gliclass") & (frame["table"] == "gliclass_suite")]

    def average(run, baseline):
        return deltas(run).set_index(["baseline", "dataset"]).loc[(baseline, "average")]

    single = deltas(made).set_index(["baseline", "dataset"])["delta"]
    expected = single["nli-mini"][["r8", "movies", "products"]].mean()
    found = average(lossy, "nli-mini")
    assert found["delta"] == pytest.approx(expected) and found["n_sets"] == 3 and found["n_rows"] == 180
    assert average(lossy, "gliznet-no-bce")["n_sets"] == 4
    assert "biencoder" not in set(deltas(lossy)["baseline"])
    row = suite(lossy)["nli-mini"]
    assert row["Δ"] == f"{expected:+.4f} (3 of 4 sets)"
    warm = next(row for row in rows(lossy, "ablations") if row["Contrast"] == "gliznet-warm vs gliznet-full")
    assert "failed" in warm.values() and warm["Average Δ"].endswith("(3 of 4 sets)")


def test_topics_go_on_without_a_hybrid(lossy):
    heads = [row for row in rows(lossy, "topics") if row["System"] == "hybrid-heads"]
    assert heads and {row["Macro F1"] for row in heads} == {"failed"}
    assert not [row for row in rows(lossy, "topic_deltas") if "hybrid-heads" in (row["System"], row["Against"])]
    assert [row for row in rows(lossy, "topic_deltas") if row["System"] == "hybrid"]


def test_everything_the_plan_expects_is_written_and_names_the_missing(lossy):
    assert set(lossy.tables) == set(filled(lossy.spec, "tables"))
    assert {path.stem for path in lossy.figures} >= set(filled(lossy.spec, "figures"))
    captions = {entry["name"]: entry["caption"] for entry in read_json(lossy.out / "figures" / "figures.json")}
    for name in ("suite_heatmap", "delta_forest", "ablations", "cost", "reliability"):
        assert WHY in captions[name], name
    assert "NaN scores" in captions["topics_f1"] and "n/a" not in captions["training_curves"]
    for name in ("cost", "calibration", "published", "sensitivity"):
        assert WHY in (lossy.out / "tables" / f"{name}.notes.txt").read_text(encoding="utf-8"), name
    page, report = ((lossy.out / name).read_text(encoding="utf-8") for name in ("index.html", "REPORT.md"))
    assert "Without numbers: " in report and WHY in report and "ZeroDivisionError" in report
    assert 'id="table-missing"' in page and "no &lt;such&gt; file_name &amp; 5 %" in page
    assert "9 more hold no scores" in report
    cells = Layout(lossy.root)
    assert all(cells.metrics(*place).is_file() for place in LOST), "the workflow expects one of every cell"


def test_explain_compare_and_exports_of_a_run_with_missing_cells(made, lossy):
    text = explain(lossy.root / "cells" / "gliclass" / "r8" / "gliznet-warm" / "seed2")
    assert "It holds no scores: failed: ZeroDivisionError" in text
    comparison = compare_runs(made.root, lossy.root, statistics={"draws": 50})
    assert "only in" in as_text(comparison, "a", "b") and "gliclass/r8/gliznet-warm" in " ".join(comparison.notes)
    frame = comparison.deltas.set_index(["system", "dataset"])
    assert ("nli-mini", "r8") in frame.index and ("nli-mini", "newsgroups") not in frame.index
    assert set(btzsc(lossy.root, "nli-mini")["results"]["by_dataset"]) == {"r8", "movies", "products"}
    assert "newsgroups" not in model_index(lossy.root, "nli-mini")
    with pytest.raises(IntegrityError, match="no cell of 'hybrid-heads' holds scores: NaN scores"):
        model_index(lossy.root, "hybrid-heads")


def test_a_run_whose_systems_all_failed_still_has_its_report(made, tmp_path):
    lost = {
        (suite, dataset["id"], system["id"], seed): ("failed", "out of luck")
        for suite, block in made.spec["suites"].items()
        for dataset in block["datasets"]
        for system in made.spec["systems"]
        if suite in system["suites"]
        for seed in system["seeds"]
    }
    run = with_lost(made, tmp_path, lost)
    assert {path.stem for path in run.figures} >= set(filled(run.spec, "figures"))
    assert set(run.tables) == set(filled(run.spec, "tables"))
    assert "out of luck" in (run.out / "REPORT.md").read_text(encoding="utf-8")
