"""Captions for Snakemake's report: one per kind of table and figure, parsed with docutils."""

from pathlib import Path

import pytest
from docutils.core import publish_parts

from zsbench.reporting.figures.style import FIGURES
from zsbench.reporting.tables.base import BUILDERS

FOLDER = Path(__file__).resolve().parents[3] / "workflow" / "report"


def test_captions_do_not_name_the_level_of_a_run() -> None:
    for kind in ("label_counts", "label_slopes", "forest"):
        assert not set("0123456789") & set((FOLDER / f"{kind}.rst").read_text(encoding="utf-8")) - {"0"}, kind


@pytest.mark.parametrize("kind", [*FIGURES, *BUILDERS, "index", "speed"])
def test_every_kind_has_a_caption_that_renders(kind: str) -> None:
    text = (FOLDER / f"{kind}.rst").read_text(encoding="utf-8")
    assert "<p>" in publish_parts(text, writer="html", settings_overrides={"halt_level": 2})["body"]
