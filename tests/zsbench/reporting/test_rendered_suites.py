"""A run of three suites with unusual ids, titles and metrics has all its tables, figures and pages."""

import copy
from types import SimpleNamespace

import made_up_run
import pytest

from zsbench.plan.contents import figures, tables
from zsbench.reporting import figures as figure_files
from zsbench.reporting.frames import RunData
from zsbench.reporting.page import write_report
from zsbench.reporting.render import read_table, to_markdown
from zsbench.reporting.tables import write_tables
from zsbench.store.provenance import read_json

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


def test_the_page_has_a_section_per_suite(odd: SimpleNamespace) -> None:
    page = (odd.out / "index.html").read_text(encoding="utf-8")
    for suite in odd.spec["suites"]:
        assert f'<section id="suite-{suite}"' in page
    assert "<b>bold" not in page and "&lt;b&gt;bold" in page
    sections = {entry["section"] for entry in read_json(odd.out / "figures" / "figures.json")}
    assert {"suite-a", "suite-b2", "suite-c-3"} <= sections
