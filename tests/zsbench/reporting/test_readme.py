"""README's tables are those of the committed sample report."""

from pathlib import Path

import pytest

from zsbench.reporting.readme import BLOCKS, render

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
        ("<!-- begin:sweet -->\n<!-- end:sweet -->", "'sweet' is not known; allowed: suite, ablations, topics, speed"),
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


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="no sample report in this checkout")
def test_readme_shows_the_sample_report() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert render(text, SAMPLE) == text
