"""The results block of hardset-mini's data card: measurements of a finished run, stored next to the data."""

from pathlib import Path
from typing import Any

from authored.cards import main as write_cards
from zsbench.data.authored_sets import HARDSET
from zsbench.data.fetched import AUTHORED
from zsbench.reporting.diff import compare_runs
from zsbench.store.provenance import read_json, write_json


def write_card_results(root: Path, trained: str, untrained: str) -> None:
    """Write `hardset-mini.results.json` from a run, and rewrite the cards.

    Args:
        root: `results/<run>` of a finished run.
        trained: id of a system trained on hardset-mini, which is also compared on the run's real data sets.
        untrained: id of a system with the same backbone, untrained.
    """
    own = read_json(root / "analysis" / "hardset.json")
    deltas = compare_runs(root, root, (untrained, trained), suite="gliclass").deltas
    rows: list[dict[str, Any]] = own["rows"] + [
        {
            "where": f"{row.dataset}, {trained}",
            "metric": "macro-F1",
            "trained": round(row.b, 4),
            "untrained": round(row.a, 4),
            "difference": round(row.delta, 4),
            "low": round(row.low, 4),
            "high": round(row.high, 4),
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
