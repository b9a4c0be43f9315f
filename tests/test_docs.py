"""Examples in docstrings run as they stand."""

import doctest
import importlib
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
WITH_EXAMPLES = sorted(path for path in SRC.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(SRC)))
def test_docstring_examples(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(SRC).with_suffix("").parts))
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0


def test_there_are_examples() -> None:
    assert {path.name for path in WITH_EXAMPLES} >= {"batching.py", "config.py"}
