"""The tables of README and docs are those of the committed sample report."""

from pathlib import Path

import pytest

from zsbench.reporting.readme import BLOCKS, MOST_ROWS, headline, outside_blocks, render, scale

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "reports" / "sample"
TEXT = "before\n\n<!-- begin:suite -->\nold\n<!-- end:suite -->\n\nafter <!-- a comment -->\n"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name in BLOCKS.values():
        path = tmp_path / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"| {path.stem} |\n|---|\n| \\1 |\n")
    return tmp_path


def test_blocks_are_filled_and_filling_again_changes_nothing(tables: Path) -> None:
    filled = render(TEXT, tables)
    assert filled == TEXT.replace("old", "| gliclass_suite |\n|---|\n| \\1 |")
    assert render(filled, tables) == filled
    assert render("no block", tables) == "no block"


def test_empty_blocks_are_filled(tables: Path) -> None:
    text = "".join(f"<!-- begin:{name} -->\n<!-- end:{name} -->\n" for name in BLOCKS)
    assert all(f"| {Path(table).name} |" in render(text, tables) for table in BLOCKS.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "<!-- begin:sweet -->\n<!-- end:sweet -->",
            "'sweet': unknown name; allowed: suite, ablations, topics, speed, verdicts, ratios, headline",
        ),
        ("<!-- begin:suite -->\n<!-- end:topics -->", "'suite' ends as 'topics'"),
        ("<!-- begin:suite -->\n", "begins but does not end"),
    ],
)
def test_bad_markers_are_refused(text: str, message: str, tables: Path) -> None:
    with pytest.raises(ValueError, match=message):
        render(text, tables)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gliclass_suite\.md"):
        render(TEXT, tmp_path)


def test_a_sample_without_a_speed_page_says_so(tables: Path) -> None:
    text = "<!-- begin:speed -->\n<!-- end:speed -->"
    assert "| targets |" in render(text, tables)
    (tables / "speed" / "targets.md").unlink()
    assert "Not measured in the committed sample; `make speed`" in render(text, tables)


def test_the_topics_block_shows_the_held_out_rows_only(tables: Path) -> None:
    rows = "| S | P |\n|---|---|\n| a | cv |\n| a | held-out |\n\n- note\n- a, held-out on test: gains\n- `signature`\n"
    (tables / "tables" / "topics.md").write_text(rows)
    filled = render("<!-- begin:topics -->\n<!-- end:topics -->", tables)
    body = filled.split("-->")[1].split("<!--")[0].strip()
    assert body == "| S | P |\n|---|---|\n| a | held-out |\n\n- a, held-out on test: gains\n- `signature`"


def test_the_topics_block_explains_the_signs_that_it_shows_and_no_others(tables: Path) -> None:
    rows = "| S | P |\n|---|---|\n| a § | held-out |\n| b | cv ¶ |\n\n- § of a\n- ¶ not held-out\n- `signature`\n"
    (tables / "tables" / "topics.md").write_text(rows)
    filled = render("<!-- begin:topics -->\n<!-- end:topics -->", tables)
    body = filled.split("-->")[1].split("<!--")[0].strip()
    assert body == "| S | P |\n|---|---|\n| a § | held-out |\n\n- § of a\n- `signature`"


SUITE = """System,A,Average,Δ,interval,p,p (Holm),Seeds
full,0.5 †,0.5000 †,–,–,–,–,2
warm,0.7,0.7000 *,-0.2000,"[-0.3000, -0.1000]",0.0002,0.0020,2
low,0.4,0.4000,+0.1000,"[0.0000, +0.2000]",0.0500,0.1000,2
part,n/a,0.9000 (1 of 2 sets),-0.1000 (1 of 2 sets),"[-0.2000, +0.1000]",0.3,0.6,2
encoder,0.6,0.6000,-0.1000,"[-0.2000, -0.0100]",0.0100,0.0300,–
oracle,1.0,1.0000,–,–,–,–,–
majority,0.3,0.3000,+0.2000,"[+0.1000, +0.3000]",0.0002,–,–
coin,0.2,0.2000,+0.3000,"[+0.2000, +0.4000]",0.0002,–,–
"""
NOTES = (
    "Rows @ revision: A 1,200 test @ 1.1; B 80 test @ 2.\nmetric:macro-f1|run:x|sets:2|labels:1|seeds:1,2|ci:b@0.95\n"
)


def write_suite(folder: Path, text: str) -> Path:
    (folder / "tables").mkdir()
    (folder / "tables" / "gliclass_suite.csv").write_text(text, encoding="utf-8")
    (folder / "tables" / "gliclass_suite.notes.txt").write_text(NOTES, encoding="utf-8")
    return folder


