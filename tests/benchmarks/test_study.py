"""The study page: its text for every kind of outcome, and that the committed page matches the reports."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks import study

ROOT = Path(__file__).resolve().parents[2]


def rewrite(folder: Path, **columns: object) -> None:
    """Change the average of every ablation in a copied report."""
    path = folder / "tables" / "ablations.csv"
    table = pd.read_csv(path)
    table.loc[table.dataset == "average", list(columns)] = list(columns.values())
    table.to_csv(path, index=False)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    for name in study.BASES:
        shutil.copytree(ROOT / "reports" / "study" / "joint", tmp_path / name)
    return tmp_path


def test_the_committed_page_is_that_of_the_committed_reports() -> None:
    committed = ROOT / "reports" / "study"
    names = [name for name in study.TITLES if (committed / name).is_dir()]
    text = study.page(committed, names)
    assert (committed / "REPORT.md").read_text() == (ROOT / "docs" / "study.md").read_text() == text


@pytest.mark.parametrize(
    ("verdict", "delta", "word", "remains"),
    [
        ("effect", -0.05, "lowers", "further values"),
        ("effect", 0.05, "raises", "further values"),
        ("no effect", -0.001, "less than 0.01", "further values"),
        ("undecided", -0.02, "undecided effect", "the sign"),
    ],
)
def test_findings_follow_the_verdict_and_the_sign(
    reports: Path, verdict: str, delta: float, word: str, remains: str
) -> None:
    rewrite(reports / "era-d", verdict=verdict, delta=delta, low=delta - 0.007, high=delta + 0.008, mde=0.0321)
    text = " ".join(study.findings(reports, ["era-d"]).split())
    assert text.count("Leaving out") == text.count(word) == text.count(f"Open: {remains}") == len(study.TERMS)
    assert text.count(f"{delta:+.3f} [{delta - 0.007:+.3f}, {delta + 0.008:+.3f}]") == len(study.TERMS)
    assert text.count("0.032") == len(study.TERMS)


def test_both_bases_are_told_in_one_sentence_per_term(reports: Path) -> None:
    rewrite(reports / "era-d", verdict="undecided", delta=-0.5)
    lines = study.findings(reports, list(study.BASES)).split("\n- ")
    assert len(lines) == len(study.TERMS)
    assert all(all(base in " ".join(line.split()) for base in study.BASES.values()) for line in lines)
    assert all("-0.500" in line and "the sign where it is undecided" in " ".join(line.split()) for line in lines)


def test_other_suites_and_values_other_than_zero_are_no_finding(reports: Path) -> None:
    path = reports / "joint" / "tables" / "ablations.csv"
    table = pd.read_csv(path)
    larger = table.assign(levels="1 vs 0.5", delta=0.9)
    other = table.assign(suite="topics", delta=0.8)
    pd.concat([table, larger, other]).to_csv(path, index=False)
    assert sorted(study.left_out(reports / "joint").delta.round(3)) == [-0.028, 0.002, 0.003]


def test_other_settings_are_told_with_the_term_they_belong_to(reports: Path) -> None:
    shutil.copytree(reports / "joint", reports / "values")
    path = reports / "values" / "tables" / "ablations.csv"
    table = pd.read_csv(path)
    rows = table[table.dataset == "average"].sort_values("factor")  # BCE weight, VICReg, margin
    rows = rows.assign(levels=["1 vs 0.5", "variance vs both", "0.1 vs 0.5"], delta=[0.011, 0.022, -0.033])
    between = rows.assign(baseline="gliznet-small-margin", delta=0.9)
    pd.concat([rows, between]).to_csv(path, index=False)
    lines = [" ".join(line.split()) for line in study.findings(reports, ["joint", "values"]).split("\n- ")]
    told = ("A margin of 0.1 instead of 0.5", "Its variance term alone", "A BCE weight of 1 instead of 0.5")
    for line, subject, delta in zip(lines, told, ("-0.033", "+0.022", "+0.011"), strict=True):
        assert f"{subject} " in line and delta in line.partition(subject)[2]
        assert "0.900" not in line


def test_more_texts_are_told_with_both_scores_and_sizes(reports: Path) -> None:
    folder = reports / "texts"
    shutil.copytree(reports / "joint", folder)
    row = {
        "a": 0.6,
        "b": 0.65,
        "delta": 0.05,
        "low": 0.03,
        "high": 0.07,
        "p": 0.004,
        "p_adjusted": 0.008,
        "seeds": "5, 3",
    }
    pd.DataFrame([row | {"dataset": "average"}, row | {"dataset": "sms-spam", "delta": 0.9}]).to_csv(
        folder / study.AGAINST
    )
    for name, count in (("before", 1120), ("after", 2240)):
        (folder / f"{name}.json").write_text(f'{{"rows": {{"train": {count}}}}}')
    line = " ".join(study.findings(reports, ["joint", "texts"]).split("\n- ")[-1].split())
    told = "steps, change the average macro-F1: 0.600 (5 seeds) to 0.650 (3 seeds), +0.050 [+0.030, +0.070], p 0.004"
    assert "2,240 instead of 1,120" in line and told in line
    section = study.section("texts", reports)
    assert "| Sms-spam " in section and "+0.900" in section and "Validation while training" in section


def test_a_finished_run_is_copied_and_its_cells_are_summed(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "work"
    shutil.copytree(reports / "joint", source / "reports" / "mine")
    (source / "docs").mkdir()
    (source / "README.md").write_text("before\n<!-- study -->\nold\n<!-- end of study -->\nafter\n")
    (source / "reports" / "mine" / "index.html").write_text("texts")
    with (source / "reports" / "mine" / "REPORT.md").open("a") as file:
        file.write(study.PAGE_LINK + "Each table as numbers.")
    cell = source / "results" / "mine" / "cells" / "suite" / "set" / "system" / "seed1"
    cell.mkdir(parents=True)
    (cell / "scores.parquet").write_bytes(b"scores")
    shutil.copy(reports / "joint" / "config.json", source / "results" / "mine")
    monkeypatch.chdir(source)
    done = CliRunner().invoke(study.app, ["joint=mine"])
    assert done.exit_code == 0, done.output
    assert "gliznet-no-bce" in (source / "reports/study/REPORT.md").read_text()
    readme = (source / "README.md").read_text()
    assert (
        "| BCE " in readme and "\nold\n" not in readme and readme.startswith("before\n") and readme.endswith("after\n")
    )
    sums = (source / "reports/study/joint/cells.sha256").read_text()
    assert study.PAGE_LINK in (ROOT / "src/zsbench/reporting/templates/report.md").read_text()
    assert not (source / "reports/study/joint/index.html").exists()  # it shows texts of the test sets
    assert "index.html" not in (source / "reports/study/joint/REPORT.md").read_text()
    assert sums.endswith("  cells/suite/set/system/seed1/scores.parquet\n") and len(sums.split()[0]) == 64
    for bad in ("joint=other", "mine=mine", "joint"):
        assert CliRunner().invoke(study.app, [bad]).exit_code == 2
