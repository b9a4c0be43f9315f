"""Output formats of a table: what each shows, and that no name of a system or dataset breaks one."""

import html.parser
import io
import math
import re
import string
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from zsbench.reporting.render import (
    MARKS,
    Column,
    Table,
    cells,
    escape_tex,
    grouped,
    number,
    p_text,
    picked,
    read_table,
    supported_digits,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
    trimmed,
    words_table,
    write_table,
)

ODD = [
    "$\\frac{1}$ unbalanced $",
    r"a\b {c} ~d^2 #1 50% & _more_ __x__",
    "<b>bold</b> [link](x) `code` ~~old~~ &amp; ![i](j)",
    "|pipe| *star*",
    "[0] first",
    "新闻 новости",
    "👩‍🔬 emoji",
    "שלום עולם",
    "NA",
    "007",
]
SPECIAL = string.ascii_letters + string.digits + string.punctuation + "éß新Δ†§–"
names = st.text(st.sampled_from(SPECIAL), min_size=1, max_size=12)


@pytest.fixture
def table() -> Table:
    frame = pd.DataFrame(
        {
            "system": ["a_b", "a_b", "c|d", "c|d"],
            "dataset": ["x", "average", "x", "average"],
            "value": [0.51234, 0.6, math.nan, math.nan],
            "status": ["", "", "failed", ""],
            "best": [True, False, False, False],
            "below": [True, False, False, False],
            "delta": [math.nan, -0.00001, math.nan, 0.25],
            "low": [math.nan, -0.1, math.nan, 0.1],
            "high": [math.nan, 0.2, math.nan, 0.4],
            "n_sets": [1.0, 2.0, 1.0, 1.0],
            "of_sets": [1.0, 2.0, 1.0, 2.0],
        }
    )
    columns = (
        Column("System", "system"),
        Column("X", "value", "number", marks=("below",), bold="best", at="x"),
        Column("Δ", "delta", "signed", interval=("low", "high"), sets=("n_sets", "of_sets"), at="average"),
    )
    return Table("Demo", frame, columns, ("system",), "dataset", "", ("50% & more.",), "metric:f1|x_y", "demo")


def texts(table: Table) -> list[list[str]]:
    return [[cell.shown for cell in row] for row in cells(table)]


def test_cells_hold_number_interval_sets_and_marks(table: Table) -> None:
    assert texts(table) == [
        ["a_b", "0.512 †", "0.000 [-0.100, +0.200]"],
        ["c|d", "failed", "+0.250 [+0.100, +0.400] (1 of 2 sets)"],
    ]
    assert [[cell.bold for cell in row] for row in cells(table)] == [[False, True, False], [False] * 3]
    assert [cell.sort for cell in cells(table)[0]] == [None, 0.51234, -0.00001]


def test_csv_holds_the_numbers_themselves(table: Table) -> None:
    read = pd.read_csv(io.StringIO(to_csv(table)))
    assert read["value"].tolist()[:2] == [0.51234, 0.6] and read["below"].tolist() == table.frame["below"].tolist()


def test_markdown_and_latex(table: Table) -> None:
    lines = to_markdown(table).splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split(" | ")] == [
        "a_b", "**0.512** †", "0.000 [-0.100, +0.200]"
    ]  # fmt: skip
    assert lines[-2:] == ["- 50% & more.", "- `metric:f1|x_y`"]
    tex = to_latex(table)
    assert r"a\_b & \textbf{0.512} $^\dagger$ & 0.000 [$-$0.100, +0.200] \\" in tex
    assert tex.startswith("% metric:f1|x_y\n\\begin{tabular}{lrr}\n\\toprule")
    assert tex.endswith("{\\par\\footnotesize 50\\% \\& more.\\par}\n")


def test_extra_columns_are_for_the_page_alone_and_dashes_for_nobody(table: Table) -> None:
    shown, delta = table.columns[:2], replace(table.columns[2], extra=True)
    table = replace(table, columns=(*shown, delta, Column("None", "nothing", "number", status="")))
    assert [column.title for column in trimmed(table).columns] == ["System", "X"]
    assert [column.title for column in trimmed(table, extra=True).columns] == ["System", "X", "Δ"]
    assert "Δ" not in to_markdown(table) and 'class="number" data-sort-method="value" hidden>Δ' in to_html(table)


def test_blocks_of_rows_have_headings(table: Table) -> None:
    table = replace(table, group="status")
    assert [heading for heading, _ in grouped(table)] == ["", "failed"]
    assert "| *failed* |" in to_markdown(table) and 'scope="rowgroup">failed</th>' in to_html(table)


def test_a_short_form_has_whole_blocks_and_no_notes() -> None:
    frame = pd.DataFrame({"n": range(100), "block": [f"b{k // 15}" for k in range(100)]})
    table = Table("t", frame, (Column("N", "n", "count"),), group="block", notes=("a note",))
    text = to_markdown(table, short=True)
    assert "29" in text and "*b2*" not in text and "note" not in text and "*b6*" in to_markdown(table)


