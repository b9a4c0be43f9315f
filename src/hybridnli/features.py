"""The feature store: what the frozen encoder says about each text, computed once and read ever after.

Axis legend: n texts, L labels, B batch, T tokens, D hidden size.

    <folder>/<key>/key.json                 what the features depend on
                   tokens-*.npy             (sum of T, D) token embeddings, ragged, memory-mapped
                   descriptions-*.npy       (L, D) label embeddings
                   nli-*.npy                (n, L) entailment scores

The key covers model identity (weights, config, tokenizer), length limits and dtype. Rows are named by the hash of
their text, NLI columns by the full hypothesis (template and description). So another template or label adds scores
and encodes no text, a new text is encoded alone, and all heads, seeds, folds and ablations read the same files.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gliznet.batching import token_budget_batches
from hybridnli.encoder import DESCRIPTION_TOKENS, NLIEncoder, Progress, nli_scores, score_ids
from hybridnli.shards import (
    CheckedShards,
    DamagedStoreError,
    key_is_sound,
    only_writer,
    sound_shards,
    write_key,
    write_shard,
)
from hybridnli.store import FeatureStore, gather_nli, open_key, open_store, text_hash

__all__ = ["DamagedStoreError", "FeatureStore", "NLIEncoder", "build_store", "nli_scores", "open_store", "text_hash"]

FORMAT = 1  # of the files; a reader of another format finds no store
STORE_DTYPES = ("float16", "float32")
SHARD_ROWS = 512  # texts in a shard: what a killed run can lose


def build_store(
    encoder: NLIEncoder,
    texts: Sequence[str],
    labels_descriptions: Mapping[str, str],
    folder: str | Path,
    *,
    max_length: int = 128,
    nli_max_length: int | None = None,
    dtype: str = "float16",
    token_budget: int | None = None,
    progress: Progress | None = None,
    checked: CheckedShards | None = None,
) -> FeatureStore:
    """Compute whatever of these texts' features is not in `folder` yet, in length-sorted batches, and open the store.

    Killed at any point, the same call continues after the last complete shard of 512 texts. A damaged shard is made
    again, with a warning. With everything there the encoder is not called.

    Args:
        encoder: the frozen NLI model; its template makes the hypotheses.
        texts: n texts; equal texts share their features.
        labels_descriptions: label name -> description, in column order.
        folder: one folder may hold the features of several models and settings.
        max_length: tokens of a text for its embeddings, special ones included.
        nli_max_length: tokens of a (text, hypothesis) pair; None means the tokenizer's limit.
        dtype: stored dtype of token embeddings, "float16" or "float32".
        token_budget: padded tokens in a batch; None means `encoder.token_budget`.
        progress: called with (stage, rows done, rows in all).
        checked: of an earlier call: its shards are not read and hashed again. A caller that goes through texts in
            blocks passes one dict to all calls.

    Raises:
        ValueError: no texts or labels, an unknown dtype, a non-finite feature.
        DamagedStoreError: a stored file changed while this ran.
    """
    if dtype not in STORE_DTYPES:
        raise ValueError(f"dtype={dtype!r} is not one of {list(STORE_DTYPES)}")
    if not texts or not labels_descriptions:
        raise ValueError(f"{len(texts)} texts and {len(labels_descriptions)} labels; both need at least one")
    key = {
        "format": FORMAT,
        "model": encoder.identity,
        "compute_dtype": encoder.dtype,
        "dtype": dtype,
        "max_length": max_length,
        "nli_max_length": encoder.max_length if nli_max_length is None else nli_max_length,
    }
    root = Path(folder) / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    root.mkdir(parents=True, exist_ok=True)
    budget = encoder.token_budget if token_budget is None else token_budget
    checked = {} if checked is None else checked
    builder = _Builder(encoder, root, key, budget, progress, checked)
    unique = {text_hash(text): text for text in texts}
    descriptions = list(labels_descriptions.values())
    with only_writer(root):  # a second process waits, then finds everything there
        if not key_is_sound(root):
            write_key(root, {**key, "model_name": encoder.name})
        builder.add_tokens(unique)
        builder.add_descriptions(descriptions)
        builder.add_nli(unique, encoder.hypotheses(descriptions))
    return open_key(root, texts, labels_descriptions, encoder.template, checked)


@dataclass(frozen=True)
class _Builder:
    """Adds missing rows to one key's folder."""

    encoder: NLIEncoder
    root: Path
    key: dict[str, Any]
    token_budget: int
    progress: Progress | None
    checked: CheckedShards

    def add_tokens(self, unique: dict[str, str]) -> None:
        there = {row for shard in sound_shards(self.root, "tokens", self.checked) for row in shard.rows}
        missing = [row for row in unique if row not in there]
        done = 0
        for rows, ids in self._sorted_chunks(missing, unique):
            lengths = np.array(self.encoder.text_lengths(ids, self.key["max_length"]))
            ends = lengths.cumsum()
            flat = np.empty((int(ends[-1]), self.encoder.hidden_dim), dtype=self.key["dtype"])
            for batch in token_budget_batches(lengths.tolist(), self.token_budget):
                H, mask = self.encoder.embed_ids([ids[i] for i in batch], self.key["max_length"])
                values = H[mask].to(getattr(torch, self.key["dtype"])).cpu().numpy()  # (sum of T, D)
                places = [np.arange(ends[i] - lengths[i], ends[i]) for i in batch]
                flat[np.concatenate(places)] = values
            write_shard(self.root, "tokens", rows, [], lengths, flat)
            done += len(rows)
            self._report("tokens", done, len(missing))

    def add_descriptions(self, descriptions: list[str]) -> None:
        there = {row for shard in sound_shards(self.root, "descriptions", self.checked) for row in shard.rows}
        missing = [text for text in dict.fromkeys(descriptions) if text_hash(text) not in there]
        if missing:
            values = self.encoder.describe(missing, DESCRIPTION_TOKENS).cpu().numpy()
            rows = [text_hash(text) for text in missing]
            write_shard(self.root, "descriptions", rows, [], np.ones(len(rows), dtype=np.int64), values)

    def add_nli(self, unique: dict[str, str], hypotheses: list[str]) -> None:
        names, columns = list(unique), list(dict.fromkeys(hypotheses))
        absent = np.isnan(
            gather_nli(sound_shards(self.root, "nli", self.checked), names, columns)
        )  # (texts, hypotheses)
        total, done = int(absent.sum()), 0
        hypothesis_ids = self.encoder.tokenize(columns)
        for pattern in np.unique(absent[absent.any(axis=1)], axis=0):  # texts that lack the same columns go together
            members = [names[i] for i in np.flatnonzero((absent == pattern).all(axis=1))]
            wanted = np.flatnonzero(pattern)
            for rows, ids in self._sorted_chunks(members, unique):
                pair_ids = [hypothesis_ids[j] for j in wanted]
                scores = score_ids(self.encoder, ids, pair_ids, self.key["nli_max_length"], self.token_budget)
                lengths = np.ones(len(rows), dtype=np.int64)
                write_shard(self.root, "nli", rows, [columns[j] for j in wanted], lengths, scores)
                done += scores.size
                self._report("nli", done, total)

    def _sorted_chunks(self, rows: list[str], unique: dict[str, str]) -> Iterator[tuple[list[str], list[np.ndarray]]]:
        """Row names with their token ids, longest first, in shards."""
        # Tokenised twice, a shard at a time: the ids of all texts at once would grow with the store.
        lengths = [len(ids) for part in _parts(rows) for ids in self.encoder.tokenize([unique[row] for row in part])]
        order = sorted(range(len(rows)), key=lambda i: (-lengths[i], rows[i]))
        for part in _parts([rows[i] for i in order]):
            yield part, self.encoder.tokenize([unique[row] for row in part])

    def _report(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)


def _parts(rows: Sequence[str]) -> Iterator[list[str]]:
    """Rows in shards."""
    for at in range(0, len(rows), SHARD_ROWS):
        yield list(rows[at : at + SHARD_ROWS])
