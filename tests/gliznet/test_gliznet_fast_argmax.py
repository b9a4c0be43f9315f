"""The DeBERTa fast path decides as transformers' own attention does, on ten thousand texts."""

import copy

import numpy as np
import pytest

from gliznet.config import GliZNetOptions
from gliznet.encoders.deberta_fast import restore_encoder
from gliznet.scoring import score_texts

TEXTS = 10_000
LABELS = ["sports", "oil", "misc", "science", "bank", "very cup", "team", "fair east", "oil bank", "east"]


@pytest.mark.slow
def test_ten_thousand_decisions_are_the_same(build) -> None:  # type: ignore[no-untyped-def]
    fast, tokenizer = build("deberta", GliZNetOptions(max_length=256, head_init="scaled"))
    plain = copy.deepcopy(fast)
    restore_encoder(plain)
    draws = np.random.default_rng(1)
    words = np.array(" ".join(LABELS).split())
    lengths = np.clip(draws.lognormal(3.2, 0.9, TEXTS), 1, 200).astype(int)  # most within a block, some over several
    texts = [" ".join(draws.choice(words, length)) for length in lengths]
    a, b = (np.asarray(score_texts(model, tokenizer, texts, LABELS)) for model in (fast, plain))
    assert a.shape == (TEXTS, len(LABELS)) and a.std(0).min() > 0.01, "scores that differ between texts"
    assert np.abs(a - b).max() <= 1e-4
    assert (a.argmax(1) == b.argmax(1)).all()
