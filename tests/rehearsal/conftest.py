"""One mirror of replicas, built once for all tests of the rehearsal."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.rehearsal.mirror import build_mirror, named_sources
from zsbench.config.load import load_resources, load_yaml

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def paper() -> dict[str, Any]:
    """config.yaml as written."""
    return load_yaml(REPOSITORY / "config.yaml")


@pytest.fixture(scope="session")
def presets() -> dict[str, Any]:
    return load_resources(REPOSITORY / "workflow" / "resources")


@pytest.fixture(scope="session")
def sources(paper: dict[str, Any], presets: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Sources of the paper run that a mirror must hold, by id."""
    return named_sources(paper, presets)


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rehearsal") / "mirror"
    build_mirror(folder, REPOSITORY / "config.yaml", REPOSITORY / "workflow" / "resources")
    return folder
