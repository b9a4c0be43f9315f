"""What a text is, checked once for both models: a string that an encoding has."""

import re
from collections.abc import Sequence

_HALVES = re.compile("[\ud800-\udfff]")  # of surrogate pairs: no tokenizer takes them


def check_texts(name: str, texts: Sequence[str]) -> None:
    """Refuse what is no list of texts.

    Args:
        name: what messages call the list.
        texts: the list.

    Raises:
        TypeError: one string in place of a list, or an element that is no string (its index is named).
        ValueError: half of a surrogate pair, which no encoding has (its index is named).
    """
    if isinstance(texts, str | bytes):
        raise TypeError(f"{name}={texts!r:.60} is one text; it must be a list of texts")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}] is {type(text).__name__}, it must be a string")
        if not text.isascii() and _HALVES.search(text):
            raise ValueError(f"{name}[{i}] holds half of a surrogate pair, which no encoding has")
