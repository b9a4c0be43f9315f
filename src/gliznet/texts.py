"""What a text is, checked once for both models: a string that an encoding has, and that spells no special token."""

import re
from collections.abc import Collection, Sequence
from typing import Any

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


def spaced_out(tokenizer: Any, text: str, ids: Collection[int], **how: Any) -> str:
    """The text with a space between all characters that give one of these token ids, whatever the tokenizer makes of
    them before (full-width letters, say); nothing else changes.

    Args:
        tokenizer: a fast tokenizer.
        text: any text.
        ids: of the special tokens.
        how: further keywords of the tokenizer.
    """
    settings = {"add_special_tokens": False, "truncation": False, "verbose": False} | how
    encoded = tokenizer(text, return_offsets_mapping=True, **settings)
    for token, (start, end) in reversed(list(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True))):
        if token in ids:
            text = text[:start] + " ".join(text[start:end]) + text[end:]
    return text
