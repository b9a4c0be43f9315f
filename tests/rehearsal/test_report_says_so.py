"""A report made from replicas says so before anything else."""

import json
from types import SimpleNamespace

from zsbench.reporting.summary import _replicas
from zsbench.store.layout import Layout


def test_replicas_are_announced(tmp_path):
    layout = Layout(tmp_path)
    run = SimpleNamespace(layout=layout, datasets=lambda suite: ["cr"] if suite == "gliclass" else ["topics"])
    assert _replicas(run) == ""  # a report drawn from frames alone has no cards
    for name, replica in (("topics", False), ("cr", True)):
        path = layout.dataset_card(name)
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"replica": replica}))
        assert _replicas(run).startswith("This is a rehearsal") is replica
