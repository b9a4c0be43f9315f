"""The same conditions on every machine and in any order, whatever the shell, the CI service or the proxy."""

import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

for name in [*os.environ]:
    if name.startswith("HF_") or name in ("COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "LINES", "NO_COLOR"):
        del os.environ[name]
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"  # servers of the tests are on this machine
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch

os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # `zsbench`, also in jobs
LONGEST = "test_whole_run"
SLOW_FOLDERS = {"workflow", "adding", "training", "benchmarks", "rehearsal"}

# Neither a slow machine nor a new random example may fail a change that has nothing to do with it. Examples of one test
# share its fixtures on purpose.
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=QUIET)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """A test draws the same numbers whichever tests ran before it in this process."""
    random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: the workers of `make test`, which keep this order, then end together."""
    items.sort(key=lambda item: (item.path.stem != LONGEST, SLOW_FOLDERS.isdisjoint(item.path.parts)))
