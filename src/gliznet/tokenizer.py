"""Tokenises texts and label sets as `[CLS] text [SEP] label_1 [LAB] ... label_K [LAB]`.

Source: docs/models/gliznet.md section 3.

Shapes: B batch, T tokens. `lmask` is 0 for text, special tokens and padding, and j (from 1) for the word pieces of
label j.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AddedToken, AutoTokenizer, BatchEncoding, PreTrainedTokenizerFast
from transformers.utils import cached_file

from gliznet.config import GliZNetConfig
from gliznet.options import GliZNetOptions
from gliznet.texts import check_texts, space_out_tokens
from gliznet.truncation import keep_lengths, plan_chunks, text_room

LAB = "[LAB]"
OPTIONS_FILE = "gliznet_tokenizer.json"
MAX_CACHED_LABELS = 100_000  # the cache is emptied when full


@dataclass(frozen=True)
class Row:
    """One sequence before padding, and what was truncated."""

    input_ids: list[int]
    lmask: list[int]
    text_cut: bool  # whether the text was truncated
    labels_cut: int  # labels that lost pieces (reference truncation only)
    labels_lost: int  # labels whose [LAB] was cut off (reference truncation only)


class GliZNETTokenizer:
    """Wraps an encoder's fast tokenizer: adds `[LAB]`, label sets per text and a truncation policy.

    Special tokens spelled out in a text or label are never mapped to special token ids.

    Args:
        backend: a fast tokenizer; `[LAB]` is added in place if missing.
        options: truncation policy and limits.

    Raises:
        ValueError: not a fast tokenizer, or one without CLS, SEP or PAD.
    """

    def __init__(self, backend: PreTrainedTokenizerFast, options: GliZNetOptions | None = None) -> None:
        if not getattr(backend, "is_fast", False):
            raise ValueError(f"backend: {type(backend).__name__} is not a fast tokenizer")
        for name in ("cls_token_id", "sep_token_id", "pad_token_id"):
            if getattr(backend, name) is None:
                raise ValueError(f"backend: {type(backend).__name__} has no {name}")
        if LAB not in backend.all_special_tokens:  # where the published code looks for it
            lab = AddedToken(LAB, special=True, normalized=False)
            backend.add_special_tokens({"additional_special_tokens": [*backend.extra_special_tokens, lab]})
        self.backend = backend
        self.options = options or GliZNetOptions()
        backend.model_max_length = self.options.max_length  # where the published code truncates
        self.lab_token_id: int = backend.get_vocab()[LAB]
        added = {token.content for token in backend.added_tokens_decoder.values() if token.special}  # includes [LAB]
        self._specials = sorted({*backend.all_special_tokens, *added} - {backend.unk_token})
        self._special_ids = frozenset(backend.get_vocab()[token] for token in self._specials)
        self._pieces: dict[str, list[int]] = {}

    def __len__(self) -> int:
        """Vocabulary size, including `[LAB]`."""
        return len(self.backend)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, options: GliZNetOptions | None = None, **hub: Any
    ) -> "GliZNETTokenizer":
        """Load the tokenizer of a GliZNet checkpoint, or the tokenizer of an encoder and add `[LAB]`.

        Args:
            source: folder or hub id.
            options: None reads them from a GliZNet `config.json` or `gliznet_tokenizer.json`; if neither exists, the
                defaults apply.
            hub: hub options (`revision`, `token`, ...), as in transformers.
        """
        backend: Any = AutoTokenizer.from_pretrained(str(source), use_fast=True, trust_remote_code=False, **hub)
        return cls(backend, options or _stored_options(str(source), hub))

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the tokenizer with `[LAB]` and its options in a folder."""
        self.backend.save_pretrained(str(folder))
        (Path(folder) / OPTIONS_FILE).write_text(json.dumps(dataclasses.asdict(self.options), indent=2) + "\n")

    def tokenize_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text without special tokens, in one call of the fast tokenizer.

        Raises:
            TypeError: an element is not a string.
            ValueError: an unpaired surrogate (the message gives the index).
        """
        check_texts("texts", texts)
        return self._ids(list(texts)) if len(texts) else []

    def label_pieces(self, labels: Sequence[str]) -> list[list[int]]:
        """Token ids of each label's word pieces, cached; with `label_frame`, they start with [CLS].

        Raises:
            ValueError: a label is empty, blank, or has no word pieces (the message gives the index).
        """
        for i, label in enumerate(labels):
            if not isinstance(label, str) or not label.strip():
                raise ValueError(f"labels[{i}]: {label!r} is empty; must be a string with a visible character")
        check_texts("labels", labels)
        new = [label for label in dict.fromkeys(labels) if label not in self._pieces]
        if len(self._pieces) + len(new) > MAX_CACHED_LABELS:
            self._pieces, new = {}, list(dict.fromkeys(labels))
        if new:
            frame = [self.backend.cls_token_id] if self.options.label_frame else []
            ids = self._ids([label.strip() for label in new])
            self._pieces |= {label: frame + row if row else [] for label, row in zip(new, ids, strict=True)}
        pieces = [self._pieces[label] for label in labels]
        if not all(pieces):
            i = pieces.index([])
            raise ValueError(f"labels[{i}]: {labels[i]!r} gives no word piece with this tokenizer")
        return pieces

    def _ids(self, strings: list[str]) -> list[list[int]]:
        """Token ids of each string; special tokens spelled out in a string become ordinary tokens."""
        encoded = self.backend(
            strings,
            add_special_tokens=False,
            split_special_tokens=True,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        for i, ids in enumerate(encoded):
            if not self._special_ids.isdisjoint(ids):  # Unigram vocabularies also contain them as ordinary pieces
                encoded[i] = self._escape_special_tokens(strings[i])
        return encoded

    def _escape_special_tokens(self, string: str) -> list[int]:
        """Token ids of a string, with spaces inserted into each special token that it spells out."""
        for token in self._specials:
            string = string.replace(token, f"{token[0]} {token[1:]}")
        string = space_out_tokens(self.backend, string, self._special_ids, split_special_tokens=True)  # full-width ones
        ids = self.backend(string, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        if not self._special_ids.isdisjoint(ids):
            raise ValueError(f"{string[:80]!r} gives special token ids, which text must not contain")
        return ids

    def plan_chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Split a label set into chunks that each fit into one sequence; see `truncation.plan_chunks`.

        Raises:
            LabelBudgetError: a single label does not fit.
            ValueError: an empty label.
        """
        return plan_chunks([len(ids) for ids in self.label_pieces(labels)], self.options)

    def text_room(self, labels: Sequence[str]) -> int:
        """Number of text tokens that fit with these labels; errors as in `truncation.text_room`."""
        return text_room([len(ids) for ids in self.label_pieces(labels)], self.options)

    def build_row(self, text_ids: Sequence[int], labels: Sequence[str]) -> Row:
        """Build one sequence from a tokenised text (`tokenize_texts`) and its label set.

        Raises:
            ValueError: no label, an empty label, or more than `max_labels` (not in order-invariant mode).
            LabelBudgetError: the labels do not fit (label-first truncation).
        """
        o = self.options
        if not labels:
            raise ValueError("labels: is empty; a text needs at least one label")
        if len(labels) > o.max_labels and not o.order_invariant:
            raise ValueError(f"labels: {len(labels)} exceed max_labels={o.max_labels}; split them with plan_chunks")
        pieces = self.label_pieces(labels)
        text_keep, keeps = keep_lengths(len(text_ids), [len(ids) for ids in pieces], o)
        input_ids = [self.backend.cls_token_id, *text_ids[:text_keep], self.backend.sep_token_id]
        lmask = [0] * len(input_ids)
        for j, (ids, keep) in enumerate(zip(pieces, keeps, strict=True), start=1):
            input_ids += [*ids[:keep], self.lab_token_id]
            lmask += [j] * keep + [0]
        cut = sum(keep < len(ids) for ids, keep in zip(pieces, keeps, strict=True))
        lost = 0
        if o.truncation == "reference" and len(input_ids) > o.max_length:
            lost = input_ids[o.max_length :].count(self.lab_token_id)
            input_ids, lmask = input_ids[: o.max_length], lmask[: o.max_length]
        return Row(input_ids, lmask, text_keep < len(text_ids), cut, lost)

    def encode_rows(self, texts: Sequence[str], label_sets: Sequence[Sequence[str]]) -> list[Row]:
        """One unpadded sequence per text; see `build_row` for the errors.

        Raises:
            ValueError: different numbers of texts and label sets.
        """
        if len(texts) != len(label_sets):
            raise ValueError(f"label_sets: {len(label_sets)} for {len(texts)} texts; give one set per text")
        ids = self.tokenize_texts(texts)
        return [self.build_row(text, labels) for text, labels in zip(ids, label_sets, strict=True)]

    def pad(self, rows: Sequence[Row]) -> BatchEncoding:
        """Right-pad rows to the longest: `input_ids`, `attention_mask` and `lmask`, (B, T) int64 each."""
        T = max(len(row.input_ids) for row in rows)
        pad = self.backend.pad_token_id
        ids = [row.input_ids + [pad] * (T - len(row.input_ids)) for row in rows]
        lmask = [row.lmask + [0] * (T - len(row.lmask)) for row in rows]
        lengths = torch.tensor([len(row.input_ids) for row in rows])
        attention = (torch.arange(T) < lengths.unsqueeze(1)).long()
        tensors = {"input_ids": torch.tensor(ids), "attention_mask": attention, "lmask": torch.tensor(lmask)}
        return BatchEncoding(tensors)

    def __call__(self, texts: Sequence[str], label_sets: Sequence[Sequence[str]]) -> BatchEncoding:
        """Tokenise, truncate and pad a batch, one label set per text: the arguments of the model's forward.

        Errors as in `build_row` and `encode_rows`.
        """
        return self.pad(self.encode_rows(texts, label_sets))


def _stored_options(source: str, hub: dict[str, Any]) -> GliZNetOptions:
    """The options of a checkpoint, or the defaults for a plain encoder."""
    path = cached_file(source, "config.json", _raise_exceptions_for_missing_entries=False, **hub)
    if path is not None and json.loads(Path(path).read_text()).get("model_type") == "gliznet":
        return GliZNetConfig.from_json_file(path).options
    path = cached_file(source, OPTIONS_FILE, _raise_exceptions_for_missing_entries=False, **hub)
    if path is not None:
        return GliZNetOptions(**json.loads(Path(path).read_text()))
    return GliZNetOptions()
