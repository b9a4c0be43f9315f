"""The table of parameters: every system that loads weights, and the share that its training updated."""

from zsbench.reporting.frames import RunData
from zsbench.reporting.render import to_markdown
from zsbench.reporting.tables.base import available_items, build_table


def test_every_system_with_weights_is_listed_once_with_its_share(made):
    run = RunData(made.root, made.spec)
    built = build_table(run, "parameters", available_items(made.spec)["parameters"])
    frame = built.frame.set_index("system")
    assert list(frame.index) == [entry["id"] for entry in made.spec["systems"] if not entry["control"]]
    hybrids = [entry["id"] for entry in made.spec["systems"] if entry["family"] == "hybridnli"]
    assert (frame.loc[hybrids, "share"].round(6) == 0.004898).all() and len(hybrids) > 0
    assert (frame.drop(index=hybrids)["share"] == 1).all()
    line = next(line for line in to_markdown(built).splitlines() if hybrids[0] in line)
    assert "436,148,232" in line and "2,136,072" in line and "0.49%" in line
