"""Text handling for both models: validation, and neutralising special tokens spelled out in a text."""

import re
from collections.abc import Collection, Sequence
from typing import Any

SURROGATES = re.compile("[\ud800-\udfff]")  # halves of surrogate pairs, which tokenizers cannot encode


def check_texts(name: str, texts: Sequence[str]) -> None:
    """Raise unless `texts` is a list of valid texts.

    Args:
        name: name of the argument in error messages.
        texts: the list.

    Raises:
        TypeError: a single string, or an element that is not a string (the message gives its index).
        ValueError: an unpaired surrogate, which cannot be encoded (the message gives its index).
    """
    if isinstance(texts, str | bytes):
        raise TypeError(f"{name}: {texts!r:.60} is a single text; must be a list of texts")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}]: is {type(text).__name__}; must be a string")
        if not text.isascii() and SURROGATES.search(text):
            raise ValueError(f"{name}[{i}]: contains an unpaired surrogate, which cannot be encoded")


def space_out_tokens(tokenizer: Any, text: str, ids: Collection[int], **settings: Any) -> str:
    """Insert spaces between the characters of every token whose id is in `ids`; the rest of the text is unchanged.

    The check uses the tokenizer's output, so it also catches special tokens that arise only through normalisation (such
    as full-width letters).

    Args:
        tokenizer: a fast tokenizer.
        text: any text.
        ids: ids of the special tokens.
        settings: further keywords for the tokenizer.

    Returns:
        The changed text.
    """
    settings = {"add_special_tokens": False, "truncation": False, "verbose": False} | settings
    encoded = tokenizer(text, return_offsets_mapping=True, **settings)
    for token, (start, end) in reversed(list(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True))):
        if token in ids:
            text = text[:start] + " ".join(text[start:end]) + text[end:]
    return text
