"""The data written for and shipped with this project.

hardset-mini has the columns of `alexneakameni/ZSHOT-HARDSET-v2` (text, labels, not_labels) and topics-mini those of the
HybridNLI benchmark (text, labels), and a few more, so the same code reads both versions.
"""

import json
from typing import Any

from zsbench.data.fetched import AUTHORED

HARDSET, HARDSET_MORE, TOPICS = "hardset-mini", "hardset-more", "topics-mini"


def read_authored(name: str) -> list[dict[str, Any]]:
    """All rows of a file of the authored sets, with every field, in order.

    Args:
        name: `hardset-mini`, its extension `hardset-more`, `hardset-more.reread` (a second reading) or `topics-mini`.
    """
    lines = (AUTHORED / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]
