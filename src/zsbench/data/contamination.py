"""Contamination: which texts of a test set occur, word for word or nearly, in a training set.

Exact: equal after normalisation. Near: Jaccard similarity of word triples of at least `NEAR`; pairs are found by
MinHash with banding (Broder 1997; Leskovec et al., Mining of Massive Datasets, ch. 3) and then measured exactly.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zsbench.integrity import check_rows
from zsbench.layout import Layout
from zsbench.provenance import write_json

SHINGLE_WORDS = 3
NEAR = 0.5  # unrelated texts share below 0.1 of their triples; a text with a few words changed shares above 0.5
BANDS, ROWS = 42, 3  # a pair at 0.5 is a candidate with probability 0.996, at 0.02 with 0.0003
SEED = 20_240_613  # of the hash functions: the same texts always give the same report
CHUNK = 200_000  # candidate pairs compared at once

Shingles = tuple[np.ndarray, np.ndarray]  # hashes of all texts, one after the other, and where each text starts


@dataclass(frozen=True)
class Overlap:
    """What a training set and a test set share. Indices are positions in the two lists given.

    Attributes:
        train_rows: training texts compared (texts without a word are left out on both sides).
        test_rows: test texts compared.
        exact: test texts equal to a training text.
        near: test texts with a near-duplicate in the training set, those that are equal to one left out.
        largest: largest similarity found between a test and a training text that are not equal; 0 when none came near.
        train_hits: training texts that are equal or nearly equal to a test text: what removal takes out.
    """

    train_rows: int
    test_rows: int
    exact: tuple[int, ...]
    near: tuple[int, ...]
    largest: float
    train_hits: tuple[int, ...]

    def card(self) -> dict[str, Any]:
        """Counts and shares for a dataset's card; no text and no row of either set."""
        return {
            "train_rows": self.train_rows,
            "test_rows": self.test_rows,
            "exact": len(self.exact),
            "near": len(self.near),
            "share": round((len(self.exact) + len(self.near)) / max(self.test_rows, 1), 4),
            "largest_unequal": round(self.largest, 3),
            "train_rows_hit": len(self.train_hits),
            "method": f"Jaccard of {SHINGLE_WORDS}-word shingles >= {NEAR}, MinHash {BANDS}x{ROWS}",
        }


def write_overlap(root: Path, training_sets: Sequence[str], datasets: Sequence[str]) -> None:
    """Write `analysis/overlap.json`: the overlap of every training set with every test set's scored rows.

    Args:
        root: `results/<run>`, with both prepared.
        training_sets, datasets: their ids.
    """
    layout = Layout(root)
    report: dict[str, dict[str, Any]] = {}
    for training_set in training_sets:
        train = pd.read_parquet(check_rows(layout.training_set(training_set)), columns=["text"])["text"].tolist()
        for dataset in datasets:
            rows = pd.read_parquet(check_rows(layout.dataset(dataset)), columns=["text", "split"])
            test = rows.loc[rows["split"] != "train", "text"].tolist()
            report.setdefault(dataset, {})[training_set] = overlap(train, test).card()
    write_json(layout.root / "analysis" / "overlap.json", report)


def words(text: str) -> list[str]:
    """Words of the normalised text: compatibility forms folded, lower case, runs of letters and digits."""
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())


def overlap(train_texts: Sequence[str], test_texts: Sequence[str]) -> Overlap:
    """Compare every test text with every training text.

    Args:
        train_texts: texts of a training set.
        test_texts: texts of a test set.
    """
    train, test = _distinct(train_texts), _distinct(test_texts)
    both = train.keys() & test.keys()
    exact = sorted(index for key in both for index in test[key])
    hits = {index for key in both for index in train[key]}
    train_keys, test_keys = list(train), [key for key in test if key not in both]
    near, largest = [], 0.0
    for i, j, similarity in _near_pairs(train_keys, test_keys):
        largest = max(largest, similarity)
        if similarity >= NEAR:
            near += test[test_keys[j]]
            hits.update(train[train_keys[i]])
    rows = (sum(map(len, train.values())), sum(map(len, test.values())))
    return Overlap(*rows, tuple(exact), tuple(sorted(set(near))), largest, tuple(sorted(hits)))


