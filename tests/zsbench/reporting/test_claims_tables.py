"""The tables of claims and of their evidence, and the figure of quality and cost, in a made-up run."""

from pathlib import Path

from zsbench.plan.contents import ReportItem
from zsbench.reporting.figures import draw_figure
from zsbench.reporting.frames import RunData
from zsbench.reporting.render import FORMS, read_table, to_markdown


def test_every_claim_has_a_row_in_every_form_and_on_the_page(made, report: Path) -> None:
    for ending in FORMS:
        assert (report / "tables" / f"claims.{ending}").is_file()
    table = read_table(report / "tables", "claims")
    assert table.frame["id"].tolist() == list(made.spec["claims"])
    assert table.frame["verdict"].isin(["not testable in this run"]).sum() < len(table.frame)
    assert all(table.frame["why"].str.len() > 0) and table.section == "claims"
    page = (report / "index.html").read_text(encoding="utf-8")
    assert all(claim["claim"].partition("'")[0].partition("(")[0] in page for claim in made.spec["claims"].values())


def test_the_short_report_lists_only_the_claims_that_the_run_could_judge(report: Path) -> None:
    frame = read_table(report / "tables", "claims").frame
    text = (report / "REPORT.md").read_text(encoding="utf-8")
    left = (frame["verdict"] == "not testable in this run").sum()
    assert 0 < left < len(frame) and "| not testable in this run" not in text
    assert text.count(f"{left} more claim") == 1
    judged = frame[frame["verdict"] != "not testable in this run"]
    assert all(verdict in text for verdict in judged["verdict"])


def test_numbers_of_labels_that_were_not_measured_say_why(report: Path) -> None:
    table = read_table(report / "tables", "label_counts")
    last = table.frame[table.frame["labels"] == 1000]
    assert last["accuracy"].isna().all() and last["skipped"].str.contains("budget").all()
    assert "budget of 5,000" in to_markdown(table)
    slopes = read_table(report / "tables", "label_slopes").frame.set_index("kind")["tokens_slope"]
    assert (slopes["joint"], slopes["biencoder"]) == (5.0, 0.0)


def test_the_figure_draws_every_system_at_every_measured_count(made) -> None:
    drawing = draw_figure(RunData(made.root, made.spec), ReportItem("label_counts"))
    assert drawing is not None and len(drawing.figure.axes) == 3
    assert sorted(set(drawing.data["labels"])) == [2, 10, 50]
    assert all(len(axis.get_lines()) == 2 for axis in drawing.figure.axes)
    assert {axis.get_xscale() for axis in drawing.figure.axes} == {"log"}


def test_the_surest_answers_of_a_good_system_are_right_more_often(report: Path) -> None:
    frame = read_table(report / "tables", "risk_coverage").frame.set_index(["system", "dataset"])
    row = frame.loc[("gliznet-full", "newsgroups")]
    assert row["accuracy_50"] > row["accuracy_90"] > row["accuracy"]
    assert row["aurc_low"] < row["aurc"] < row["aurc_high"] < 1 - row["accuracy"]
    oracle = frame.loc[("oracle", "newsgroups")]
    assert oracle["aurc"] == 0 and oracle["accuracy_95"] == 1
