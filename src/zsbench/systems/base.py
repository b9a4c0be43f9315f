"""What every system offers to the scorer, and what the adapters share.

n texts, L labels.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gliznet.texts import check_texts, space_out_tokens

HALVES = re.compile("[\ud800-\udfff]")  # of surrogate pairs


@runtime_checkable
class System(Protocol):
    """Anything that scores texts against labels. A user's own system needs `score` only."""

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores (n, L) of every text with every label: any real numbers where the largest wins, P in [0, 1] where
        labels are judged one by one. Equal arguments give equal scores."""
        ...


@dataclass(frozen=True)
class Rows:
    """Rows of a prepared test set, for the systems that look at more than texts (`RowSystem`)."""

    dataset: str
    task: str  # "single" | "multi"
    labels: list[str]  # names of the score columns
    sample_ids: list[str]
    splits: list[str]
    gold: list[list[int]]

    @property
    def matrix(self) -> np.ndarray:
        """Gold as (n, L) of 0.0 and 1.0."""
        values = np.zeros((len(self.gold), len(self.labels)))
        for row, indices in zip(values, self.gold, strict=True):
            row[list(indices)] = 1.0
        return values


@runtime_checkable
class RowSystem(Protocol):
    """Scores whole rows: controls, which may see the gold, and scores that somebody else computed."""

    def score_rows(self, rows: Rows) -> np.ndarray:
        """Scores (n, L)."""
        ...


class Adapter:
    """Facts of a built-in text system: where it runs, in which precision, and what it had to cut.

    Args:
        spec: a score spec (`precision`, `token_budget`, `suite`, `settings`).

    Raises:
        ValueError: unknown precision.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        if spec["precision"] not in ("fp32", "bf16"):
            raise ValueError(f"precision={spec['precision']!r} is not allowed; it must be 'fp32' or 'bf16'")
        import torch  # not above: controls and imported scores run without it

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision: str = spec["precision"]
        self.token_budget: int = spec["token_budget"]
        # Labels of `topics` are judged one by one, so scores there are probabilities.
        self.probabilities: bool = spec["suite"] == "topics"
        self._cut = {"truncated_texts": 0, "truncated_labels": 0}

    @property
    def dtype(self) -> str:
        """What the encoder computes in."""
        return {"fp32": "float32", "bf16": "bfloat16"}[self.precision]

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 autocast where the run asks for it."""
        if self.precision != "bf16":
            return nullcontext()
        import torch

        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def count(self, **cut: int) -> None:
        """Add to the truncation counts."""
        for name, number in cut.items():
            self._cut[name] = self._cut.get(name, 0) + int(number)

    def report(self) -> dict[str, int]:
        """Texts and (text, label) pairs that lost tokens since the last call."""
        cut, self._cut = self._cut, dict.fromkeys(self._cut, 0)
        return cut


def check_request(texts: Sequence[str], labels: Sequence[str]) -> None:
    """What every adapter asks of its arguments: lists of texts that an encoding has, and labels that one can see.

    Raises:
        TypeError: one text in place of a list, or an element that is no text. ValueError: no labels, a label without a
        visible character, or half of a surrogate pair (`well_formed` mends that in texts).
    """
    check_texts("texts", texts)
    check_texts("labels", labels)
    if not len(labels):
        raise ValueError("labels is empty; give at least one label")
    for i, label in enumerate(labels):
        if not label.strip():
            raise ValueError(f"labels[{i}]={label!r} is empty; a label must have a visible character")


def well_formed(texts: Sequence[str]) -> list[str]:
    """Texts that every tokenizer accepts: halves of surrogate pairs, which no encoding has, become U+FFFD."""
    return [
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _lone(text) else text for text in texts
    ]


def _lone(text: str) -> bool:
    return not text.isascii() and HALVES.search(text) is not None


def special_tokens(tokenizer: Any) -> list[str]:
    """Every special token of a tokenizer, also those without a role of their own, such as a chat's "<|im_end|>"."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return [*tokenizer.all_special_tokens, *added]


class Neutraliser:
    """Takes the special meaning from marker tokens that a text spells out, so that a text cannot add labels.

    Args:
        tokenizer: whose special tokens are meant.
        markers: further strings it turns into tokens of their own, such as "<<LABEL>>".
    """

    def __init__(self, tokenizer: Any, markers: Sequence[str] = ()) -> None:
        tokens = {token for token in (*special_tokens(tokenizer), *markers) if len(token) > 1}
        longest_first = sorted(tokens, key=lambda token: (-len(token), token))
        self.pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self.tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab()
        self.ids = frozenset(vocabulary[token] for token in tokens if token in vocabulary) - {tokenizer.unk_token_id}
        # A full-width "\uff1c/s\uff1e" is a "</s>" once it is normalised, and the vocabulary may hold that as a piece.
        normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
        self.normalise = None if normalizer is None else normalizer.normalize_str

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """ "[SEP]" becomes "[ SEP]": a space after the first character of each marker, and no other change.

        What becomes a marker only when the tokenizer normalises it gets a space between all its characters.
        """
        pattern = self.pattern
        if pattern is None:
            return list(texts)
        plain = [pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) for text in texts]
        if self.normalise is None:
            return plain
        return [
            space_out_tokens(self.tokenizer, text, self.ids) if pattern.search(self.normalise(text)) else text
            for text in plain
        ]
