"""A run with missing cells: everything is written and names them, and averages state which sets they cover."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import made_up_run
import pandas as pd
import pytest

from zsbench.plan import contents
from zsbench.reporting.diff import as_text, compare_runs
from zsbench.reporting.explain import explain
from zsbench.reporting.export import btzsc, model_index
from zsbench.reporting.figures import write_figures
from zsbench.reporting.frames import RunData
from zsbench.reporting.page import write_report
from zsbench.reporting.render import cells, read_table
from zsbench.reporting.tables import write_tables
from zsbench.reporting.tables.base import build_table
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json

WHY = "19 of 77 labels do not fit into the 64 tokens of a sequence"
LOST = {
    **{("gliclass", "newsgroups", "nli-mini", seed): ("not-applicable", WHY) for seed in (1, 2, 3)},
    ("gliclass", "r8", "gliznet-warm", 2): ("failed", "ZeroDivisionError: division by zero"),
    **{("gliclass", name, "biencoder", 0): ("failed", "no <such> file_name & 5 %") for name in made_up_run.DATASETS},
    **{("topics", "topics-mini", "hybrid-heads", seed): ("failed", "NaN scores") for seed in (1, 2, 3)},
}


def render(made: SimpleNamespace) -> SimpleNamespace:
    """Tables, figures and pages of a run."""
    out = made.root.parents[1] / "reports" / "synthetic"
    write_tables(made.root, made.spec, out / "tables")
    write_figures(made.root, made.spec, out / "figures")
    write_report(made.root, made.spec, out)
    return SimpleNamespace(root=made.root, spec=made.spec, out=out)


def with_lost(made: SimpleNamespace, folder: Path, lost: dict) -> SimpleNamespace:
    root, spec = folder / "results" / "synthetic", json.loads(json.dumps(made.spec))
    spec["statistics"]["draws"] = 200
    shutil.copytree(made.root, root)
    made_up_run.lose(root, lost, spec)
    return render(SimpleNamespace(root=root, spec=spec))


@pytest.fixture(scope="module")
def lossy(made, tmp_path_factory) -> SimpleNamespace:
    return with_lost(made, tmp_path_factory.mktemp("lossy"), LOST)


def assert_written(run: SimpleNamespace) -> None:
    """Every table and figure of the plan is written."""
    assert {path.stem for path in (run.out / "tables").iterdir()} == set(contents.tables(run.spec))
    assert {path.stem for path in (run.out / "figures").glob("*.svg")} == set(contents.figures(run.spec))


def frame(run: SimpleNamespace, name: str) -> pd.DataFrame:
    return read_table(run.out / "tables", name).frame


def notes(run: SimpleNamespace, name: str) -> str:
    return " ".join(read_table(run.out / "tables", name).notes)


def test_the_suite_table_says_what_is_missing_and_over_which_sets_averages_are(lossy):
    table, means = frame(lossy, "gliclass_suite"), RunData(lossy.root, lossy.spec).suite_means("gliclass")
    table = table.set_index(["system", "dataset"])
    assert table.loc[("nli-mini", "newsgroups"), "status"] == "n/a"
    assert table.loc[("gliznet-warm", "r8"), "status"] == "failed"
    assert set(table.loc["biencoder", "status"]) == {"failed"} and table.loc["biencoder", "value"].isna().all()
    average = table.loc[("nli-mini", "average")]
    assert average["value"] == pytest.approx(means.loc["nli-mini"].drop("average").mean())
    assert (average["n_sets"], average["of_sets"]) == (3, 4)
    title = RunData(lossy.root, lossy.spec).titles["newsgroups"]
    assert f"n/a: nli-mini on {title}: {WHY}." in notes(lossy, "gliclass_suite")
    assert "(seed 2): ZeroDivisionError: division by zero." in notes(lossy, "gliclass_suite")


def test_a_partial_average_is_never_the_best(lossy):
    """gliznet-warm has by far the highest average; without r8 it is not ranked."""
    averages = frame(lossy, "gliclass_suite").query("dataset == 'average'").set_index("system")
    rivals = averages[~averages["control"]]
    assert rivals["value"].idxmax() == "gliznet-warm" and not averages.loc["gliznet-warm", "best"]
    assert rivals["best"].sum() == 1
    assert "gliznet-warm leads Single" not in (lossy.out / "REPORT.md").read_text(encoding="utf-8")


def test_differences_are_over_the_sets_that_both_have(made, lossy):
    def deltas(run):
        frame = pd.read_parquet(run.root / "analysis" / "deltas.parquet")
        return frame[(frame["suite"] == "gliclass") & (frame["table"] == "gliclass_suite")]

    def average(run, system):
        return deltas(run).set_index(["system", "dataset"]).loc[(system, "average")]

    single = deltas(made).set_index(["system", "dataset"])["delta"]
    expected = single["nli-mini"][["r8", "movies", "products"]].mean()
    found = average(lossy, "nli-mini")
    assert found["delta"] == pytest.approx(expected) and found["n_sets"] == 3 and found["n_rows"] == 180
    assert average(lossy, "gliznet-no-bce")["n_sets"] == 4
    assert "biencoder" not in set(deltas(lossy)["system"])
    warm = frame(lossy, "ablations").set_index(["system", "dataset"]).loc["gliznet-warm"]
    assert warm.loc["r8", "status"] == "failed" and warm.loc["average", "n_sets"] == 3


def test_differences_to_a_reference_that_lacks_a_set_say_so(made, tmp_path):
    root, spec = tmp_path / "synthetic", json.loads(json.dumps(made.spec))
    spec["statistics"]["draws"] = 200
    shutil.copytree(made.root, root)
    made_up_run.lose(root, {("gliclass", "movies", made_up_run.REFERENCE, 2): ("failed", "out of memory")}, spec)
    table = build_table(RunData(root, spec), "gliclass_suite", contents.tables(spec)["gliclass_suite"])
    titles = [column.title for column in table.columns]
    printed = {row[0].text: dict(zip(titles, row, strict=True)) for row in cells(table)}
    assert (
        printed["nli-mini"][f"Row − {made_up_run.REFERENCE}"].text.endswith("(3 of 4 sets)")
        and "sets" not in printed["nli-mini"]["Average"].text
    )


def test_topics_go_on_without_a_hybrid(lossy):
    heads = frame(lossy, "topics").query("system == 'hybrid-heads'")
    assert len(heads) and set(heads["status"]) == {"failed"} and heads["macro_f1"].isna().all()
    deltas = frame(lossy, "topics_deltas")
    assert "hybrid-heads" not in {*deltas["system"], *deltas["baseline"]} and "hybrid" in set(deltas["system"])


def test_everything_the_plan_expects_is_written_and_names_the_missing(lossy):
    assert_written(lossy)
    captions = {entry["name"]: entry["caption"] for entry in read_json(lossy.out / "figures" / "figures.json")}
    for name in ("gliclass_heatmap", "gliclass_forest", "ablations", "cost", "reliability"):
        assert WHY in captions[name], name
    assert "NaN scores" in captions["topics_f1"] and "n/a" not in captions["training_curves"]
    for name in ("cost", "calibration", "sensitivity"):
        assert WHY in notes(lossy, name), name
    page, report = ((lossy.out / name).read_text(encoding="utf-8") for name in ("index.html", "REPORT.md"))
    assert WHY in page and "ZeroDivisionError" in page
    assert 'id="table-missing"' in page and "no &lt;such&gt; file_name &amp; 5 %" in page
    (_, dataset, system), first = next(iter((run := RunData(lossy.root, lossy.spec)).missing.items()))
    assert f"no numbers for {system} on {run.titles[dataset]} ({first.word}: {first.reason})" in report
    assert f"and {len(run.missing) - 3} more (named on the page)" in report
    layout = Layout(lossy.root)
    assert all(layout.metrics(*place).is_file() for place in LOST), "the workflow expects one of every cell"


def test_explain_compare_and_exports_of_a_run_with_missing_cells(made, lossy):
    text = explain(lossy.root / "cells" / "gliclass" / "r8" / "gliznet-warm" / "seed2")
    assert "No scores: failed: ZeroDivisionError" in text
    comparison = compare_runs(made.root, lossy.root, statistics={"draws": 50})
    assert "only in" in as_text(comparison, "a", "b") and "gliclass/r8/gliznet-warm" in " ".join(comparison.notes)
    frame = comparison.deltas.set_index(["system", "dataset"])
    assert ("nli-mini", "r8") in frame.index and ("nli-mini", "newsgroups") not in frame.index
    assert set(btzsc(lossy.root, "nli-mini")["results"]["by_dataset"]) == {"r8", "movies", "products"}
    assert "newsgroups" not in model_index(lossy.root, "nli-mini")
    with pytest.raises(IntegrityError, match="'hybrid-heads' has no scores: NaN scores"):
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
    assert_written(run)
    assert "out of luck" in (run.out / "index.html").read_text(encoding="utf-8")
