"""Reading the feature store: stored token embeddings, label embeddings and NLI scores, without the encoder.

Axis legend: n texts, L labels, B batch, T tokens, D hidden size. `features.py` has the layout of the files.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridnli.shards import CheckedShards, Shard, read_key, read_shards

__all__ = ["FeatureStore", "gather_nli", "open_key", "open_store", "text_hash"]


def text_hash(text: str) -> str:
    """sha256 (hex) of a text, the name of its row."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class FeatureStore:
    """The stored features of n texts, in the caller's order. Needs no encoder.

    Attributes:
        folder: where the files are.
        key: what they depend on (model identity and name, length limits, dtype).
        descriptions: label name -> description, in column order.
        template: hypothesis template of the NLI scores.
        nli: (n, L) float32 entailment scores.
        label_embs: (L, D) float32 embeddings of the descriptions.
        lengths: (n,) tokens of each text.
    """

    folder: Path
    key: dict[str, Any]
    descriptions: dict[str, str]
    template: str
    nli: np.ndarray
    label_embs: np.ndarray
    lengths: np.ndarray
    _arrays: list[np.ndarray]
    _shard: np.ndarray  # (n,) index into _arrays
    _start: np.ndarray  # (n,) first array row

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in column order."""
        return tuple(self.descriptions)

    @property
    def hidden_dim(self) -> int:
        """D."""
        return self.label_embs.shape[1]

    def token_embeddings(
        self, indices: Sequence[int] | np.ndarray, device: str | torch.device = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Token embeddings of some texts, padded to the longest of them.

        Args:
            indices: rows of this store (at least one).
            device: where the tensors go; they travel in the stored dtype.

        Returns:
            H (B, T, D) float32, zero at padding, and mask (B, T) bool.
        """
        rows = np.asarray(indices, dtype=np.int64)
        lengths = self.lengths[rows]
        H = np.zeros((len(rows), int(lengths.max()), self.hidden_dim), dtype=self.key["dtype"])
        for out, row, length in zip(H, rows, lengths, strict=True):
            start = self._start[row]
            out[:length] = self._arrays[self._shard[row]][start : start + length]
        mask = np.arange(H.shape[1]) < lengths[:, None]
        return torch.from_numpy(H).to(device).float(), torch.from_numpy(mask).to(device)


def open_store(
    folder: str | Path,
    texts: Sequence[str],
    labels_descriptions: Mapping[str, str],
    template: str,
    model_identity: str | None = None,
) -> FeatureStore:
    """Open a store that `build_store` has filled, without the encoder.

    Args:
        folder: the folder given to `build_store`.
        texts: texts in the order wanted; all must be stored.
        labels_descriptions: label name -> description, all scored under `template`.
        template: hypothesis template.
        model_identity: `NLIEncoder.identity`; needed only where the folder holds more than one key.

    Raises:
        FileNotFoundError: no store for this model, or texts, labels or scores that are not in it.
        DamagedStoreError: a stored file is not what was written.
    """
    found = {path.parent: read_key(path.parent) for path in sorted(Path(folder).glob("*/key.json"))}
    fitting = [root for root, key in found.items() if model_identity in (None, key["model"])]
    if len(fitting) != 1:
        names = ("model_name", "model", "dtype", "max_length")
        there = [{name: key[name] for name in names} for key in found.values()]
        raise FileNotFoundError(
            f"{folder} holds {len(fitting)} stores of model_identity={model_identity}, need exactly one; it has {there}"
        )
    return open_key(fitting[0], texts, labels_descriptions, template)


def gather_nli(shards: list[Shard], rows: list[str], columns: list[str]) -> np.ndarray:
    """Stored scores (rows, columns), nan where there is none."""
    row_at, column_at = ({name: i for i, name in enumerate(names)} for names in (rows, columns))
    scores = np.full((len(rows), len(columns)), np.nan, dtype=np.float32)
    for shard in shards:
        here = [i for i, row in enumerate(shard.rows) if row in row_at]
        across = [j for j, column in enumerate(shard.columns) if column in column_at]
        into = np.ix_([row_at[shard.rows[i]] for i in here], [column_at[shard.columns[j]] for j in across])
        scores[into] = shard.array[np.ix_(here, across)]
    return scores


def _locate(shards: list[Shard], rows: list[str], what: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shard, first array row and length of each named row; FileNotFoundError if one is not stored."""
    places = {
        row: (number, int(end - length), int(length))
        for number, shard in enumerate(shards)
        for row, length, end in zip(shard.rows, shard.lengths, shard.lengths.cumsum(), strict=True)
    }
    absent = [row for row in rows if row not in places]
    if absent:
        first = rows.index(absent[0])
        raise FileNotFoundError(f"{len(absent)} of {len(rows)} {what} are not in the store, first row {first}")
    shard, start, length = np.array([places[row] for row in rows], dtype=np.int64).T
    return shard, start, length


def open_key(
    root: Path,
    texts: Sequence[str],
    descriptions: Mapping[str, str],
    template: str,
    checked: CheckedShards | None = None,
) -> FeatureStore:
    rows = [text_hash(text) for text in texts]
    tokens = read_shards(root, "tokens", checked)
    shard, start, lengths = _locate(tokens, rows, "texts")
    embedded = read_shards(root, "descriptions", checked)
    label_shard, label_start, _ = _locate(embedded, [text_hash(text) for text in descriptions.values()], "descriptions")
    label_embs = np.stack([embedded[s].array[i] for s, i in zip(label_shard, label_start, strict=True)])
    columns = [template.format(text) for text in descriptions.values()]
    unique_rows, unique_columns = list(dict.fromkeys(rows)), list(dict.fromkeys(columns))
    nli = gather_nli(read_shards(root, "nli", checked), unique_rows, unique_columns)
    row_at, column_at = ({name: i for i, name in enumerate(names)} for names in (unique_rows, unique_columns))
    nli = nli[np.ix_([row_at[row] for row in rows], [column_at[column] for column in columns])]
    if np.isnan(nli).any():
        short = [name for name, gap in zip(descriptions, np.isnan(nli).any(axis=0), strict=True) if gap]
        raise FileNotFoundError(f"NLI scores under template {template!r} are not all in {root} for the labels {short}")
    return FeatureStore(
        folder=root,
        key=read_key(root),
        descriptions=dict(descriptions),
        template=template,
        nli=nli,
        label_embs=label_embs,
        lengths=lengths,
        _arrays=[shard.array for shard in tokens],
        _shard=shard,
        _start=start,
    )
