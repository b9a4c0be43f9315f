"""One table, three formats: fixed precision, escapes, alignment."""

import pytest

from zsbench.reporting.table import Table, csv_text, escape_tex, interval, markdown_text, number, signed, tex_text


@pytest.fixture
def table() -> Table:
    return Table(
        "demo",
        ["System", "F1", "interval"],
        [["a_b", "0.5000 *", "[-0.1000, +0.2000]"], ["c|d", "–", "–"]],
        ["50% & more."],
        "metric:f1|x_y",
        frozenset({(0, 1)}),
    )


def test_numbers_have_fixed_precision_and_no_negative_zero():
    assert [number(value) for value in (0.12345, 1, -0.00001, None, float("nan"))] == [
        "0.1235", "1.0000", "0.0000", "–", "–"
    ]  # fmt: skip
    assert [signed(value) for value in (0.5, -0.5, 0.0, -0.00001, None)] == [
        "+0.5000",
        "-0.5000",
        "0.0000",
        "0.0000",
        "–",
    ]
    assert interval(-0.1, 0.2) == "[-0.1000, +0.2000]"


def test_csv_is_header_and_rows(table):
    assert csv_text(table) == 'System,F1,interval\na_b,0.5000 *,"[-0.1000, +0.2000]"\nc|d,–,–\n'


def test_markdown_is_aligned_and_escaped(table):
    assert markdown_text(table).splitlines() == [
        "| System |            F1 |           interval |",
        "| ------ | ------------: | -----------------: |",
        r"| a_b    | **0.5000** \* | [-0.1000, +0.2000] |",
        r"| c\|d   |             – |                  – |",
        "",
        "- 50% & more.",
        "- `metric:f1|x_y`",
    ]


def test_tex_is_booktabs_with_escapes(table):
    assert tex_text(table).splitlines() == [
        "% metric:f1|x_y",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"System & F1 & interval \\",
        r"\midrule",
        r"a\_b & \textbf{0.5000} * & [$-$0.1000, +0.2000] \\",
        r"c|d & -- & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\footnotesize 50\% \& more.",
    ]


def test_tex_escapes_every_special_character():
    assert escape_tex("#$%&_{}~^\\") == (r"\#\$\%\&\_\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}")
    assert escape_tex("no-margin 3-5") == "no-margin 3-5"


def test_a_ragged_row_is_an_error():
    with pytest.raises(ValueError, match="table demo, row 1: 1 cells under 2 columns"):
        Table("demo", ["a", "b"], [["1", "2"], ["3"]])
