"""What a text is, for both models: a string that has an encoding and that spells no special token."""

import re
from collections.abc import Collection, Sequence
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")  # halves of surrogate pairs: no tokenizer takes them


def check_texts(name: str, texts: Sequence[str]) -> None:
    """Refuse anything but a list of texts.

    Args:
        name: the list's name in messages.
        texts: the list.

    Raises:
        TypeError: one string in place of a list, or an element that is not a string (its index is named).
        ValueError: half of a surrogate pair, which has no encoding (its index is named).
    """
    if isinstance(texts, str | bytes):
        raise TypeError(f"{name}: {texts!r:.60} is a single text; must be a list of texts")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}]: is {type(text).__name__}; must be a string")
        if not text.isascii() and _SURROGATES.search(text):
            raise ValueError(f"{name}[{i}]: holds half of a surrogate pair, which has no encoding")


def space_out_tokens(tokenizer: Any, text: str, ids: Collection[int], **settings: Any) -> str:
    """The text with spaces between the characters of every token whose id is in `ids`; nothing else changes.

    It works on what the tokenizer makes of the text, so it also catches what only normalisation turns into a special
    token (full-width letters, say).

    Args:
        tokenizer: a fast tokenizer.
        text: any text.
        ids: of the special tokens.
        settings: further keywords of the tokenizer.
    """
    settings = {"add_special_tokens": False, "truncation": False, "verbose": False} | settings
    encoded = tokenizer(text, return_offsets_mapping=True, **settings)
    for token, (start, end) in reversed(list(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True))):
        if token in ids:
            text = text[:start] + " ".join(text[start:end]) + text[end:]
    return text
