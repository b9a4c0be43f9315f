"""The data sets written for and shipped with this project, in the schema of their published counterparts.

`load_hardset_mini` has the schema of `alexneakameni/ZSHOT-HARDSET-v2` (text, labels, not_labels) and
`load_topics_mini` the schema of the HybridNLI benchmark (text, labels), so the same code reads both versions.
"""

import json
from typing import TYPE_CHECKING, Any

from zsbench.data.errors import DataError
from zsbench.data.fetched import AUTHORED

if TYPE_CHECKING:
    from datasets import Dataset

HARDSET, HARDSET_MORE, TOPICS = "hardset-mini", "hardset-more", "topics-mini"


def read_authored(name: str) -> list[dict[str, Any]]:
    """All rows of a file of the authored sets, with every field, in order.

    Args:
        name: `hardset-mini`, its extension `hardset-more`, `hardset-more.reread` (a second reading) or `topics-mini`.

    Raises:
        DataError: no such file.
    """
    path = AUTHORED / f"{name}.jsonl"
    if not path.is_file():
        allowed = ", ".join(sorted(path.stem for path in AUTHORED.glob("*.jsonl")))
        raise DataError(f"unknown authored set {name!r}; allowed: {allowed}")
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def load_hardset_mini(split: str) -> "Dataset":
    """One split of hardset-mini: features `text` (string), `labels` and `not_labels` (lists of string).

    Args:
        split: "train", "validation" or "test".

    Raises:
        DataError: no such split.
    """
    return _load(HARDSET, split, ("text", "labels", "not_labels"))


def load_topics_mini(split: str) -> "Dataset":
    """One split of topics-mini: features `text` (string) and `labels` (list of string, empty if none is true).

    Args:
        split: "train", "validation" or "test".

    Raises:
        DataError: no such split.
    """
    return _load(TOPICS, split, ("text", "labels"))


def _load(name: str, split: str, columns: tuple[str, ...]) -> "Dataset":
    # Imported here because `datasets` takes a second to import and the checks of these sets do not need it.
    from datasets import Dataset, Features, List, Value

    rows = read_authored(name)
    known = sorted({row["split"] for row in rows})
    if split not in known:
        raise DataError(f"{name} has no split {split!r}; allowed: {', '.join(known)}")
    features = Features({column: Value("string") if column == "text" else List(Value("string")) for column in columns})
    picked = [{column: row[column] for column in columns} for row in rows if row["split"] == split]
    return Dataset.from_list(picked, features=features)
