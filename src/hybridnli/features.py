"""The feature store: outputs of the frozen encoder per text, computed once and then reused.

    <folder>/<key>/key.json                    everything the features depend on, and the model name
                   tokens-*.safetensors        (sum of T, D) token embeddings, ragged
                   descriptions-*.safetensors  (L, D) label embeddings
                   nli-*.safetensors           (n, L) entailment scores

The key covers model identity (weights, config, tokenizer), length limits and dtypes. Rows are keyed by the hash of
their text, NLI columns by the full hypothesis (template and description). A new template or label therefore only adds
NLI scores, only new texts are encoded, and all heads, seeds, folds and ablations share the same files.

Shapes: n texts, L labels, B batch, T tokens, D hidden size.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gliznet.batching import token_budget_batches
from gliznet.device import to_device, to_host
from hybridnli.encoder import DESCRIPTION_TOKENS, NLIEncoder, score_ids
from hybridnli.shards import CheckedShards, Shard, read_shards, write_shard, writing

__all__ = ["CheckedShards", "FeatureStore", "build_store"]

FORMAT = 2  # file format version; features in another format are recomputed
Progress = Callable[[str, int, int], None]  # (stage, rows done, total rows)
STORE_DTYPES = ("float16", "float32")
SHARD_ROWS = 512  # texts per shard; a killed run loses at most the current shard


@dataclass(frozen=True)
class FeatureStore:
    """The stored features of n texts in the caller's order. Reading them needs no encoder.

    Attributes:
        folder: folder with the files.
        model_name: name of the encoder.
        descriptions: label name -> description, in column order.
        template: hypothesis template of the NLI scores.
        nli: (n, L) float32 entailment scores.
        label_embs: (L, D) float32 embeddings of the descriptions.
        lengths: (n,) number of tokens per text.
    """

    folder: Path
    model_name: str
    descriptions: dict[str, str]
    template: str
    nli: np.ndarray
    label_embs: np.ndarray
    lengths: np.ndarray
    _dtype: str  # dtype of the stored token embeddings
    _shards: list[Shard]
    _shard: np.ndarray  # (n,) index into _shards
    _start: np.ndarray  # (n,) first row in the array of the shard

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in column order."""
        return tuple(self.descriptions)

    @property
    def hidden_dim(self) -> int:
        """Hidden size D of the encoder."""
        return self.label_embs.shape[1]

    def token_embeddings(
        self, indices: Sequence[int] | np.ndarray, device: str | torch.device = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Token embeddings of some texts, padded to the longest of them.

        Args:
            indices: rows of this store (at least one).
            device: target device; tensors are transferred in the stored dtype.

        Returns:
            H (B, T, D) float32, zero at padding, and mask (B, T) bool.
        """
        rows = np.asarray(indices, dtype=np.int64)
        lengths = self.lengths[rows]
        H = np.zeros((len(rows), int(lengths.max()), self.hidden_dim), dtype=self._dtype)
        for out, row, length in zip(H, rows, lengths, strict=True):
            start = int(self._start[row])
            out[:length] = self._shards[self._shard[row]].values[start : start + int(length)]
        mask = np.arange(H.shape[1]) < lengths[:, None]
        return to_device(torch.from_numpy(H), device).float(), to_device(torch.from_numpy(mask), device)


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
    """Compute the missing features of these texts in length-sorted batches, and open the store.

    After an interruption, the same call resumes after the last complete shard of 512 texts. A damaged shard is
    recomputed with a warning. If all features exist, the encoder is not called.

    Args:
        encoder: the frozen NLI model; its template builds the hypotheses.
        texts: n texts; duplicates share their features.
        labels_descriptions: label name -> description, in column order.
        folder: target folder; it can contain features of several models and settings.
        max_length: maximum tokens per text for embeddings, including special tokens.
        nli_max_length: maximum tokens per (text, hypothesis) pair; None: the model's limit.
        dtype: stored dtype of token embeddings, "float16" or "float32".
        token_budget: tokens per batch, padding included; None: `encoder.token_budget`.
        progress: called with (stage, rows done, total rows).
        checked: shards verified by earlier calls; these are not verified again. To process texts in blocks, pass the
            same dict to all calls.

    Raises:
        ValueError: no texts or labels, an unknown dtype, a non-finite feature.
    """
    if dtype not in STORE_DTYPES:
        raise ValueError(f"dtype: {dtype!r} is not allowed; allowed: {', '.join(STORE_DTYPES)}")
    if not len(texts) or not labels_descriptions:
        raise ValueError(f"{len(texts)} texts and {len(labels_descriptions)} labels; at least one of each is required")
    key = {
        "format": FORMAT,
        "model": encoder.identity,
        "compute_dtype": encoder.dtype,
        "dtype": dtype,
        "max_length": max_length,
        "nli_max_length": encoder.max_length if nli_max_length is None else nli_max_length,
    }
    root = Path(folder) / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    budget = encoder.token_budget if token_budget is None else token_budget
    builder = _Builder(encoder, root, key, budget, progress, {} if checked is None else checked)
    unique = {text_hash(text): text for text in texts}
    descriptions = list(labels_descriptions.values())
    with writing(root):  # a second process waits here and then finds all features
        model_name = _model_name(root / "key.json", key, encoder.name)
        tokens = builder.add_tokens(unique)
        embedded = builder.add_descriptions(descriptions)
        scored = builder.add_nli(unique, encoder.hypotheses(descriptions))
    rows = [text_hash(text) for text in texts]
    shard, start, lengths = _locate(tokens, rows)
    label_shard, label_start, _ = _locate(embedded, [text_hash(text) for text in descriptions])
    label_rows = zip(label_shard.tolist(), label_start.tolist(), strict=True)
    return FeatureStore(
        folder=root,
        model_name=model_name,
        descriptions=dict(labels_descriptions),
        template=encoder.template,
        nli=_stored_nli(scored, rows, encoder.hypotheses(descriptions)),
        label_embs=np.concatenate([embedded[i].values[row : row + 1] for i, row in label_rows]),
        lengths=lengths,
        _dtype=dtype,
        _shards=tokens,
        _shard=shard,
        _start=start,
    )


def _model_name(path: Path, key: dict[str, Any], name: str) -> str:
    """The model name recorded in `key.json`; the file is written with `name` if it is missing or damaged."""
    try:
        return json.loads(path.read_text())["model_name"]
    except (OSError, ValueError):
        path.write_text(json.dumps({**key, "model_name": name}))
        return name


def _locate(shards: list[Shard], rows: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shard index, first array row and length of each row by name, (rows,) int64 each."""
    location = {
        row: (i, int(end - length), int(length))
        for i, shard in enumerate(shards)
        for row, length, end in zip(shard.rows, shard.lengths, shard.lengths.cumsum(), strict=True)
    }
    shard, start, length = np.array([location[row] for row in rows], dtype=np.int64).T
    return shard, start, length


def _stored_nli(shards: list[Shard], rows: list[str], columns: list[str]) -> np.ndarray:
    """Stored scores (rows, columns) float32, NaN where missing. Names may repeat."""
    row_at, column_at = ({name: i for i, name in enumerate(dict.fromkeys(names))} for names in (rows, columns))
    scores = np.full((len(row_at), len(column_at)), np.nan, dtype=np.float32)
    for shard in shards:
        here = [i for i, row in enumerate(shard.rows) if row in row_at]
        across = [j for j, column in enumerate(shard.columns) if column in column_at]
        into = np.ix_([row_at[shard.rows[i]] for i in here], [column_at[shard.columns[j]] for j in across])
        scores[into] = shard.values[:][np.ix_(here, across)]
    return scores[np.ix_([row_at[row] for row in rows], [column_at[column] for column in columns])]


def text_hash(text: str) -> str:
    """SHA-256 (hex) of a text, used as its row name."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class _Builder:
    """Adds missing rows to the folder of a key; each `add_` method returns all shards of its kind."""

    encoder: NLIEncoder
    root: Path
    key: dict[str, Any]
    token_budget: int
    progress: Progress | None
    checked: CheckedShards

    def add_tokens(self, unique: dict[str, str]) -> list[Shard]:
        stored = {row for shard in self._read("tokens") for row in shard.rows}
        missing = [row for row in unique if row not in stored]
        done = 0
        for rows, ids in self._sorted_shards(missing, unique):
            lengths = np.array(self.encoder.text_lengths(ids, self.key["max_length"]))
            ends = lengths.cumsum()
            flat = np.empty((int(ends[-1]), self.encoder.hidden_dim), dtype=self.key["dtype"])
            for batch, H in to_host(self._launch_tokens(ids, lengths)):
                for i, states in zip(batch, H.numpy(), strict=True):
                    flat[ends[i] - lengths[i] : ends[i]] = states[: lengths[i]]
            write_shard(self.root, "tokens", rows, [], lengths, flat)
            done += len(rows)
            self._report("tokens", done, len(missing))
        return self._read("tokens")

    def _launch_tokens(self, ids: list[np.ndarray], lengths: np.ndarray) -> Iterator[tuple[list[int], Tensor]]:
        """The texts of each batch and their token embeddings (B, T, D) in the stored dtype."""
        for batch in token_budget_batches(lengths.tolist(), self.token_budget):
            H, _ = self.encoder.embed_ids([ids[i] for i in batch], self.key["max_length"])
            yield batch, H.to(getattr(torch, self.key["dtype"]))

    def add_descriptions(self, descriptions: list[str]) -> list[Shard]:
        stored = {row for shard in self._read("descriptions") for row in shard.rows}
        missing = [text for text in dict.fromkeys(descriptions) if text_hash(text) not in stored]
        if missing:
            values = self.encoder.describe(missing, DESCRIPTION_TOKENS).cpu().numpy()
            rows = [text_hash(text) for text in missing]
            write_shard(self.root, "descriptions", rows, [], np.ones(len(rows), dtype=np.int64), values)
        return self._read("descriptions")

    def add_nli(self, unique: dict[str, str], hypotheses: list[str]) -> list[Shard]:
        names, columns = list(unique), list(dict.fromkeys(hypotheses))
        absent = np.isnan(_stored_nli(self._read("nli"), names, columns))  # (texts, hypotheses)
        total, done = int(absent.sum()), 0
        hypothesis_ids = self.encoder.tokenize(columns)
        for pattern in np.unique(absent[absent.any(axis=1)], axis=0):  # group texts that lack the same columns
            members = [names[i] for i in np.flatnonzero((absent == pattern).all(axis=1))]
            wanted = np.flatnonzero(pattern)
            for rows, ids in self._sorted_shards(members, unique):
                pair_ids = [hypothesis_ids[j] for j in wanted]
                scores = score_ids(self.encoder, ids, pair_ids, self.key["nli_max_length"], self.token_budget)
                lengths = np.ones(len(rows), dtype=np.int64)
                write_shard(self.root, "nli", rows, [columns[j] for j in wanted], lengths, scores)
                done += scores.size
                self._report("nli", done, total)
        return self._read("nli")

    def _read(self, kind: str) -> list[Shard]:
        return read_shards(self.root, kind, self.checked)

    def _sorted_shards(self, rows: list[str], unique: dict[str, str]) -> Iterator[tuple[list[str], list[np.ndarray]]]:
        """Row names with their token ids, longest first, SHARD_ROWS at a time."""
        # Tokenise twice, one shard at a time, because holding the ids of all texts could exhaust memory.
        lengths = [len(ids) for names in _shards_of(rows) for ids in self._token_ids(names, unique)]
        order = sorted(range(len(rows)), key=lambda i: (-lengths[i], rows[i]))
        for names in _shards_of([rows[i] for i in order]):
            yield names, self._token_ids(names, unique)

    def _token_ids(self, rows: list[str], unique: dict[str, str]) -> list[np.ndarray]:
        return self.encoder.tokenize([unique[row] for row in rows])

    def _report(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)


def _shards_of(rows: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(rows), SHARD_ROWS):
        yield rows[first : first + SHARD_ROWS]
