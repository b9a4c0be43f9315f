"""A report made from replicas starts with a warning."""

from pathlib import Path

import pytest

from zsbench.reporting.frames import RunData
from zsbench.reporting.header import REHEARSAL, header
from zsbench.store.layout import Layout
from zsbench.store.provenance import write_json


@pytest.mark.parametrize("replica", [True, False])
def test_replicas_are_announced(tmp_path: Path, replica: bool) -> None:
    datasets = [{"id": name, "title": name} for name in ("cr", "sst2")]
    suite = {"title": "s", "task": "single", "metric": "macro_f1", "datasets": datasets}
    spec = {
        "suites": {"s": suite},
        "systems": [],
        "gliznet": {"base": {}, "variants": {}, "compounds": {}},
        "sensitivity": {},
    }
    spec |= {"statistics": {"system": "gliznet-full"}}
    for name in ("cr", "sst2"):
        write_json(Layout(tmp_path).dataset_card(name), {"replica": replica and name == "cr", "rows": {"test": 1}})
    assert (header(RunData(tmp_path, spec)).banner == REHEARSAL) == replica
