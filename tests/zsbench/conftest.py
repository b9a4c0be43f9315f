"""The project's configs, loaded once."""

import copy
from pathlib import Path
from typing import Any

import pytest

from zsbench.config.load import load_resources, load_yaml, resolve

REPOSITORY = Path(__file__).parents[2]


def checked(config: dict[str, Any]) -> dict[str, Any]:
    """A config after all checks, with defaults filled in, as in the Snakefile."""
    resolve(config, REPOSITORY / "workflow")
    return config


@pytest.fixture(scope="session")
def _embedded() -> dict[str, Any]:
    return load_yaml(REPOSITORY / "workflow" / "configs" / "embedded.yaml")


@pytest.fixture
def embedded(_embedded: dict[str, Any]) -> dict[str, Any]:
    """A fresh copy of the embedded config, as written."""
    return copy.deepcopy(_embedded)


@pytest.fixture(scope="session")
def resources() -> dict[str, Any]:
    """The project's presets."""
    return load_resources(REPOSITORY / "workflow" / "resources")
