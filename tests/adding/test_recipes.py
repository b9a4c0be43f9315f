"""Each recipe of docs/adding is the diff of a commit: it applies, passes its test, and touches only the promised files.

The diffs leave out what is generated from the code (the page of keys, the schema).
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.runs
ROOT = Path(__file__).parents[2]
COPIED = ("src", "workflow", "tests", "authored", "docs", "config.yaml", "pyproject.toml")
FILES = {  # other than tests and what is generated from them, that each extension may touch
    "family": 2,
    "loss-term": 2,
    "metric": 2,
    "source-kind": 2,
    "strategy": 2,
    "suite": 1,
    "table": 1,
}
KEYS = "tests/zsbench/config/test_overlays_and_presets.py::test_the_schema_and_the_page_of_keys_are_current"


def block(language: str, page: str) -> str:
    text = (ROOT / "docs" / "adding" / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return found


def run(command: list[str], folder: Path, text: str | None = None) -> None:
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_is_a_recipe() -> None:
    assert {path.stem for path in (ROOT / "docs" / "adding").glob("*.md")} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_the_recipe_applies_and_passes_its_test(name: str, tmp_path: Path) -> None:
    diff, check = block("diff", f"{name}.md"), block("sh", f"{name}.md")
    changed = re.findall(r"^\+\+\+ b/(.+)$", diff, re.MULTILINE)
    tests = [path for path in changed if path.startswith("tests/")]
    assert tests and len(changed) - len(tests) <= FILES[name]
    for entry in COPIED:
        source = ROOT / entry
        if source.is_dir():
            shutil.copytree(source, tmp_path / entry, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / entry)
    run(["git", "init", "-q"], tmp_path)
    run(["git", "apply", "-"], tmp_path, diff)
    assert [word for word in check.split() if word.startswith("tests/")] == tests, "the check is of this commit"
    run(["bash", "-ec", check], tmp_path)
    run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", KEYS], tmp_path)
