"""README's example of a custom system: its exact code, installed as a package and scored by the command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.zsbench.resolved_config import scoring_config
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json

REPOSITORY = Path(__file__).parents[3]
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "example-of-the-readme"
version = "0.1"
[tool.setuptools]
packages = ["my_pkg"]
"""


def section() -> str:
    """README from "A system" to the next heading."""
    return (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("**A system**")[2].partition("\n## ")[0]


def block(kind: str) -> str:
    return re.search(rf"```{kind}\n(.*?)```", section(), re.DOTALL)[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The example's file, packaged and installed by pip into a separate folder."""
    folder = tmp_path_factory.mktemp("readme")
    source, target = folder / "source", folder / "site"
    (source / "my_pkg").mkdir(parents=True)
    (source / "my_pkg" / "__init__.py").write_text("")
    code = block("python")
    assert code.startswith("# my_pkg/my_mod.py\n")
    (source / "my_pkg" / "my_mod.py").write_text(code)
    (source / "pyproject.toml").write_text(PROJECT)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", target, source], check=True)
    return target


def score(run: Layout, spec: dict, *paths: Path) -> subprocess.CompletedProcess:
    """Run `zsbench job score` as a rule does."""
    scoring_config(run.root, spec["system"], {"family": spec["family"], "suites": [spec["suite"]], **spec["settings"]})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [REPOSITORY / "src", *paths]))}
    words = ["job", "score", "--root", run.root, "--system", spec["system"], "--seed", str(spec["seed"])]
    command = [sys.executable, "-m", "zsbench.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture
def spec(make_spec) -> dict:
    """The spec of README's config entry."""
    ((name, entry),) = yaml.safe_load(block("yaml"))["systems"].items()
    assert entry.pop("suites") == ["gliclass"]
    return make_spec(entry.pop("family"), system=name, settings=entry, seed=0)


def test_the_example_scores_as_it_says(run: Layout, spec: dict, installed: Path) -> None:
    done = score(run, spec, installed)
    assert done.returncode == 0, done.stderr
    frame = pd.read_parquet(run.scores("gliclass", "news", "word-count", 0))
    rows = pd.read_parquet(run.dataset("news"))
    labels = read_json(run.dataset_card("news"))["labels"]
    expected = [[text.lower().count(label.lower()) for label in labels] for text in rows["text"]]
    np.testing.assert_array_equal(frame.filter(like="score:").to_numpy(), np.array(expected, dtype=float))
    assert np.ptp(expected) > 0
    card = read_json(run.card("gliclass", "news", "word-count", 0))
    assert card["settings"] == {"class": "my_pkg.my_mod:MySystem"} and card["source"]


def test_without_the_package_one_line_says_what_to_install(run: Layout, spec: dict) -> None:
    done = score(run, spec)
    assert done.returncode == 1
    assert "'my_pkg'" in done.stderr.strip().splitlines()[-1]
