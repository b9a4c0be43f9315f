"""README's use of a model without the bench, as it stands; only the folder is another."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def test_the_snippet_prints_the_best_labels(
    build: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = README.read_text(encoding="utf-8").partition("## Use a model alone")[2]
    snippet = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    code, replaced = re.subn(r'folder = ".*"', f"folder = {str(tmp_path)!r}", snippet)
    model, tokenizer = build()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.split("\n")[:2]
    labels, scores = zip(*(line.split() for line in lines), strict=True)
    assert replaced == 1 and set(labels) < {"sports", "business", "weather"} and scores[0] >= scores[1]
