"""One made-up run for all tests of this folder: cells, analysis, tables, figures and pages, written once."""

from pathlib import Path
from types import SimpleNamespace

import made_up_run
import pytest

from zsbench.reporting.figures import write_figures
from zsbench.reporting.page import write_report
from zsbench.reporting.tables import write_tables


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """`root` (results/<run>) and `spec`."""
    root, spec = tmp_path_factory.mktemp("made") / "results" / "synthetic", made_up_run.spec_of(seeds=(1, 2, 3))
    made_up_run.make_run(root, spec)
    return SimpleNamespace(root=root, spec=spec)


@pytest.fixture(scope="session")
def report(made: SimpleNamespace) -> Path:
    """`reports/<run>` of that run."""
    out = made.root.parents[1] / "reports" / "synthetic"
    write_tables(made.root, made.spec, out / "tables")
    write_figures(made.root, made.spec, out / "figures")
    write_report(made.root, made.spec, out)
    return out
