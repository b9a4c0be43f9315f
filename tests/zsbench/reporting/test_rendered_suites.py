"""A run of three suites with unusual ids, titles and metrics has all its tables, figures and pages."""

import copy
from types import SimpleNamespace

import made_up_run
import pytest

from zsbench.evaluation.confusable import compare_confusable
from zsbench.plan.contents import figures, tables
from zsbench.reporting import figures as figure_files
from zsbench.reporting.frames import RunData
from zsbench.reporting.page import write_report
from zsbench.reporting.render import read_table, to_markdown
from zsbench.reporting.tables import write_tables
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json, write_json

ODD = ["$\\frac{1}$ & <b>bold</b> |pipe|", "[0] 新闻 #1 50% ~x^2_y_", "שלום \\ {c} `code`"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    spec = copy.deepcopy(made_up_run.spec_of(seeds=(1, 2, 3)))
    single, multi = (spec["suites"][name] for name in ("gliclass", "topics"))
    first, second = single["datasets"][:2], single["datasets"][2:]
    for entry, title in zip([*first, *multi["datasets"]], ODD, strict=True):
        entry["title"] = title
        entry["labels"] = entry["label_names"] = [f"{label} {title}" for label in entry["labels"]]
    spec["suites"] = {
        "a": made_up_run.single_suite(first, ODD[0], metric="accuracy"),
        "b2": made_up_run.single_suite(second, "b2"),
        "c-3": made_up_run.multi_suite(multi["datasets"], ODD[1], metric="micro_f1"),
    }
    ids = {"gliclass": ["a", "b2"], "topics": ["c-3"]}
    for system in spec["systems"]:
        system["suites"] = [new for old in system["suites"] for new in ids[old]]
    spec["statistics"]["draws"] = 100
    root = tmp_path_factory.mktemp("odd") / "results" / "odd"
    made_up_run.make_run(root, spec)
    pairs = {"newsgroups": [[0, 1]], "r8": [[0, 1]], "movies": [[0, 1]]}
    write_json(Layout(root).label_pairs, {"encoder": "minilm", "cosine": 0.5, "pairs": pairs})
    compare_confusable(root, spec)
    out = root.parents[1] / "reports" / "odd"
    write_tables(root, spec, out / "tables")
    figure_files.write_figures(root, spec, out / "figures")
    write_report(root, spec, out)
    return SimpleNamespace(root=root, spec=spec, out=out)


def test_every_table_and_figure_of_the_plan_is_written(odd: SimpleNamespace) -> None:
    assert {"a_suite", "b2_suite", "c-3", "c-3_deltas", "ablations"} <= set(tables(odd.spec))
    assert {path.stem for path in (odd.out / "tables").iterdir()} == set(tables(odd.spec))
    assert {path.stem for path in (odd.out / "figures").glob("*.svg")} == set(figures(odd.spec))


def test_numbers_are_of_each_suites_own_metric(odd: SimpleNamespace) -> None:
    run = RunData(odd.root, odd.spec)
    for suite, metric in (("a", "accuracy"), ("b2", "macro_f1")):
        frame = read_table(odd.out / "tables", f"{suite}_suite").frame
        stored = run.metrics.query("suite == @suite and metric == @metric and split == 'test'")
        expected = stored.groupby(["system", "dataset"])["value"].mean().to_dict()
        shown = frame[frame["dataset"] != "average"].set_index(["system", "dataset"])["value"].to_dict()
        assert shown == pytest.approx(expected) and set(frame["metric"]) == {metric}
    multi = read_table(odd.out / "tables", "c-3")
    assert multi.columns[1].value == "micro_f1" and multi.frame["micro_f1"].notna().any()


def test_contrasts_over_several_suites_name_theirs(odd: SimpleNamespace) -> None:
    table = read_table(odd.out / "tables", "ablations")
    assert set(table.frame["suite"]) == {"a", "b2"} and table.columns[0].title == "Suite"
    rows = table.frame[list(table.keys)].drop_duplicates()
    assert len([line for line in to_markdown(table).splitlines() if line.startswith("|")]) == len(rows) + 2


def test_confusable_labels_are_shown_by_suite(odd: SimpleNamespace) -> None:
    table = read_table(odd.out / "tables", "confusable")
    assert table.columns[0].title == "Suite"
    assert table.frame.groupby("suite")["of_sets"].unique().str[0].to_dict() == {"a": 2, "b2": 1}
    assert "of 2 sets)" not in to_markdown(table)


def test_tables_over_several_suites_name_all_their_metrics(odd: SimpleNamespace) -> None:
    signature = dict(part.split(":", 1) for part in read_table(odd.out / "tables", "ablations").signature.split("|"))
    assert (signature["metric"], signature["suite"], signature["sets"]) == ("accuracy,macro_f1", "a,b2", "4")
    sensitivity = read_table(odd.out / "tables", "sensitivity")
    assert sensitivity.title.startswith("Accuracy and macro-F1 with other")
    figures = {entry["name"]: entry for entry in read_json(odd.out / "figures" / "figures.json")}
    assert figures["sensitivity"]["alt"].startswith("Range of accuracy and macro-F1 over")
    assert figures["sensitivity"]["caption"].startswith("Accuracy and macro-F1 of the same model")


def test_titles_of_suites_of_one_task_differ(odd: SimpleNamespace) -> None:
    assert read_table(odd.out / "tables", "b2_suite").title == "b2: Macro-F1 of every system on every dataset"
    assert read_table(odd.out / "tables", "a_suite").title.startswith(f"{ODD[0]}: Accuracy of")


def test_the_page_has_a_section_per_suite(odd: SimpleNamespace) -> None:
    page = (odd.out / "index.html").read_text(encoding="utf-8")
    for suite in odd.spec["suites"]:
        assert f'<section id="suite-{suite}"' in page
    assert "<b>bold" not in page and "&lt;b&gt;bold" in page
    sections = {entry["section"] for entry in read_json(odd.out / "figures" / "figures.json")}
    assert {"suite-a", "suite-b2", "suite-c-3"} <= sections