def cells(block: str) -> list[list[str]]:
    lines = [line for line in block.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_headline_ranks_whole_averages_and_one_control_without_gold(tmp_path: Path) -> None:
    text = headline(write_suite(tmp_path, SUITE))
    title, _, *rows = cells(text)
    assert title == ["System", "Average macro-F1", "Δ to full", "Interval of Δ", "p (Holm)"]
    assert [row[0] for row in rows] == ["warm", "encoder", "full", "low", "majority"]
    assert text.splitlines()[-1] == (
        "`warm` has the highest average of 4 systems, +0.2000 [+0.1000, +0.3000] from `full`;"
        " the best control that reads no text, `majority`, reaches 0.3000."
    )


def test_differences_are_row_minus_reference_whichever_way_the_table_prints_them(tmp_path: Path) -> None:
    turned = headline(write_suite(tmp_path, SUITE))
    assert cells(turned)[2:4] == [
        ["warm", "0.7000 \\*", "+0.2000", "[+0.1000, +0.3000]", "0.0020"],
        ["encoder", "0.6000", "+0.1000", "[+0.0100, +0.2000]", "0.0300"],
    ]
    (tmp_path / "other").mkdir()
    straight = SUITE.replace('-0.2000,"[-0.3000, -0.1000]"', '+0.2000,"[+0.1000, +0.3000]"')
    straight = straight.replace('-0.1000,"[-0.2000, -0.0100]"', '+0.1000,"[+0.0100, +0.2000]"')
    straight = straight.replace('+0.1000,"[0.0000, +0.2000]"', '-0.1000,"[-0.2000, 0.0000]"')
    straight = straight.replace('+0.2000,"[+0.1000, +0.3000]",0.0002,–', '-0.2000,"[-0.3000, -0.1000]",0.0002,–')
    straight = straight.replace('+0.3000,"[+0.2000, +0.4000]",0.0002,–', '-0.3000,"[-0.4000, -0.2000]",0.0002,–')
    assert headline(write_suite(tmp_path / "other", straight)) == turned


def test_the_headline_keeps_reference_encoder_and_control_among_many(tmp_path: Path) -> None:
    many = "".join(f'v{i},0.8,0.8{i:02}0,-0.3,"[-0.4, -0.2]",0.0002,0.0020,2\n' for i in range(20))
    rows = cells(headline(write_suite(tmp_path, SUITE + many)))[2:]
    assert len(rows) == MOST_ROWS
    assert [row[0] for row in rows] == ["v19", "v18", "v17", "v16", "encoder", "full", "majority"]


def test_the_reference_may_be_the_best_and_carry_a_mark(tmp_path: Path) -> None:
    text = headline(write_suite(tmp_path, SUITE.replace("full,0.5 †,0.5000 †", "full §,0.8,0.8000")))
    assert cells(text)[0][2] == "Δ to full" and cells(text)[2][0] == "full §"
    first, _, note = text.partition("\n\n")[2].partition("\n\n")
    assert first.startswith("`full` has the highest average of 4 systems; `warm`, the next, differs from it by ")
    assert note.startswith("§ ")


def test_the_scale_is_that_of_the_report(tmp_path: Path) -> None:
    write_suite(tmp_path, SUITE)
    assert "2 seeds, 80 to 1,200 rows of each of 2 test sets" in scale(tmp_path)
    (tmp_path / "figures").mkdir()
    curves = "model,seed,step\nfull,1,24\nfull,1,1048\nwarm,1,9999\n"
    (tmp_path / "figures" / "training_curves.csv").write_text(curves)
    assert "1,048 training steps, 2 seeds" in scale(tmp_path)


def test_a_narrow_block_shows_its_columns_and_names_one_that_is_missing(tmp_path: Path) -> None:
    text = "<!-- begin:verdicts -->\n<!-- end:verdicts -->"
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables" / "ablations.csv"
    path.write_text("Contrast,Factor,Levels,Average Δ,interval,p,p (Holm)\na vs b,margin,0,+1,[1],0,0.1\n")
    assert cells(render(text, tmp_path))[2] == ["a vs b", "margin", "+1", "[1]", "0.1"]
    path.write_text("Contrast,Factor\na,b\n")
    with pytest.raises(ValueError, match="no column 'Average Δ'; it has Contrast, Factor"):
        render(text, tmp_path)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="no sample report in this checkout")
@pytest.mark.parametrize("name", ["README.md", "docs/results.md", "docs/speed.md"])
def test_the_pages_show_the_sample_report(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert render(text, SAMPLE) == text and outside_blocks(text) != text
