"""What changed since the last analysis of a run: `analysis/history.json` keeps the present one and the one before.

Written by a job of its own, read by the page: a report rendered twice, or anew after it was deleted, says the same.
"""

from pathlib import Path
from typing import Any

from zsbench.provenance import digest, read_json, write_json
from zsbench.reporting.frames import RunData

FILE = "history.json"
# What a card says about a cell, under the words that the page uses when it differs.
FACTS = {
    "rows_sha256": "rows",
    "labels_digest": "label words",
    "weights_sha256": "weights",
    "settings": "settings",
    "precision": "precision",
    "source": "code",
}


def keep(root: Path, spec: dict[str, Any]) -> None:
    """Bring `analysis/history.json` up to date; an analysis of unchanged cells stays the same one.

    Args:
        root: `results/<run>`, measured.
        spec: the analysis spec.
    """
    run = RunData(Path(root), spec)
    metric, path = run.main_metric(), run.root / "analysis" / FILE
    cells = {}
    for where in run.cells():
        card = run.card(*where) or {}
        facts = {name: digest(card.get(name)) for name in FACTS}
        cells["/".join(map(str, where))] = {"scores": card["scores_sha256"], "macro_f1": metric.get(where)} | facts
    old = read_json(path) if path.is_file() else {"present": None, "before": None}
    same = old["present"] is not None and _scores(old["present"]) == _scores(cells)
    write_json(path, {"present": cells, "before": old["before"] if same else old["present"]})


def _scores(analysis: dict[str, Any]) -> dict[str, tuple[str, float | None]]:
    """What makes an analysis another one; code that was edited and scored the same does not."""
    return {cell: (facts["scores"], facts["macro_f1"]) for cell, facts in analysis.items()}
