"""The report page: content, links, and how it behaves in a real browser."""

import base64
import html.parser
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import browser
import made_up_run
import pytest

from zsbench.reporting.frames import RunData
from zsbench.reporting.page import anchor, write_report
from zsbench.reporting.render import read_table
from zsbench.reporting.summary import sentences


class Page(html.parser.HTMLParser):
    """Ids, links, images and headings of a page, and whether its tags are balanced."""

    VOID = {"meta", "link", "img", "br", "hr", "input"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: Counter[str] = Counter()
        self.links: list[str] = []
        self.held: list[tuple[str, str]] = []  # (name, address) of files that the page holds
        self.images: list[dict[str, str | None]] = []
        self.headings: list[int] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.lang: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if "id" in values:
            self.ids[str(values["id"])] += 1
        if tag == "a":
            self.links.append(str(values["href"]))
            if "download" in values:
                self.held.append((str(values["download"]), str(values["href"])))
        if tag == "img":
            self.images.append(values)
        if tag == "html":
            self.lang = values.get("lang")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self.addresses += [str(values[key]) for key in ("src", "href", "action", "data") if key in values]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page((report / "index.html").read_text(encoding="utf-8"))


def test_page_is_well_formed_and_self_contained(page: Page, report: Path) -> None:
    assert not page.open and page.lang == "en"
    assert max(page.ids.values()) == 1
    assert page.headings[0] == 1 and all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    assert all(image["alt"] and str(image["src"]).startswith("data:image/svg+xml;base64,") for image in page.images)
    assert not [address for address in page.addresses if re.match(r"(https?:)?//", address)]
    assert (report / "index.html").stat().st_size < 5_000_000


def test_every_link_leads_somewhere_wherever_the_page_is(page: Page, report: Path) -> None:
    """No link is relative to the page's folder: in Snakemake's zip the page lies elsewhere, without its neighbours."""
    for link in page.links:
        assert link.startswith("data:text/csv;base64,") or (link.startswith("#") and link[1:] in page.ids), link[:80]
    files = {name: address for name, address in page.held if address.startswith("data:")}
    figures = {f"{path.stem}.csv" for path in (report / "figures").glob("*.svg")}
    assert set(files) == figures | {f"{path.stem}.csv" for path in (report / "tables").glob("*.csv")}
    for name, address in page.held:
        if address.startswith("data:"):
            stored = [path.read_bytes() for path in report.glob(f"*/{name}")]
            assert base64.b64decode(address.partition(",")[2]) in stored, name


def test_every_suite_number_links_to_its_cell(page: Page, made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec)
    for system in run.systems("gliclass"):
        for dataset in run.datasets("gliclass"):
            assert f"#{anchor('gliclass', dataset, system)}" in page.links
    assert all(anchor(suite, dataset, system) in page.ids for suite, dataset, system, _ in run.cells())


def test_every_figure_names_its_data_and_its_command(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    for path in (report / "figures").glob("*.svg"):
        assert f'download="{path.stem}.csv"' in text and f'download="{path.stem}.svg"' in text
        assert f"snakemake --cores 1 reports/synthetic/figures/{path.stem}.svg" in text
        assert f"figures/{path.stem}.png" in (report / "REPORT.md").read_text(encoding="utf-8")


def test_values_are_escaped(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    assert "A &lt;note&gt; &amp; more." in text
    assert "A &lt;note>" in (report / "REPORT.md").read_text(encoding="utf-8")


def test_a_second_rendering_has_the_same_bytes(report: Path, made: SimpleNamespace) -> None:
    before = {name: (report / name).read_bytes() for name in ("index.html", "REPORT.md")}
    write_report(made.root, made.spec, report)
    assert before == {name: (report / name).read_bytes() for name in before}


def test_the_only_time_is_in_the_volatile_line(report: Path) -> None:
    lines = (report / "index.html").read_text(encoding="utf-8").splitlines()
    stamped = [line for line in lines if re.search(r"\d\d:\d\d", line) and "base64" not in line]
    assert len(stamped) == 1 and 'class="volatile"' in stamped[0]


def test_a_run_without_tables_and_figures_still_has_a_page(made: SimpleNamespace, tmp_path: Path) -> None:
    write_report(made.root, made.spec, tmp_path)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "summary" in page.ids and "cells" in page.ids and "ablations" not in page.ids and not page.images


def test_summary_starts_with_the_answer(made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec)
    said = sentences(run)
    ranking = run.suite_means("gliclass")["average"].drop(list(run.controls)).sort_values(ascending=False)
    assert said[0].startswith(f"{ranking.index[0]} leads Single-label suite with a macro-F1 of {ranking.iloc[0]:.3f}")
    deltas = run.deltas[(run.deltas["table"] == "gliclass_suite") & (run.deltas["dataset"] == "average")]
    below = said[0].partition("significantly above ")[2].partition(";")[0]
    for row in deltas[~deltas["baseline"].isin(run.controls)].itertuples():
        assert (row.baseline in re.split(r", | and ", below)) == (row.p_adjusted < 0.05 and row.delta > 0)
    assert len(said) <= 6 and any("3 seeds each" in sentence and "at most 60 rows" in sentence for sentence in said)


def test_summary_of_one_seed_says_what_intervals_leave_out(made: SimpleNamespace) -> None:
    spec = made_up_run.spec_of(seeds=(1,))
    assert any("one seed each" in sentence for sentence in sentences(RunData(made.root, spec)))


def test_summary_without_tests_says_nothing_of_significance(made: SimpleNamespace) -> None:
    """Two seeds: no p, so systems are neither different nor indistinguishable."""
    run = RunData(made.root, made.spec)
    vars(run)["deltas"] = run.deltas.assign(p=float("nan"), p_adjusted=float("nan"), verdict="")
    said = " ".join(sentences(run))
    assert "not tested" in said
    assert not re.search(r"distinguishable|significant|p (\(adjusted\) )?–", said)


def test_a_long_table_is_cut_in_the_text_report(report: Path) -> None:
    text = (report / "REPORT.md").read_text(encoding="utf-8")
    rows = read_table(report / "tables", "published").frame
    assert f"The first 40 of {len(rows)} rows; all: [published.md](tables/published.md)." in text


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium on this machine (Debian package: chromium)")
def test_page_in_a_real_browser(report: Path, tmp_path: Path) -> None:
    seen, console, asked = browser.look_at(report / "index.html", tmp_path)
    assert console == []
    assert set(asked) == {"/harness.html", "/index.html"}
    for view, width in (("wide", 1440), ("narrow", 360)):
        assert seen[view]["width"] in range(width - 20, width + 1)
        assert seen[view]["scroll"] <= seen[view]["width"] and seen[view]["over"] == [], view
        assert seen[view]["requests"] == [] and seen[view]["broken"] == 0
    frame = read_table(report / "tables", "gliclass_suite").frame
    numbers = sorted(frame[frame["dataset"] == "newsgroups"]["value"].round(3))
    assert [float(text.split()[0]) for text in seen["ascending"]] == numbers
    assert [float(text.split()[0]) for text in seen["descending"]] == numbers[::-1]
    assert seen["aria"] == "descending" and seen["names"] in (sorted(seen["names"]), sorted(seen["names"])[::-1])
    assert seen["picture"]
    assert seen["card"] == {"visible": True, "inside": True, "open": True}
