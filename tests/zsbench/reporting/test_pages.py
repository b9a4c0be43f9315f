"""The report page: content, links, and behaviour in a real browser."""

import base64
import html.parser
import json
import re
import shutil
import subprocess
import tarfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import browser
import made_up_run
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from zsbench.reporting.details import details, key_of
from zsbench.reporting.frames import RunData
from zsbench.reporting.index import write_index
from zsbench.reporting.page import write_report
from zsbench.reporting.render import read_table
from zsbench.reporting.summary import sentences
from zsbench.store.provenance import read_json, write_json


class Page(html.parser.HTMLParser):
    """Ids, links, images and headings of a page, and whether its tags are balanced."""

    VOID = {"meta", "link", "img", "br", "hr", "input"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: Counter[str] = Counter()
        self.links: list[str] = []
        self.held: list[tuple[str, str]] = []  # (name, URL) of files embedded in the page
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


def held_cells(report: Path) -> dict[str, Any]:
    """The page's embedded details of its numbers."""
    text = (report / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="cells">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found.group(1))


def test_page_is_well_formed_and_self_contained(page: Page, report: Path) -> None:
    assert not page.open and page.lang == "en"
    assert max(page.ids.values()) == 1
    assert page.headings[0] == 1 and all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    assert not [address for address in page.addresses if re.match(r"(https?:)?//", address)]
    assert (report / "index.html").stat().st_size < 5_000_000


def test_every_link_leads_somewhere_wherever_the_page_is(page: Page, report: Path) -> None:
    """No link is relative to the page's folder, because Snakemake's zip moves the page away from its neighbours."""
    cells = held_cells(report)["cells"]
    for link in page.links:
        known = link[1:] in page.ids or link.removeprefix("#cell/") in cells
        assert link.startswith("data:text/csv;base64,") or (link.startswith("#") and known), link[:80]
    for name, address in page.held:
        stored = [path.read_bytes() for path in report.glob(f"*/{name}")]
        assert base64.b64decode(address.partition(",")[2]) in stored, name
    assert {f"{path.stem}.csv" for path in (report / "figures").glob("*.svg")} <= {name for name, _ in page.held}


def test_every_suite_number_links_to_its_cell(page: Page, made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec)
    for system in run.systems("gliclass"):
        for dataset in run.datasets("gliclass"):
            assert f"#cell/{key_of('gliclass', dataset, system)}" in page.links


def test_a_cell_holds_its_confusion_its_labels_and_its_wrong_texts(report: Path, made: SimpleNamespace) -> None:
    held, run = held_cells(report), RunData(made.root, made.spec)
    cell = held["cells"][key_of("gliclass", "r8", "nli-mini")]
    scores = run.scores("gliclass", "r8", "nli-mini", 1)
    assert scores is not None
    gold = scores["gold"].map(lambda labels: labels[0]).to_numpy()
    given = scores[[name for name in scores if name.startswith("score:")]].to_numpy().argmax(axis=1)
    matrix = confusion_matrix(gold, given, labels=range(8))
    assert (
        cell["confusion"] == matrix.tolist() and cell["errors"] == (gold != given).sum() and cell["rows"] == len(gold)
    )
    expected = f1_score(gold, given, average=None, labels=range(8))
    assert [label["f1"] for label in cell["labels"]] == pytest.approx(list(expected))
    ids, texts = scores["sample_id"].tolist(), pd.read_parquet(run.layout.dataset("r8")).set_index("sample_id")["text"]
    assert cell["wrong"]
    for sample, right, answer, best in cell["wrong"]:
        row = ids.index(sample)
        assert ([gold[row]], [given[row]]) == (right, answer) and best[0][0] == given[row]
        assert texts[sample].startswith(held["texts"]["r8"][sample].removesuffix("…"))
    topics = held["cells"][key_of("topics", "topics-mini", "hybrid")]
    assert topics["confusion"] is None and all(label["threshold"] is not None for label in topics["labels"])


def test_texts_that_must_not_be_redistributed_are_not_in_the_page(made: SimpleNamespace, tmp_path: Path) -> None:
    root = shutil.copytree(made.root, tmp_path / "results")
    card = RunData(root, made.spec).layout.dataset_card("r8")
    write_json(card, read_json(card) | {"redistribute": False})
    texts = details(RunData(root, made.spec))["texts"]
    assert set(texts) == {*RunData(root, made.spec).titles} - {"r8"}


def test_every_figure_is_in_the_page(report: Path, page: Page) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    for path in (report / "figures").glob("*.svg"):
        assert page.ids[f"figure-{path.stem}"] == 1
    assert text.count("<title>") > 50  # tooltips of marks


def test_only_rows_that_were_scored_are_listed_as_scored(report: Path) -> None:
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "<dt>rows scored</dt><dd>test 60, validation 60" in page and "train 120" not in page


def test_values_are_escaped(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    assert "A &lt;note&gt; &amp; more." in text and "Text 1 of <" not in text


def test_a_second_rendering_has_the_same_bytes(report: Path, made: SimpleNamespace) -> None:
    names = ("index.html", "REPORT.md", "summary.json")
    before = {name: (report / name).read_bytes() for name in names}
    write_report(made.root, made.spec, report)
    assert before == {name: (report / name).read_bytes() for name in names}


def test_the_only_time_is_in_the_volatile_line(report: Path) -> None:
    lines = (report / "index.html").read_text(encoding="utf-8").splitlines()
    stamped = [line for line in lines if re.search(r"\d\d:\d\d", line) and "base64" not in line]
    assert len(stamped) == 1 and 'class="volatile"' in stamped[0]


def test_a_single_system_leads_nobody(made: SimpleNamespace) -> None:
    kept = [entry for entry in made.spec["systems"] if entry["id"] == "gliznet-full" or entry["control"]]
    said = sentences(RunData(made.root, made.spec | {"systems": kept}))
    assert said[0].startswith("gliznet-full is alone on Single-label suite: macro-F1 0.") and "highest" not in said[0]


def test_summary_starts_with_the_answer(made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec)
    said = sentences(run)
    ranking = run.suite_means("gliclass")["average"].drop(list(run.controls)).sort_values(ascending=False)
    assert said[0].startswith(f"{ranking.index[0]} leads Single-label suite: macro-F1 {ranking.iloc[0]:.3f}")
    rows = run.deltas[(run.deltas["table"] == "gliclass_suite") & (run.deltas["dataset"] == "average")]
    rows = rows[~rows["system"].isin(run.controls)]
    sure = rows[rows["p_adjusted"] < 0.05]["delta"]
    assert f"better than {(sure < 0).sum()} and worse than {(sure > 0).sum()} of {len(rows)} others" in said[0]
    rival = next(name for name in ranking.index if name != run.reference)
    shown = re.search(rf"{rival} minus the reference {run.reference} is ([+-][0-9.]+)", said[0])
    assert shown and float(shown[1]) == pytest.approx(ranking[rival] - ranking[run.reference], abs=0.0015)
    assert len(said) <= 5 and any("3 seeds per" in sentence for sentence in said)


def test_the_summary_names_ablations_without_effect_and_undecided_ones(made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec)
    rows = (run.deltas["table"] == "ablations") & (run.deltas["dataset"] == "average")
    factors = run.deltas.loc[rows, "factor"].tolist()
    assert len(factors) > 1
    verdicts = ["no effect", *["undecided"] * (len(factors) - 1)]
    vars(run)["deltas"] = run.deltas.assign(p_adjusted=0.9)
    vars(run)["deltas"].loc[rows, "verdict"] = verdicts
    text = next(sentence for sentence in sentences(run) if "ablation" in sentence)
    none, undecided = text.split(" No effect beyond ±")[1].split(" Undecided")
    assert none == f"{run.spec['statistics']['margin']:g}: {factors[0]}." and factors[1] in undecided


def test_one_ablation_changes_and_two_change(made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec)
    rows = run.deltas[(run.deltas["table"] == "ablations") & (run.deltas["dataset"] == "average")].index
    for sure, words in ((1, "ablations changes"), (2, "ablations change")):
        vars(run)["deltas"] = run.deltas.assign(p_adjusted=0.9)
        vars(run)["deltas"].loc[rows[:sure], "p_adjusted"] = 0.01
        assert any(
            f"{sure} of {len(rows)} {words} the average significantly" in sentence for sentence in sentences(run)
        )


def test_the_first_sentence_says_when_training_made_the_reference_worse(
    made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunData(made.root, made.spec)
    means = run.suite_means("gliclass").copy()
    means.loc["biencoder", "average"] = means["average"].min()
    monkeypatch.setattr(RunData, "suite_means", lambda *_: means)
    assert "untrained encoder" not in sentences(run)[0]
    means.loc["biencoder", "average"] = 0.99
    assert "below its untrained encoder biencoder (" in sentences(run)[0]


def test_summary_of_one_seed_says_what_intervals_leave_out(made: SimpleNamespace) -> None:
    spec = made_up_run.spec_of(seeds=(1,))
    assert any("one seed per" in sentence for sentence in sentences(RunData(made.root, spec)))


def test_summary_without_tests_says_nothing_of_significance(made: SimpleNamespace) -> None:
    """With two seeds there is no p, so systems are called neither different nor indistinguishable."""
    run = RunData(made.root, made.spec)
    vars(run)["deltas"] = run.deltas.assign(p=float("nan"), p_adjusted=float("nan"), verdict="")
    said = " ".join(sentences(run))
    assert "not tested" in said
    assert not re.search(r"significant|adjusted p", said)


def test_the_text_report_is_short(report: Path) -> None:
    text = (report / "REPORT.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections == [
        "Macro-F1 of every system on every dataset",
        "First variant minus second",
        "Macro-F1 and F1 by label of every system, by protocol",
        "Differences: hybrid ablations, thresholds alone, against NLI",
        "Claims and verdicts",
    ]
    assert "| gliznet-full" in text and "](figures/" not in text
    assert len(text.splitlines()) < 180


def test_the_index_names_every_run_and_holds_its_numbers(report: Path, made: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file in ("index.html", "summary.json"):
            shutil.copy(report / file, tmp_path / name / file)
    (tmp_path / "unfinished").mkdir()
    write_index(tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert Page(text).links[:2] == ["a/index.html", "b/index.html"] and "unfinished" not in text
    found = re.search(r'id="held">(.*?)</script>', text, re.DOTALL)
    assert found
    means = RunData(made.root, made.spec).suite_means("gliclass")
    values = json.loads(found.group(1))["b"]["gliclass"]["values"]
    assert values["biencoder"]["r8"] == pytest.approx(means.at["biencoder", "r8"], abs=1e-6)


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Source of axe-core, the accessibility checker."""
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "pack", "--silent", "--fetch-retries=0", "--fetch-timeout=20000", "axe-core@4.14.1"]
    if shutil.which("npm") is None or subprocess.run(command, cwd=folder, capture_output=True).returncode:
        pytest.skip("npm cannot fetch axe-core, so accessibility is not checked")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        held = archive.extractfile("package/axe.min.js")
        assert held
        return held.read().decode()


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium on this machine (Debian package: chromium)")
def test_page_in_a_real_browser(report: Path, tmp_path: Path) -> None:
    seen, console, asked = browser.look_at(report / "index.html", tmp_path)
    assert console == []
    assert set(asked) == {"/harness.html", "/index.html"}
    for view, width in (("wide", 1400), ("narrow", 390)):
        assert seen[view]["width"] in range(width - 20, width + 1)
        assert seen[view]["scroll"] <= seen[view]["width"] and seen[view]["over"] == [], view
        assert seen[view]["requests"] == []
    assert seen["wide"]["inner"] == [], "a table scrolls inside its box"
    frame = read_table(report / "tables", "gliclass_suite").frame
    for order in ("ascending", "descending"):
        systems, controls = ([float(text[:5]) for text in block] for block in seen[order])
        for shown, control in ((systems, False), (controls, True)):
            values = frame[(frame["dataset"] == "newsgroups") & (frame["control"] == control)]["value"].round(3)
            assert shown == sorted(values, reverse=order == "descending")
    assert seen["aria"] == "descending"
    assert seen["filtered"] and all("biencoder" in name for name in seen["filtered"])
    assert seen["hidden"] and not seen["shown"], "an extra column is there once it is chosen"
    assert seen["cell"]["open"] and "rows are wrong" in seen["cell"]["text"] and not seen["closed"]


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium on this machine (Debian package: chromium)")
def test_nothing_serious_is_found_by_the_accessibility_check(report: Path, tmp_path: Path, axe: str) -> None:
    seen, _, _ = browser.look_at(report / "index.html", tmp_path, axe)
    assert seen["checked"] > 20
    assert [found for found in seen["violations"] if found["impact"] in ("serious", "critical")] == []
