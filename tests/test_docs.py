"""Docs, README and docstrings: examples run, files and links exist, generated parts are current."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
import yaml
from typer.cli import get_docs_for_click
from typer.main import get_command

from zsbench.cli.app import app
from zsbench.config.load import load_yaml, merge, resolve
from zsbench.config.published import PUBLISHED
from zsbench.store.frames import COLUMNS

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EMBEDDED = "workflow/configs/embedded.yaml"
WITH_EXAMPLES = sorted(path for path in SRC.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(SRC)))
def test_docstring_examples(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(SRC).with_suffix("").parts))
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0


def test_there_are_examples() -> None:
    assert {path.name for path in WITH_EXAMPLES} >= {"batching.py", "config.py"}


def test_every_markdown_file_that_the_code_names_is_in_the_repository() -> None:
    folders = ("docs", "src", "reports/sample")
    there = [*ROOT.glob("*.md"), *(path for folder in folders for path in (ROOT / folder).rglob("*.md"))]
    known = [f"/{path.relative_to(ROOT).as_posix()}" for path in there]
    code = [path for folder in ("src", "workflow") for path in (ROOT / folder).rglob("*") if path.suffix in CODE]
    lost = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in code
        for name in re.findall(r"(?<![\w{}/<>*.-])[\w-][\w./-]*\.md\b", path.read_text(encoding="utf-8"))
        if not any(one.endswith(f"/{name}") for one in known)
    ]
    assert lost == []


CODE = (".py", ".smk", ".yaml", ".rst", ".toml", ".sh")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    lost = [link for link in links if "://" not in link and not (page.parent / link.partition("#")[0]).exists()]
    assert lost == []


def test_readme_is_short_and_needs_no_sideways_scrolling() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    written_by_hand = re.sub(r"<!-- begin:.*?<!-- end:", "", text, flags=re.DOTALL)
    assert [line for line in written_by_hand.splitlines() if len(line) > 120] == []
    code = "".join(re.findall(r"```\w+\n(.*?)```", text, re.DOTALL))
    assert [line for line in code.splitlines() if len(line) > 100] == []  # width of a code box on GitHub
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert max(line.replace("\\|", "").count("|") for line in tables) <= 6  # five columns
    assert len(text.splitlines()) <= 150


def test_the_page_of_the_command_line_is_current() -> None:
    command = get_command(app)
    with command.make_context("zsbench", [], resilient_parsing=True) as context:
        page = get_docs_for_click(obj=command, ctx=context, name="zsbench", title="Command line")
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == page.strip() + "\n"


@pytest.mark.parametrize("frame", COLUMNS)
def test_every_column_of_the_analysis_is_documented(frame: str) -> None:
    page = (ROOT / "docs" / "numbers.md").read_text(encoding="utf-8")
    section = page.partition(f"\n### {frame}\n")[2].partition("\n##")[0]
    shared = COLUMNS["deltas"].split() if frame == "confusable" else []
    assert [name for name in COLUMNS[frame].split() if f"`{name}`" not in section and name not in shared] == []


def test_the_glossary_has_every_source_of_published_numbers() -> None:
    published = load_yaml(PUBLISHED)
    codes = [*published["publications"], *published["throughput"]]
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert [code for code in codes if f"| {code} |" not in page] == []


def snippets() -> list[tuple[str, str, str]]:
    """(page, base config, overlay) of each yaml snippet that is an overlay."""
    found = []
    bases = {
        "README.md": EMBEDDED,
        "getting-started.md": EMBEDDED,
        "adding.md": EMBEDDED,
        "configuration.md": "config.yaml",
    }
    for page in PAGES:
        if page.parent in (ROOT, ROOT / "docs") and page.name in bases:
            blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
            found += [(page.name, bases[page.name], block) for block in blocks]
    return found


@pytest.mark.parametrize(("page", "base", "overlay"), snippets())
def test_a_config_with_the_snippet_can_run(
    page: str, base: str, overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_pkg").mkdir()
    (tmp_path / "my_pkg" / "my_mod.py").write_text("class MySystem: ...")
    monkeypatch.syspath_prepend(tmp_path)
    config = merge(load_yaml(ROOT / base), yaml.safe_load(overlay))
    resolve(config, ROOT / "workflow")


def test_snippets_are_found() -> None:
    pages = [page for page, _, _ in snippets()]
    assert pages.count("README.md") == 3 and pages.count("adding.md") >= 6
