"""The size of every system, and the share of its parameters that its training updated."""

import pandas as pd

from zsbench.reporting.frames import RunData
from zsbench.reporting.render import Column, Table
from zsbench.reporting.tables.base import table

COUNTS = ("parameters", "trained_parameters")


@table("parameters", "cost")
def parameters(run: RunData) -> Table:
    """Parameter counts of all systems that load weights, from the cards of their cells."""
    cards = {cell[2]: run.cards[cell] for cell in reversed(run.cells()) if COUNTS[0] in run.cards[cell]}
    rows = [
        {"system": entry["id"], **{name: float(cards[entry["id"]][name]) for name in COUNTS}}
        for entry in run.spec["systems"]
        if entry["id"] in cards
    ]
    frame = pd.DataFrame(rows, columns=["system", *COUNTS]).astype(dict.fromkeys(COUNTS, float))
    frame["share"] = frame["trained_parameters"] / frame["parameters"]
    columns = (
        Column("System", "system"),
        Column("Parameters", "parameters", "count"),
        Column("Trained", "trained_parameters", "count"),
        Column("Share", "share", "share", 2),
    )
    notes = (
        "Trained: parameters updated in training, here or by the authors. For a hybrid these are the heads and blend"
        " weights; its NLI model is frozen. Systems without weights, and those that run elsewhere, are not listed.",
    )
    return Table("Parameters", frame, columns, notes=notes)
