"""Near-duplicate detection: texts of a test set that occur exactly or almost exactly in a training set.

Exact duplicates are equal after normalisation. Near duplicates share at least `NEAR` of the word triples (shingles) of
the text with fewer of them, and at least `MIN_SHARED` triples: a copy with some words changed, or a copy inside a
longer text. The search is exhaustive (prefix filtering, Chaudhuri et al., ICDE 2006), without sampling.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer

SHORT = 5  # texts with fewer words ("not bad") can be equal by chance: counted, but not as contamination
SHINGLE_WORDS = 3
NEAR = 0.4  # with one word in eight changed, a text of 20 words keeps at least half of its triples
# Long texts contain stock phrases ("this is one of the best"), so texts of fewer than 9 words only match if equal.
MIN_SHARED = 7
CHUNK = 2000  # texts per lookup


@dataclass(frozen=True)
class Overlap:
    """Overlap of a training set and a test set. Indices are positions in the two given lists.

    Attributes:
        train_rows: number of training texts compared (texts without words are ignored on both sides).
        test_rows: number of test texts compared.
        exact: indices of test texts of at least `SHORT` words that equal a training text.
        near: indices of test texts that are near duplicates of a training text, except those in `exact`.
        short: indices of test texts of fewer than `SHORT` words that equal a training text (not contamination).
        largest: largest share of common shingles among pairs that are not equal; 0 if no pair shares `MIN_SHARED`.
        train_hits: indices of training texts that equal (except `short` ones) or nearly equal a test text; these would
            be removed.
    """

    train_rows: int
    test_rows: int
    exact: tuple[int, ...]
    near: tuple[int, ...]
    short: tuple[int, ...]
    largest: float
    train_hits: tuple[int, ...]

    def card(self) -> dict[str, Any]:
        """Counts and shares for a data set's card; contains no text or row of either set."""
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
    """Words of a normalised text (NFKC, case-folded): runs of letters and digits."""
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())


def overlap(train_texts: Sequence[str], test_texts: Sequence[str]) -> Overlap:
    """Compare every test text with every training text."""
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
    """Pairs of positions in a list whose texts are equal or near duplicates; equal texts pair with the first one."""
    distinct = _distinct(texts)
    keys = list(distinct)
    equal = [(rows[0], row) for rows in distinct.values() for row in rows[1:]]
    pairs = _near_pairs(keys, keys)
    return equal + [(distinct[keys[i]][0], distinct[keys[j]][0]) for i, j, share in pairs if i < j and share >= NEAR]


def _distinct(texts: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """Positions of each distinct normalised text; texts without words are left out."""
    positions: dict[tuple[str, ...], list[int]] = {}
    for index, text in enumerate(texts):
        if key := tuple(words(text)):
            positions.setdefault(key, []).append(index)
    return positions


def _near_pairs(train: list[tuple[str, ...]], test: list[tuple[str, ...]]) -> list[tuple[int, int, float]]:
    """(train index, test index, share of the smaller text's shingles) for all pairs that can reach `NEAR`."""
    if not train or not test:
        return []
    left, right = _matrices(train, test)
    pairs = {(i, j): share for i, j, share in _held(left, right)}
    pairs |= {(i, j): share for j, i, share in _held(right, left)}
    return [(i, j, share) for (i, j), share in sorted(pairs.items())]


def _matrices(train: list[tuple[str, ...]], test: list[tuple[str, ...]]) -> tuple[csr_matrix, csr_matrix]:
    """Binary matrices (texts, distinct shingles) of both sides, with shared column numbers."""
    hashing = HashingVectorizer(
        analyzer=_shingles, n_features=2**31 - 1, alternate_sign=False, binary=True, norm=None, dtype=np.int32
    )
    hashed = hashing.transform([*train, *test])
    columns = np.unique(hashed.indices, return_inverse=True)[1]  # only the columns in use
    both = csr_matrix((hashed.data, columns, hashed.indptr))
    return both[: len(train)], both[len(train) :]


def _shingles(words: tuple[str, ...]) -> list[str]:
    """The word triples of a text; a shorter text is a single shingle."""
    return [" ".join(words[i : i + SHINGLE_WORDS]) for i in range(max(len(words) - SHINGLE_WORDS + 1, 1))]


def _held(small: csr_matrix, large: csr_matrix) -> Iterator[tuple[int, int, float]]:
    """(row of small, row of large, share) for all pairs that can reach `NEAR`, where the first has no more shingles.

    A text that shares at least `NEAR` of its n shingles shares one of any n - ceil(NEAR n) + 1 of them. So only that
    many are looked up, the rarest ones, which few other texts have.
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
