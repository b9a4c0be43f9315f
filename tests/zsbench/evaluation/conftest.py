"""One synthetic run, measured and compared once for all tests of this folder."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from synthetic import make_run

from tests.measured import measure
from zsbench.evaluation.compare import compare


@pytest.fixture(scope="session")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """`root` and `spec` of a run with `analysis/` written. Tests only read it."""
    root = tmp_path_factory.mktemp("runs") / "synthetic"
    spec = make_run(root)
    measure(root, spec)
    compare(root, spec)
    return SimpleNamespace(root=Path(root), spec=spec)
