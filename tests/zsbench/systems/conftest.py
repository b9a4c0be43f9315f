"""A small run on disk for the tests of systems and cells."""

import pytest
import torch
from tiny_run import make_run, score_spec

from zsbench.layout import Layout


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _denormals_as_before():
    """Scoring flushes denormals for its whole process; other tests of this process want theirs."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Layout:
    """A run that tests read; cells, caches and further models may be added, data sets and models stay."""
    return make_run(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="session")
def make_spec():
    return score_spec
