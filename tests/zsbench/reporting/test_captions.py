"""Captions of Snakemake's own report: one a figure, rendered as Snakemake renders them."""

from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
from docutils.core import publish_parts

from zsbench.reporting.figures import FIGURES

FOLDER = Path(__file__).resolve().parents[3] / "workflow" / "report"
CAPTIONS = sorted(path.stem for path in FOLDER.glob("*.rst"))
ONE = {"recipe": {"seeds": [1]}, "suites": {"gliclass": {"rows": 300}}}
THREE = {"recipe": {"seeds": [1, 2, 3]}, "suites": {"topics": {}}, "statistics": {"draws": 777, "level": 0.9}}


def rendered(name: str, config: dict[str, object]) -> str:
    """The caption as HTML; docutils stops at the first warning."""
    template = (FOLDER / f"{name}.rst").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    text = environment.from_string(template).render(snakemake=SimpleNamespace(config=config))
    body = publish_parts(text, writer="html", settings_overrides={"halt_level": 2})["body"]
    return " ".join(body.split())


def test_every_figure_and_the_page_have_a_caption() -> None:
    assert {entry.name for entry in FIGURES} | {"index"} <= set(CAPTIONS)


SOME = {"recipe": {"seeds": [1]}, "suites": {"gliclass": {"rows": {"imdb": 250}}}}


@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_render(name: str) -> None:
    assert "imdb" not in rendered(name, SOME) and ("at most" in rendered(name, ONE)) == (
        "of some" in rendered(name, SOME)
    )
    for config in (ONE, THREE):
        assert "<p>" in rendered(name, config)


def test_captions_say_what_the_config_says() -> None:
    text = rendered("gliclass_suite", THREE)
    assert "90 % percentile intervals" in text and "777 draws" in text and "means over 3 seeds" in text
    text = rendered("gliclass_suite", ONE)
    assert "95 % percentile intervals" in text and "at most 300" in text and "one seed" in text
