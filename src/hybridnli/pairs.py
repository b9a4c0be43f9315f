"""Token ids of texts and (text, hypothesis) pairs, built without tokenising anything twice.

A zero-shot pipeline tokenises each text once per label. Here, each text and hypothesis is tokenised once, and pairs are
joined as ids, `prefix + text + middle + hypothesis + suffix`, with the special tokens that the tokenizer would add.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from gliznet.texts import check_texts

__all__ = ["IdsBatch", "SpecialTokens", "tokenize"]

IdsBatch = dict[str, torch.Tensor]
PROBE = ("a", "b")  # encoded to find out where special tokens go; any two texts of at least one token would do


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> list[np.ndarray]:
    """Token ids (int64) of each text without special tokens, truncated on the right to `max_length`."""
    check_texts("texts", texts)
    if not len(texts):
        return []
    ids = tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=max_length)["input_ids"]
    return [np.asarray(row, dtype=np.int64) for row in ids]


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens that a tokenizer adds around a text (one segment) or a pair (two segments).

    Attributes:
        pieces: token ids before, between and after the segments (number of segments + 1).
        piece_types: token type ids of those pieces.
        segment_types: token type id of each segment.
        pad_id: id of the padding token.
    """

    pieces: tuple[tuple[int, ...], ...]
    piece_types: tuple[tuple[int, ...], ...]
    segment_types: tuple[int, ...]
    pad_id: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, segments: int) -> "SpecialTokens":
        """Determine the special tokens by encoding a probe of one or two segments.

        Raises:
            ValueError: the tokenizer is not fast, has no padding token, or truncates on the left.
        """
        name = type(tokenizer).__name__
        if not tokenizer.is_fast or tokenizer.pad_token_id is None or tokenizer.truncation_side != "right":
            raise ValueError(
                f"tokenizer: {name} (is_fast={tokenizer.is_fast}, pad_token_id={tokenizer.pad_token_id}, "
                f"truncation_side={tokenizer.truncation_side!r}) must be fast, have a pad token and truncate on the "
                "right"
            )
        encoding = tokenizer(*PROBE[:segments], return_token_type_ids=True)
        pieces: list[list[int]] = [[] for _ in range(segments + 1)]
        types: list[list[int]] = [[] for _ in range(segments + 1)]
        segment_types, seen = [0] * segments, 0
        rows = zip(encoding.sequence_ids(0), encoding["input_ids"], encoding["token_type_ids"], strict=True)
        for segment, token, kind in rows:
            if segment is None:
                pieces[seen].append(token)
                types[seen].append(kind)
            else:
                seen, segment_types[segment] = segment + 1, kind
        if seen != segments:
            raise ValueError(f"tokenizer: {name} gives no token for one of the probe texts {PROBE[:segments]}")
        frozen = (tuple(map(tuple, pieces)), tuple(map(tuple, types)))
        return cls(*frozen, segment_types=tuple(segment_types), pad_id=tokenizer.pad_token_id)

    @property
    def count(self) -> int:
        """Number of special tokens per row."""
        return sum(map(len, self.pieces))

    def batch(self, rows: Sequence[Sequence[np.ndarray]]) -> IdsBatch:
        """Join segments and pad to the longest row.

        Args:
            rows: for each row, the token ids of its segments.

        Returns:
            input_ids, attention_mask, token_type_ids, each (B, T) int64, padded on the right.
        """
        lengths = np.array([sum(map(len, row)) + self.count for row in rows])
        shape = (len(rows), int(lengths.max()))
        input_ids = np.full(shape, self.pad_id, dtype=np.int64)
        token_types = np.zeros(shape, dtype=np.int64)
        for out, out_types, row in zip(input_ids, token_types, rows, strict=True):
            at = len(self.pieces[0])
            out[:at], out_types[:at] = self.pieces[0], self.piece_types[0]
            for segment, kind, after, after_types in zip(
                row, self.segment_types, self.pieces[1:], self.piece_types[1:], strict=True
            ):
                end = at + len(segment)
                out[at:end], out_types[at:end] = segment, kind
                at = end + len(after)
                out[end:at], out_types[end:at] = after, after_types
        mask = (np.arange(shape[1]) < lengths[:, None]).astype(np.int64)
        arrays = {"input_ids": input_ids, "attention_mask": mask, "token_type_ids": token_types}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