def test_html_sorts_by_the_number_and_links_cells(table: Table) -> None:
    page = to_html(table, lambda row, column: f"#{row['system']}" if column.at == "x" else "", csv="data:,")
    assert '<b><a href="#a_b">0.512</a></b><sup>†</sup>' in page and 'data-sort="0.51234"' in page
    assert 'data-sort="none"' in page and 'download="demo.csv"' in page
    assert "0.000<small>[-0.100, +0.200]</small>" in page


def test_small_p_values_are_bounded() -> None:
    assert [p_text(p) for p in (0.04321, 0.001, 0.0009999, 1.0)] == ["0.043", "0.001", "<0.001", "1.000"]


def test_fixed_precision_and_no_negative_zero() -> None:
    values = (0.12345, 1, -0.00001, math.nan)
    assert [number(value, 4) for value in values] == ["0.1235", "1.0000", "0.0000", "–"]
    assert [number(value, 2, signed=True) for value in (0.5, -0.5, 0.0)] == ["+0.50", "-0.50", "0.00"]


def test_narrow_intervals_show_one_digit_more() -> None:
    widths = [pd.Series([width]) for width in (0.3, 0.011, 0.004, 1e-9, 0.0)]
    assert [supported_digits(width) for width in widths] == [3, 3, 4, 4, 3]
    assert supported_digits(pd.Series(dtype=float)) == 3


@given(names, names, st.lists(st.floats(-1, 1) | st.just(math.nan), min_size=1, max_size=4))
@example("007", "NA", [0.5])
@example("1e5", "None", [math.nan])
def test_a_written_table_reads_back_as_it_was(tmp_path_factory, name: str, other: str, values: list[float]) -> None:
    frame = pd.DataFrame({"system": name, "title": other, "value": values, "below": [v > 0 for v in values]})
    columns = (Column(other, "system"), Column(name, "value", "number", marks=("below",)))
    table = Table(name, frame, columns, notes=(other,), name="demo", kind="k", section="s")
    folder = tmp_path_factory.mktemp("table")
    write_table(folder, table)
    read = read_table(folder, "demo")
    pd.testing.assert_frame_equal(read.frame, frame, check_dtype=False, rtol=1e-9)
    assert texts(read) == texts(table) and (read.columns, read.notes, read.title) == (columns, (other,), name)


class Words(html.parser.HTMLParser):
    """All text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def of_names(title: str, name: str) -> Table:
    frame = pd.DataFrame({"system": [name, "x"], "word": ["x", name]})
    return Table("t", frame, (Column("System", "system"), Column(title, "word")), name="t")


@pytest.mark.parametrize("text", ODD)
def test_a_name_comes_out_of_markdown_and_html_as_it_went_in(text: str) -> None:
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(to_markdown(of_names(text, text)))
    for page in (Words(markdown), Words(to_html(of_names(text, text)))):
        assert page.words.count(text) == 3 and not {"del", "a", "img", "em", "strong", "b"} & set(page.tags)


@given(names)
def test_every_row_of_markdown_has_every_cell(name: str) -> None:
    page = Words(MarkdownIt("commonmark").enable("table").render(to_markdown(of_names(name, name))))
    assert page.tags.count("td") == 4 and page.tags.count("th") == 2


@given(st.sampled_from(ODD) | names)
def test_no_character_of_a_name_is_a_command_in_latex(text: str) -> None:
    """Apart from known escapes there are no LaTeX control characters, and no row starts with a bracket."""
    known = r"\\text(backslash|asciitilde|asciicircum)\{\}|\$[<>-]\$|\\[SP]\{\}|\$\^?\\\w+\$|\\[&%$#_{}]"
    assert not re.search(r"[\\&%$#_{}~^<>]", re.sub(known, "", escape_tex(text)))
    assert not re.search(r"^ *\[", to_latex(of_names(text, text)), re.MULTILINE)


def test_tables_without_rows_have_every_form() -> None:
    empty = Table("t", pd.DataFrame(columns=["system"]), (Column("System", "system"),), name="t")
    assert "System" in to_markdown(empty) and "System" in to_latex(empty) and "System" in to_html(empty)


def test_columns_of_words_that_are_all_numbers_sort_as_numbers() -> None:
    table = words_table("t", "T", pd.DataFrame({"a": ["1.5", "", "2"], "b": ["3", "x", ""]}))
    assert [column.kind for column in table.columns] == ["number", "text"]


def test_an_unknown_column_is_refused_by_name(table: Table) -> None:
    assert [column.title for column in picked(table, ("Δ",)).columns] == ["Δ"]
    with pytest.raises(ValueError, match="'Y'; allowed: System, X, Δ"):
        picked(table, ("Y",))


def test_marks_are_one_character_each() -> None:
    assert all(len(mark) == 1 for mark in MARKS.values())
