"""Texts and labels for measurements: authored texts, joined and cut to random lengths; the same for all contenders."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from zsbench.data.authored_sets import HARDSET, TOPICS, read_authored

SPREAD = 0.9  # standard deviation of log lengths: many short and few long texts, as in real data
SHORTEST = 4  # tokens

CountTokens = Callable[[Sequence[str]], list[int]]


def mixed_lengths(n: int, mean: int, longest: int, seed: int) -> list[int]:
    """`n` log-normal lengths in tokens with the given mean, then capped at `longest`."""
    draws = np.random.default_rng((seed, n)).lognormal(math.log(mean) - SPREAD**2 / 2, SPREAD, n)
    return np.clip(np.round(draws), SHORTEST, longest).astype(int).tolist()


def make_texts(lengths: Sequence[int], count_tokens: CountTokens, seed: int) -> list[str]:
    """Texts of about the given lengths (never longer): authored texts in random order, joined and cut at words.

    Args:
        lengths: number of tokens of each text.
        count_tokens: counts the tokens of strings (with the backbone's tokenizer, without special tokens).
        seed: seed of the order.
    """
    words = " ".join(
        _shuffled([row["text"] for name in (HARDSET, TOPICS) for row in read_authored(name)], seed)
    ).split()
    costs = np.cumsum(count_tokens(words))  # a word alone has at least as many tokens as in a text
    texts, start = [], 0
    for length in lengths:
        if costs[start] + length > costs[-1]:
            start = 0
        before = costs[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(costs, before + length, side="right")))
        texts.append(" ".join(words[start:end]))
        start = end % len(words)
    return texts


def make_labels(n: int, seed: int) -> list[str]:
    """`n` distinct labels of hardset-mini in random order.

    Raises:
        ValueError: the set has fewer than `n` labels.
    """
    known = sorted({label for row in read_authored(HARDSET) for label in (*row["labels"], *row["not_labels"])})
    if n > len(known):
        raise ValueError(f"labels={n} is not allowed; hardset-mini has {len(known)} distinct ones")
    return _shuffled(known, seed)[:n]


def _shuffled(values: list[str], seed: int) -> list[str]:
    return [values[i] for i in np.random.default_rng(seed).permutation(len(values))]
