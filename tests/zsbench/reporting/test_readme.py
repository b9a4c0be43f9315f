"""The tables in README and docs match the committed sample report."""

import re
from pathlib import Path

import pandas as pd
import pytest

from zsbench.reporting.readme import HEADLINE_ROWS, NO_SPEED, headline, render, scale
from zsbench.reporting.render import MARKS, Column, Table, write_table
from zsbench.reporting.tables.base import UNMOVED_NOTE

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "reports" / "sample"


def block(name: str, end: str = "") -> str:
    return f"before\n\n<!-- begin:{name} -->\nold\n<!-- end:{end or name} -->\n\nafter <!-- a comment -->\n"


def body(name: str, reports: Path) -> list[str]:
    return render(block(name), reports).split(" -->\n")[1].split("\n<!--")[0].splitlines()


def cells(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_a_block_is_a_written_table_and_filling_again_changes_nothing(report: Path) -> None:
    for name in ("gliclass_suite", "suite", "ablations", "topics", "headline", "scale", "verdicts"):
        filled = render(block(name), report)
        assert (
            "\nold\n" not in filled and filled.startswith("before\n\n<!-- begin:") and filled.endswith("comment -->\n")
        )
        assert render(filled, report) == filled
    assert render("no block", report) == "no block"
    assert body("suite", report) == body("gliclass_suite", report)
    heads = cells(body("verdicts", report))[0]
    assert heads == ["System", "Against", "Factor", "Average Δ", "p (adjusted)", "MDE", "Verdict"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (block("sweet"), "'sweet': no such table; allowed: headline, scale, suite, .*ablations"),
        (block("suite", "topics"), "'suite'.*'topics'"),
        ("<!-- begin:suite -->\n", "no end marker"),
    ],
)
def test_bad_markers_are_refused(text: str, message: str, report: Path) -> None:
    with pytest.raises(ValueError, match=message):
        render(text, report)


def test_speed_blocks_show_the_speed_page_where_there_is_one(tmp_path: Path) -> None:
    for name in ("speed", "ratios", "speed-sentence"):
        assert body(name, tmp_path) == [NO_SPEED]
    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "targets.md").write_text("| t |\n|---|\n| 1 |\n")
    rows = (
        "mini,GliZNet vs gliclass,fp32,gliclass-1,10,1.31,1.2,≥ 1.25,undecided",
        "mini,GliZNet vs gliclass,bf16,gliclass-1,10,1.5,1.45,≥ 1.4,yes",
        "mini,GliZNet vs transformers pipeline,fp32,pipeline-8,10,11,10.5,≥ 10,yes",
        "mini,GliZNet vs transformers pipeline,fp32,pipeline-8,64,15,14,,",
        "mini,NLI pass vs transformers pipeline,fp32,pipeline-8,5,1.9,1.8,≥ 1.5,yes",
        "mini,NLI pass vs transformers pipeline,fp32,pipeline-8,10,1.6,1.5,≥ 1.5,yes",
        "deberta,GliZNet vs gliclass,fp32,gliclass-1,10,2.5,2.4,≥ 1.25,yes",
    )
    head = "backbone,comparison,precision,against,labels,times,low,goal,met"
    (tmp_path / "speed" / "targets.csv").write_text("\n".join([head, *rows]) + "\n")
    assert body("speed", tmp_path) == ["| t |", "|---|", "| 1 |"]
    assert cells(body("ratios", tmp_path))[2][1:] == [
        "GliZNet vs gliclass",
        "fp32",
        "10",
        "1.31",
        "≥ 1.25",
        "undecided",
    ]
    lines = body("speed-sentence", tmp_path)
    sentence = " ".join(lines)
    assert max(map(len, lines)) <= 120 and "" not in lines
    assert (
        "GliZNet is 1.31 (fp32) and 1.5 (bf16) times as fast as the gliclass pipeline and 11 (fp32) times" in sentence
    )
    assert "NLI pass is 1.6 (fp32) times as fast as that pipeline. 5 of 6 [goals]" in sentence


def test_a_multi_label_block_shows_held_out_rows_and_their_notes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"system": ["a", "a"], "protocol": ["held-out", "cv"], "below": [True, False]})
    frame["chosen"] = ~frame["below"]
    columns = (Column("S", "system"), Column("P", "protocol", marks=("below", "chosen")))
    notes = ("A note.", "a, held-out on test: gains", "† of a", "¶ not held-out")
    table = Table("T", frame, columns, notes=notes, signature="sign", name="topics", kind="multi")
    write_table(tmp_path / "tables", table)
    lines = body("topics", tmp_path)
    assert cells(lines)[2:] == [["a", "held-out †"]]
    assert lines[-3:] == ["- a, held-out on test: gains", "- † of a", "- `sign`"]


def test_every_printed_mark_is_explained(report: Path) -> None:
    for name in ("scores", "multi", "headline"):
        lines = body(name, report)
        text = re.sub(r"(?<!\\)\*", "", "".join(cell for row in cells(lines)[2:] for cell in row))  # bold, headings
        notes = [line.removeprefix("- ").removeprefix("\\") for line in lines if not line.startswith("|")]
        assert set(text) & set(MARKS.values()) <= {note[0] for note in notes if note}, name


