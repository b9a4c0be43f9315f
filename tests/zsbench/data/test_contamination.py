"""Overlap of training and test texts against a brute-force comparison."""

import random
import time
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.data.contamination import NEAR, SHINGLE_WORDS, overlap, words

VOCABULARY = [f"word{i}" for i in range(400)]


@cache
def shingles(text):
    tokens = words(text)
    return {tuple(tokens[i : i + SHINGLE_WORDS]) for i in range(max(1, len(tokens) - SHINGLE_WORDS + 1))}


def jaccard(one, other):
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def sentence(generator, length):
    return " ".join(generator.choice(VOCABULARY) for _ in range(length))


def changed(generator, text, share):
    return " ".join(generator.choice(VOCABULARY) if generator.random() < share else word for word in text.split())


def test_exact_is_after_normalisation():
    train = ["A good film!", "Another   film.", "ﬁne ＦＩＬＭ", "", "..."]
    test = ["a good film", "fine film", "a bad film", "", "!!"]
    report = overlap(train, test)
    assert report.exact == (0, 1) and report.near == ()
    assert report.train_hits == (0, 2)
    assert (report.train_rows, report.test_rows) == (3, 3)  # texts without a word say nothing about contamination


def test_every_near_pair_is_found_and_no_other():
    generator = random.Random(1)
    train = [sentence(generator, generator.randint(2, 60)) for _ in range(300)]
    test = [changed(generator, generator.choice(train), generator.choice([0.02, 0.1, 0.2, 0.5, 1])) for _ in range(200)]
    best = np.array([[jaccard(a, b) for a in train] for b in test])
    exact = {j for j, text in enumerate(test) if text in train}
    report = overlap(train, test)
    # A pair on the line may be missed by MinHash (0.4 %); one clearly above it never was, in these seeds.
    assert set(report.exact) == exact
    assert {j for j in range(200) if best[j].max() >= 0.6} - exact <= set(report.near)
    assert set(report.near) <= {j for j in range(200) if best[j].max() >= NEAR} - exact
    assert set(report.train_hits) <= {i for i in range(300) if best[:, i].max() >= NEAR}
    removed = [text for i, text in enumerate(train) if i not in report.train_hits]
    assert overlap(removed, test).card()["share"] == 0.0


@given(
    st.lists(st.lists(st.sampled_from("abcde"), max_size=6).map(" ".join), max_size=8),
    st.lists(st.lists(st.sampled_from("abcde"), max_size=6).map(" ".join), max_size=8),
)
@settings(max_examples=30, deadline=None)
def test_small_sets_equal_brute_force(train, test):
    report = overlap(train, test)
    known = {text for text in train if text}
    assert set(report.exact) == {j for j, text in enumerate(test) if text in known}
    sure = {j for j, text in enumerate(test) if text and any(0.75 <= jaccard(text, other) < 1 for other in known)}
    possible = {j for j, text in enumerate(test) if text and any(jaccard(text, other) >= NEAR for other in known)}
    assert sure - set(report.exact) <= set(report.near) <= possible - set(report.exact)


def test_repeated_texts_count_each_time():
    report = overlap(["one two three four"] * 3, ["One two three four!"] * 2 + ["five six seven"])
    assert report.exact == (0, 1) and report.train_hits == (0, 1, 2)
    assert report.card() | {"method": ""} == {
        "train_rows": 3,
        "test_rows": 3,
        "exact": 2,
        "near": 0,
        "share": 0.6667,
        "largest_unequal": 0.0,
        "train_rows_hit": 3,
        "method": "",
    }


@pytest.mark.parametrize(("train", "test"), [([], ["a b c"]), (["a b c"], []), ([""], ["."]), ([], [])])
def test_nothing_to_compare(train, test):
    report = overlap(train, test)
    assert report.card()["share"] == 0.0 and report.largest == 0.0


def test_same_texts_same_report():
    generator = random.Random(2)
    train = [sentence(generator, 20) for _ in range(100)]
    test = [changed(generator, text, 0.15) for text in train[:50]]
    assert overlap(train, test) == overlap(train, test)
    assert 0 < overlap(train, test).largest < 1


def test_large_sets_take_seconds():
    generator = np.random.default_rng(3)
    vocabulary = np.array([f"w{i}" for i in range(20_000)])
    frequencies = 1 / np.arange(1, 20_001)
    drawn = vocabulary[generator.choice(20_000, size=(6000, 60), p=frequencies / frequencies.sum())]
    texts = [" ".join(row) for row in drawn]
    began = time.process_time()
    report = overlap(texts[:4000], texts[4000:] + texts[:10])
    assert time.process_time() - began < 20
    assert report.exact == tuple(range(2000, 2010)) and not report.near
