"""Titles and labels with characters that mean something to LaTeX, Markdown, HTML or matplotlib come out as they are."""

import copy
import html.parser
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import made_up_run
import pytest
from markdown_it import MarkdownIt

from zsbench.reporting.figures import write_figures
from zsbench.reporting.page import write_report
from zsbench.reporting.table import Table, escape_tex, markdown_text, tex_text
from zsbench.reporting.tables import write_tables

ODD = [
    "$\\frac{1}$ unbalanced $",
    "costs $5 or $6",
    r"a\b {c} ~d^2 #1 50% & _more_ __x__",
    "<b>bold</b> [link](x) `code` ~~old~~",
    "|pipe| *star*",
    "[0] first",
    "新闻 новости",
    "👩‍🔬 emoji",
    "שלום עולם",
]


class Words(html.parser.HTMLParser):
    """All text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.found.append(data)


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory) -> tuple[Path, dict]:
    """A whole run with odd titles and labels, and its rendered report."""
    root, spec = (
        tmp_path_factory.mktemp("odd") / "results" / "synthetic",
        copy.deepcopy(made_up_run.spec_of(seeds=(1,))),
    )
    datasets = [entry for suite in spec["suites"].values() for entry in suite["datasets"]]
    for i, entry in enumerate(datasets):
        entry["title"] = ODD[i]
        names = [f"{label} {ODD[(i + k) % len(ODD)]}" for k, label in enumerate(entry["labels"])]
        entry |= {"labels": names, "label_names": names}
    made_up_run.make_run(root, spec)
    out = root.parents[1] / "reports" / "synthetic"
    write_tables(root, spec, out / "tables")
    write_figures(root, spec, out / "figures")
    write_report(root, spec, out)
    return out, spec


def test_the_page_shows_every_title(odd_run) -> None:
    out, spec = odd_run
    shown = " ".join(Words((out / "index.html").read_text(encoding="utf-8")).found)
    for suite in spec["suites"].values():
        for entry in suite["datasets"]:
            assert entry["title"] in shown


def test_every_figure_is_whole(odd_run) -> None:
    out, _ = odd_run
    drawn = sorted((out / "figures").glob("*.svg"))
    assert len(drawn) > 5
    for path in drawn:
        ET.parse(path)


def test_written_tables_show_every_title_in_markdown_and_latex(odd_run) -> None:
    out, spec = odd_run
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render
    shown = " ".join(Words(rendered((out / "tables" / "gliclass_suite.md").read_text(encoding="utf-8"))).found)
    tex = (out / "tables" / "gliclass_suite.tex").read_text(encoding="utf-8")
    for entry in spec["suites"]["gliclass"]["datasets"]:
        assert entry["title"] in shown
        assert escape_tex(entry["title"]) in tex


@pytest.mark.parametrize("text", ODD)
def test_a_cell_comes_out_of_markdown_as_it_went_in(text: str) -> None:
    table = Table("t", ["System", text], [["x", text], [text, "1"]])
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown_text(table))
    assert Words(page).found.count(text) == 3 and "<del>" not in page and "<a " not in page


@pytest.mark.parametrize("text", ODD)
def test_no_character_of_a_cell_is_a_command_in_latex(text: str) -> None:
    """What is left after the known escapes holds nothing that LaTeX acts on, and no row starts with a bracket."""
    known = r"\\textbackslash\{\}|\\textasciitilde\{\}|\\textasciicircum\{\}|\$[<>-]\$|\\[&%$#_{}]"
    assert not re.search(r"[\\&%$#_{}~^<>]", re.sub(known, "", escape_tex(text)))
    assert not re.search(r"^\[", tex_text(Table("t", ["a"], [[text]])), re.MULTILINE)
