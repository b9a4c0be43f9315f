"""The data sets shipped with this project.

hardset-mini has the columns of `alexneakameni/ZSHOT-HARDSET-v2` (text, labels, not_labels) and topics-mini those of the
HybridNLI benchmark (text, labels), and a few more, so the same code reads both versions.
"""

import json
from typing import Any

from zsbench.data.errors import DataError
from zsbench.data.fetched import AUTHORED

HARDSET, TOPICS = "hardset-mini", "topics-mini"


def read_authored(name: str) -> list[dict[str, Any]]:
    """All rows of an authored set such as `hardset-mini` or `topics-mini`, with every field, in file order.

    Raises:
        DataError: no such set.
    """
    if name not in (HARDSET, TOPICS):
        raise DataError(f"unknown authored set {name!r}; allowed: {HARDSET}, {TOPICS}")
    lines = (AUTHORED / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]