def _distinct(texts: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """Positions of each distinct normalised text; texts without a word are left out."""
    found: dict[tuple[str, ...], list[int]] = {}
    for index, text in enumerate(texts):
        if key := tuple(words(text)):
            found.setdefault(key, []).append(index)
    return found


def _near_pairs(train: list[tuple[str, ...]], test: list[tuple[str, ...]]) -> list[tuple[int, int, float]]:
    """(train index, test index, Jaccard) of the pairs that MinHash finds worth measuring."""
    if not train or not test:
        return []
    generator = np.random.default_rng(SEED)
    codes: dict[str, int] = {}
    left, right = (_shingles(texts, codes) for texts in (train, test))
    factors = generator.integers(0, 2**63, (BANDS * ROWS, 2), dtype=np.uint64) * 2 + 1
    signatures = [_signatures(shingles, factors) for shingles in (left, right)]
    pairs = []
    for i, j in _candidates(*signatures):
        a, b = (np.unique(hashes[starts[k] : starts[k + 1]]) for (hashes, starts), k in ((left, i), (right, j)))
        shared = len(np.intersect1d(a, b, assume_unique=True))
        pairs.append((int(i), int(j), shared / (len(a) + len(b) - shared)))
    return pairs


def _shingles(texts: list[tuple[str, ...]], codes: dict[str, int]) -> Shingles:
    """Hashes of the word triples of each text; a text of fewer words is one shingle."""
    lengths = np.array([len(text) for text in texts])
    ids = np.array([codes.setdefault(word, len(codes)) for text in texts for word in text], dtype=np.uint64)
    ids = _mix(ids + np.uint64(1))
    counts = np.maximum(lengths - SHINGLE_WORDS + 1, 1)
    starts, word_starts = (np.concatenate([[0], np.cumsum(sizes)]) for sizes in (counts, lengths))
    # Position of each shingle's first word, and how many words its text has from there on.
    offset = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
    first = np.repeat(word_starts[:-1], counts) + offset
    left = np.repeat(lengths, counts) - offset
    padded = np.concatenate([ids, np.zeros(SHINGLE_WORDS, dtype=np.uint64)])
    hashes = np.zeros(starts[-1], dtype=np.uint64)
    for k in range(SHINGLE_WORDS):
        hashes = _mix(hashes * np.uint64(31) + np.where(k < left, padded[first + k], np.uint64(0)))
    return hashes, starts


def _mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: spreads consecutive numbers over all 64 bits (wraps around, as meant)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _signatures(shingles: Shingles, factors: np.ndarray) -> np.ndarray:
    """MinHash signatures, (texts, BANDS * ROWS)."""
    hashes, starts = shingles
    columns = [np.minimum.reduceat(_mix(hashes * a + b), starts[:-1]) for a, b in factors]
    return np.stack(columns, axis=1)


def _candidates(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(pairs, 2): train and test index of the pairs that agree in a band and look at least half as near as `NEAR`."""
    found = np.empty(0, dtype=np.int64)
    for band in range(BANDS):
        columns = slice(band * ROWS, (band + 1) * ROWS)
        keys, other = (_fold(signatures[:, columns]) for signatures in (train, test))
        order = np.argsort(keys, kind="stable")
        low, high = (np.searchsorted(keys[order], other, side) for side in ("left", "right"))
        counts = high - low
        position = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        i, j = order[np.repeat(low, counts) + position], np.repeat(np.arange(len(other)), counts)
        found = np.union1d(found, i.astype(np.int64) * len(test) + j)
    i, j = found // len(test), found % len(test)
    kept = [
        (train[i[k : k + CHUNK]] == test[j[k : k + CHUNK]]).mean(axis=1) >= NEAR / 2
        for k in range(0, len(found), CHUNK)
    ]
    keep = np.concatenate(kept) if kept else np.empty(0, dtype=bool)
    return np.stack([i[keep], j[keep]], axis=1)


def _fold(columns: np.ndarray) -> np.ndarray:
    """One 64-bit key a row."""
    key = np.zeros(len(columns), dtype=np.uint64)
    for column in columns.T:
        key = _mix(key * np.uint64(31) + column)
    return key
