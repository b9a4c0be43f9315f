"""The results block of hardset-mini's data card: what a finished run measured, written beside the data."""

from pathlib import Path
from typing import Any

from authored.cards import main as write_cards
from zsbench.data.authored_sets import HARDSET
from zsbench.data.fetched import AUTHORED
from zsbench.reporting.diff import compare_runs
from zsbench.store.provenance import read_json, write_json


def write_card_results(root: Path, trained: str, untrained: str) -> None:
    """Write `hardset-mini.results.json` from a run, and the cards anew.

    Args:
        root: `results/<run>`, finished.
        trained: system trained on hardset-mini that is also compared on the run's real sets.
        untrained: system with the same backbone, untrained.
    """
    own = read_json(root / "analysis" / "hardset.json")
    deltas = compare_runs(root, root, (untrained, trained), suite="gliclass").deltas
    rows: list[dict[str, Any]] = own["rows"] + [
        {
            "where": f"{row.dataset}, {trained}",
            "metric": "macro-F1",
            "trained": round(row.b, 6),
            "untrained": round(row.a, 6),
            "difference": round(row.delta, 6),
            "low": round(row.low, 6),
            "high": round(row.high, 6),
            "texts": int(row.n_rows),
            "seeds": 1,
        }
        for row in deltas.itertuples()
    ]
    results = {
        "run": root.name,
        "command": "make demo",
        "level": own["level"],
        "note": "One seed. The bi-encoder is the same MiniLM, untrained. hardset-mini's intervals resample bundles.",
        "rows": rows,
    }
    write_json(AUTHORED / f"{HARDSET}.results.json", results)
    write_cards()
