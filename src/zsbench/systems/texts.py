"""Preparation of texts and labels for a model: validation, well-formed Unicode, and escaping of special tokens."""

import re
from collections.abc import Sequence
from typing import Any

from gliznet.texts import SURROGATES, check_texts, space_out_tokens


def check_request(texts: Sequence[str], labels: Sequence[str]) -> None:
    """Validate the arguments of an adapter: a list of encodable strings, and labels with visible characters.

    Raises:
        TypeError: a single string instead of a list, or an element that is not a string.
        ValueError: no labels, a label without a visible character, or an unpaired surrogate (`well_formed` replaces
            it in texts).
    """
    check_texts("texts", texts)
    check_texts("labels", labels)
    if not len(labels):
        raise ValueError("labels: is empty; give at least one label")
    for i, label in enumerate(labels):
        if not label.strip():
            raise ValueError(f"labels[{i}]: {label!r} is empty; a label must have a visible character")


def well_formed(texts: Sequence[str]) -> list[str]:
    """Texts that every tokenizer accepts: unpaired surrogates, which cannot be encoded, become U+FFFD."""
    return [
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if not text.isascii() and SURROGATES.search(text)
        else text
        for text in texts
    ]


def special_tokens(tokenizer: Any) -> list[str]:
    """All special tokens of a tokenizer, including those without a named role, such as "<|im_end|>"."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return [*tokenizer.all_special_tokens, *added]


class EscapeSpecialTokens:
    """Escapes special tokens spelled out in a text, so that a text cannot inject labels.

    Args:
        tokenizer: its special tokens are escaped.
        markers: further strings with a special meaning for the model, such as "<<LABEL>>".
    """

    def __init__(self, tokenizer: Any, markers: Sequence[str] = ()) -> None:
        tokens = {token for token in (*special_tokens(tokenizer), *markers) if len(token) > 1}
        longest_first = sorted(tokens, key=lambda token: (-len(token), token))
        self.pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self.tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab()
        self.ids = frozenset(vocabulary[token] for token in tokens if token in vocabulary) - {tokenizer.unk_token_id}
        # A full-width "\uff1c/s\uff1e" is normalised to "</s>", which the vocabulary may contain as a piece.
        normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
        self.normalise = None if normalizer is None else normalizer.normalize_str

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Insert a space after the first character of each special token or marker: "[SEP]" becomes "[ SEP]".

        Strings that become one only after normalisation get spaces between all characters. Nothing else changes.
        """
        pattern = self.pattern
        if pattern is None:
            return list(texts)
        plain = [pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text) for text in texts]
        if self.normalise is None:
            return plain
        return [
            space_out_tokens(self.tokenizer, text, self.ids) if pattern.search(self.normalise(text)) else text
            for text in plain
        ]