# system, average, its delta to the reference, seeds, sets, control
SYSTEMS = [
    ("full", 0.5, None, 2, 2, False),
    ("warm", 0.7, 0.2, 2, 2, False),
    ("low", 0.4, -0.1, 2, 2, False),
    ("part", 0.9, 0.4, 2, 1, False),
    ("encoder", 0.6, 0.1, None, 2, False),
    ("oracle", 1.0, None, None, 2, True),
    ("majority", 0.3, -0.2, None, 2, True),
    ("coin", 0.2, -0.3, None, 2, True),
]


def sample(folder: Path, systems: list[tuple] = SYSTEMS) -> Path:
    """Write a report whose suite table and integrity table have these averages."""
    frame = pd.DataFrame(systems, columns=["system", "value", "delta", "n_seeds", "n_sets", "control"])
    frame = frame.assign(
        suite="s",
        dataset="average",
        metric="accuracy",
        of_sets=2,
        low=frame["delta"] - 0.05,
        high=frame["delta"] + 0.1,
        p_adjusted=0.002,
        below=False,
        differs=frame["system"] == "warm",
        checkpoint_differs=frame["system"] == "low",
        reference=frame["system"] == "full",
    )
    frame["system.unmoved"] = frame["system"] == "warm"
    columns = tuple(Column(name, name) for name in ("system", "value"))
    notes = ("* differs", "° differs for these checkpoints only", UNMOVED_NOTE, "A note.")
    write_table(folder / "tables", Table("Suite", frame, columns, notes=notes, name="s_suite", kind="suite"))
    parameters = pd.DataFrame({"system": ["full", "low"], "parameters": [436_148_232.0, 1e6]})
    heads = (Column("System", "system"), Column("Parameters", "parameters", "count"))
    write_table(folder / "tables", Table("Parameters", parameters, heads, name="parameters", kind="parameters"))
    sizes = pd.DataFrame({"suite": ["s", "s", "other"], "scored:test": [1200, 80, 7]})
    write_table(
        folder / "tables", Table("Integrity", sizes, (Column("suite", "suite"),), name="integrity", kind="integrity")
    )
    return folder


def test_the_headline_ranks_whole_averages_and_one_control_without_gold(tmp_path: Path) -> None:
    lines = headline(sample(tmp_path)).splitlines()
    title, _, *rows = cells(lines)
    assert title == ["System", "Average accuracy", "Δ to full", "p (adjusted)"]
    assert [row[0] for row in rows] == ["warm §", "encoder", "full", "low", "majority"]
    assert "°" in rows[3][1]
    assert rows[0][1:] == ["0.700 \\*", "+0.200 [+0.150, +0.300]", "0.002"]
    assert rows[2][2] == "–" and lines[-5:] == [
        "\\* differs",
        "",
        "° differs for these checkpoints only",
        "",
        UNMOVED_NOTE,
    ]
    sentence = next(line for line in lines if line.startswith("`"))
    assert "`warm`" in sentence and "+0.200 [+0.150, +0.300]" in sentence and "`majority`, reaches 0.300" in sentence


def test_the_headline_keeps_reference_encoder_and_control_among_many(tmp_path: Path) -> None:
    many = [(f"v{i}", 0.8 + i / 100, 0.3, 2, 2, False) for i in range(20)]
    rows = cells(headline(sample(tmp_path, SYSTEMS + many)).splitlines())[2:]
    assert len(rows) == HEADLINE_ROWS
    assert [row[0] for row in rows] == ["v19", "v18", "encoder", "full", "majority"]


def test_a_reference_that_lacks_a_dataset_comes_last_and_is_not_ranked(tmp_path: Path) -> None:
    lines = headline(sample(tmp_path, [("full", 0.95, None, 2, 1, False), *SYSTEMS[1:]])).splitlines()
    rows = cells(lines)[2:]
    assert rows[-1][:2] == ["full", "0.950 (1 of 2 sets)"] and rows[0][0] == "warm §"
    assert any(line.startswith("`warm` has the highest average of 3 systems") for line in lines)


def test_the_reference_may_be_the_best(tmp_path: Path) -> None:
    text = headline(sample(tmp_path, [("full", 0.95, None, 2, 2, False), *SYSTEMS[1:]]))
    assert "`full` has the highest average of 4 systems; `warm`, the next," in text


def test_the_scale_is_that_of_the_report(tmp_path: Path) -> None:
    assert "a 436.1 M model, 2 seeds, 80 to 1,200 rows of each of 2 test sets" in scale(sample(tmp_path))
    (tmp_path / "summary.json").write_text('{"facts": {"Training": "1,048 steps of 16 texts"}}')
    assert "1,048 steps of 16 texts, 2 seeds" in scale(tmp_path)


@pytest.mark.parametrize(
    ("name", "reports"),
    [("README.md", SAMPLE), ("docs/results.md", SAMPLE), ("docs/speed.md", SAMPLE)],
)
def test_the_pages_show_the_committed_reports(name: str, reports: Path) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert render(text, reports) == text and "<!-- begin:" in text


def test_blocks_of_the_docs_are_narrow_and_explain_their_marks(report: Path) -> None:
    for name, columns in (("scores", 1 + 4 + 1), ("multi", 5)):
        lines = body(name, report)
        head, *rest = [line for line in lines if line.startswith("|")]
        assert head.count("|") == columns + 1
        printed = {mark for line in rest for mark in "†‡◇¶§°" if re.search(rf" \S*[{mark}]", line)}
        notes = " ".join(line for line in lines if line.startswith("- "))
        assert all(mark in notes for mark in printed)
