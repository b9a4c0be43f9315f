"""Near-duplicate detection: texts of a test set that occur exactly or almost exactly in a training set.

Exact: equal after normalisation. Near: the two share at least `NEAR`, and at least `MIN_SHARED`, of the word triples of
the one that has fewer: a copy with words changed, or a copy inside a longer text. Every such pair is found (prefix
filtering, Chaudhuri et al., ICDE 2006); nothing is sampled.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

SHORT = 5  # texts of fewer words ("not bad") are equal by chance: counted, but no contamination
SHINGLE_WORDS = 3
NEAR = 0.4  # with one word in eight changed a text of 20 words keeps half of its triples at least
# Long texts hold any stock phrase ("this is one of the best"); so a text under 9 words is only found when it is equal.
MIN_SHARED = 7
CHUNK = 2000  # texts looked up at once

Shingles = tuple[np.ndarray, np.ndarray]  # hashes of all texts, one after the other, and where each text starts


@dataclass(frozen=True)
class Overlap:
    """What a training set and a test set share. Indices are positions in the two lists given.

    Attributes:
        train_rows: training texts compared (texts without a word are left out on both sides).
        test_rows: test texts compared.
        exact: test texts of `SHORT` words or more that equal a training text.
        near: test texts that hold, or are held by, a training text to at least `NEAR`; those in `exact` left out.
        short: test texts of fewer than `SHORT` words that equal a training text: no contamination.
        largest: largest share found between a test and a training text that are not equal; 0 when none came near.
        train_hits: training texts that are equal (`short` ones not) or near to a test text: what removal takes out.
    """

    train_rows: int
    test_rows: int
    exact: tuple[int, ...]
    near: tuple[int, ...]
    short: tuple[int, ...]
    largest: float
    train_hits: tuple[int, ...]

    def card(self) -> dict[str, Any]:
        """Counts and shares for a dataset's card; no text and no row of either set."""
        return {
            "train_rows": self.train_rows,
            "test_rows": self.test_rows,
            "exact": len(self.exact),
            "near": len(self.near),
            "short": len(self.short),
            "share": round((len(self.exact) + len(self.near)) / max(self.test_rows, 1), 4),
            "largest_unequal": round(self.largest, 3),
            "train_rows_hit": len(self.train_hits),
            "method": f">= {NEAR:.0%} and >= {MIN_SHARED} of the shorter text's {SHINGLE_WORDS}-word shingles",
        }


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
    long = {key for key in both if len(key) >= SHORT}
    hits = {index for key in long for index in train[key]}
    train_keys, test_keys = list(train), [key for key in test if key not in long]
    near, largest = [], 0.0
    for i, j, share in _near_pairs(train_keys, test_keys):
        largest = max(largest, share)
        if share >= NEAR:
            near += test[test_keys[j]]
            hits.update(train[train_keys[i]])
    exact, short = (tuple(sorted(index for key in keys for index in test[key])) for keys in (long, both - long))
    rows = (sum(map(len, train.values())), sum(map(len, test.values())))
    return Overlap(*rows, exact, tuple(sorted(set(near))), short, largest, tuple(sorted(hits)))


def near_pairs(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of positions in one list whose texts are equal or near; of equal texts, each with the first of them."""
    distinct = _distinct(texts)
    keys = list(distinct)
    equal = [(rows[0], row) for rows in distinct.values() for row in rows[1:]]
    pairs = _near_pairs(keys, keys)
    return equal + [(distinct[keys[i]][0], distinct[keys[j]][0]) for i, j, share in pairs if i < j and share >= NEAR]


def _distinct(texts: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """Positions of each distinct normalised text; texts without a word are left out."""
    positions: dict[tuple[str, ...], list[int]] = {}
    for index, text in enumerate(texts):
        if key := tuple(words(text)):
            positions.setdefault(key, []).append(index)
    return positions


def _near_pairs(train: list[tuple[str, ...]], test: list[tuple[str, ...]]) -> list[tuple[int, int, float]]:
    """(train index, test index, share of the smaller text's shingles) of the pairs that may reach `NEAR`."""
    if not train or not test:
        return []
    left, right = _matrices(train, test)
    pairs = {(i, j): share for i, j, share in _held(left, right)}
    pairs |= {(i, j): share for j, i, share in _held(right, left)}
    return [(i, j, share) for (i, j), share in sorted(pairs.items())]


def _matrices(train: list[tuple[str, ...]], test: list[tuple[str, ...]]) -> tuple[csr_matrix, csr_matrix]:
    """Which text has which shingle, (texts, distinct shingles) each, over one numbering of the shingles."""
    codes: dict[str, int] = {}
    sides = [_shingles(texts, codes) for texts in (train, test)]
    numbers = np.unique(np.concatenate([hashes for hashes, _ in sides]), return_inverse=True)[1]
    made, start = [], 0
    for hashes, starts in sides:
        columns = numbers[start : start + len(hashes)]
        start += len(hashes)
        matrix = csr_matrix((np.ones(len(columns), np.int32), columns, starts), (len(starts) - 1, numbers.max() + 1))
        matrix.sum_duplicates()
        matrix.data[:] = 1
        made.append(matrix)
    return made[0], made[1]


def _held(small: csr_matrix, large: csr_matrix) -> Iterator[tuple[int, int, float]]:
    """(row of small, row of large, share) where a text of `large` may hold `NEAR` of a no longer one of `small`.

    A text that shares `NEAR` of its n shingles shares one of any n - ceil(NEAR n) + 1 of them: only the rarest so many
    are looked up, which few other texts have.
    """
    sizes, others = small.getnnz(axis=1), large.getnnz(axis=1)
    row = np.repeat(np.arange(small.shape[0]), sizes)
    common = large.getnnz(axis=0)[small.indices]
    order = np.lexsort((common, row))
    rank = np.arange(len(row)) - np.repeat(small.indptr[:-1], sizes)
    needed = np.maximum(np.ceil(NEAR * sizes).astype(int), MIN_SHARED)
    rare = np.zeros(len(row), dtype=bool)
    rare[order] = rank < np.repeat(sizes - needed + 1, sizes)
    rare &= common > 0
    index = large.T.tocsr()
    probe = csr_matrix((rare.astype(np.int32), small.indices, small.indptr), small.shape, copy=True)
    probe.eliminate_zeros()
    for start in range(0, small.shape[0], CHUNK):
        candidates = (probe[start : start + CHUNK] @ index).tocoo()
        i, j = candidates.row + start, candidates.col
        fits = sizes[i] <= others[j]
        i, j = i[fits], j[fits]
        for offset in range(0, len(i), 10 * CHUNK):
            a, b = i[offset : offset + 10 * CHUNK], j[offset : offset + 10 * CHUNK]
            shared = np.asarray(small[a].multiply(large[b]).sum(axis=1)).ravel()
            for k in np.flatnonzero(shared >= MIN_SHARED):
                yield int(a[k]), int(b[k]), float(shared[k] / sizes[a[k]])


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
