"""Overlap of training and test texts, against brute force, and what a search must and must not find."""

import random
import time
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.data.authored_sets import HARDSET, TOPICS, read_authored
from zsbench.data.contamination import write_overlap
from zsbench.data.near_duplicates import MIN_SHARED, NEAR, SHINGLE_WORDS, SHORT, overlap, words
from zsbench.store.integrity import write_rows
from zsbench.store.layout import Layout
from zsbench.store.provenance import file_sha256, read_json, write_json

VOCABULARY = [f"word{i}" for i in range(400)]


@cache
def shingles(text):
    tokens = words(text)
    return {tuple(tokens[i : i + SHINGLE_WORDS]) for i in range(max(1, len(tokens) - SHINGLE_WORDS + 1))}


def share(one, other):
    """Shared word triples divided by those of the text with fewer; 0 if too few are shared to be meaningful."""
    a, b = shingles(one), shingles(other)
    return len(a & b) / min(len(a), len(b)) if len(a & b) >= MIN_SHARED else 0.0


def sentence(generator, length):
    return " ".join(generator.choice(VOCABULARY) for _ in range(length))


def changed(generator, text, share):
    return " ".join(generator.choice(VOCABULARY) if generator.random() < share else word for word in text.split())


def test_exact_is_after_normalisation():
    train = ["A good film, this one!", "Another   film.", "ﬁne ＦＩＬＭ to see twice", "", "..."]
    test = ["a good film this one", "fine film to see twice", "a bad film", "", "!!"]
    report = overlap(train, test)
    assert report.exact == (0, 1) and report.near == ()
    assert report.train_hits == (0, 2)
    assert (report.train_rows, report.test_rows) == (3, 3)  # texts without words are not evidence of contamination


def test_every_near_pair_is_found_and_no_other():
    generator = random.Random(1)
    train = [sentence(generator, generator.randint(2, 60)) for _ in range(300)]
    test = [changed(generator, generator.choice(train), generator.choice([0.02, 0.1, 0.2, 0.5, 1])) for _ in range(200)]
    test += [f"{test[k]} {test[k + 1]} {train[k]}" for k in range(40)] + [text[: len(text) // 2] for text in train[:40]]
    best = np.array([[share(a, b) for a in train] for b in test])
    exact = {j for j, text in enumerate(test) if text in train and len(text.split()) >= SHORT}
    report = overlap(train, test)
    assert set(report.exact) == exact
    assert set(report.near) == set(np.flatnonzero(best.max(axis=1) >= NEAR)) - exact
    assert len(report.near) > 100
    removed = [text for i, text in enumerate(train) if i not in report.train_hits]
    assert overlap(removed, test).card()["share"] == 0.0


@given(
    st.lists(st.lists(st.sampled_from("abcde"), max_size=30).map(" ".join), max_size=8),
    st.lists(st.lists(st.sampled_from("abcde"), max_size=30).map(" ".join), max_size=8),
)
@settings(max_examples=60)
def test_small_sets_equal_brute_force(train, test):
    report = overlap(train, test)
    equal = {j for j, text in enumerate(test) if text and text in train}
    assert set(report.short) == {j for j in equal if len(test[j].split()) < SHORT}
    assert set(report.exact) == equal - set(report.short)
    near = {j for j, text in enumerate(test) if any(share(text, other) >= NEAR for other in train)}
    assert set(report.near) == near - equal


def real_texts(least):
    return [text for text in (row["text"].split() for row in read_authored(HARDSET)) if len(text) >= least]


@pytest.mark.parametrize("every_eighth", [True, False])
def test_a_word_in_eight_changed_is_found(every_eighth):
    generator = random.Random(3)
    texts = real_texts(20)
    vocabulary = [word for text in texts for word in text]
    copies = []
    for text in texts:
        copy, start = list(text), generator.randrange(8)
        for k in range(len(copy)):
            if (k % 8 == start) if every_eighth else (generator.random() < 1 / 8):
                copy[k] = generator.choice(vocabulary)
        copies.append(" ".join(copy))
    report = overlap([" ".join(text) for text in texts], copies)
    assert (len(report.near) + len(report.exact)) / len(copies) >= 0.95


def test_a_text_inside_a_longer_one_is_found():
    generator = random.Random(4)
    texts = real_texts(12)
    vocabulary = [word for text in texts for word in text]
    inner = [" ".join(text[:12]) for text in texts]
    around = [" ".join([*generator.sample(vocabulary, 40), text, *generator.sample(vocabulary, 40)]) for text in inner]
    for train, test in ((inner, around), (around, inner)):
        assert len(overlap(train, test).near) / len(test) >= 0.99


def test_unrelated_texts_are_not_found():
    texts = [[row["text"] for row in read_authored(name)] for name in (HARDSET, TOPICS)]
    long = [" ".join(texts[1][k : k + 40]) for k in range(0, len(texts[1]), 40)]
    for test in (texts[1], long):
        report = overlap(texts[0], test)
        assert report.near == report.exact == ()


def test_short_texts_that_are_equal_are_counted_apart():
    report = overlap(
        ["Meh.", "not bad at all", "not bad at all, really"], ["meh", "Not bad at all!", "Not bad at all really"]
    )
    assert (report.short, report.exact, report.near) == ((0, 1), (2,), ())
    assert report.train_hits == (2,)


def test_repeated_texts_count_each_time():
    report = overlap(["one two three four five"] * 3, ["One two three four five!"] * 2 + ["five six seven"])
    assert report.exact == (0, 1) and report.train_hits == (0, 1, 2)
    assert report.card() | {"method": ""} == {
        "train_rows": 3,
        "test_rows": 3,
        "exact": 2,
        "near": 0,
        "short": 0,
        "share": 0.6667,
        "largest_unequal": 0.0,
        "train_rows_hit": 3,
        "method": "",
    }


def test_training_splits_of_test_sets_are_training_sets_too(tmp_path):
    layout = Layout(tmp_path)
    copied = "the ferry was late again and nobody on the quay was in the least surprised"
    own = pd.DataFrame({"text": [copied, f"As they say, {copied}."], "split": ["train", "test"]})
    sets = {layout.dataset("own"): own, layout.dataset("other"): own.assign(split="test")}
    for path, rows in (sets | {layout.training_set("made"): own[:1]}).items():
        path.parent.mkdir(parents=True)
        write_rows(path, rows)
        write_json(path.with_name("card.json"), {"rows_sha256": file_sha256(path)})
    write_overlap(tmp_path, ["made"], ["own", "other"])
    report = read_json(tmp_path / "analysis" / "overlap.json")
    counts = {
        (dataset, name): (card["train_rows"], card["exact"], card["near"])
        for dataset in ("own", "other")
        for name, card in report[dataset].items()
    }
    assert counts == {
        ("own", "made"): (1, 0, 1),
        ("own", "own"): (1, 0, 1),
        ("other", "made"): (1, 1, 1),
        ("other", "own"): (1, 1, 1),
    }


@pytest.mark.parametrize(("train", "test"), [([], ["a b c"]), (["a b c"], []), ([""], ["."]), ([], [])])
def test_nothing_to_compare(train, test):
    report = overlap(train, test)
    assert report.card()["share"] == 0.0 and report.largest == 0.0


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
