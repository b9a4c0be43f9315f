"""Texts and labels that are wrong or odd, on every adapter: a clear error, or a score of its own for every pair."""

import json

import numpy as np
import pytest

from zsbench import systems
from zsbench.systems.llm import LLMSystem

MODELS = {
    "gliznet": ("trained", "gliznet-full"),
    "nli": ("source", "tiny-nli"),
    "biencoder": ("source", "tiny-embedder"),
    "gliclass": ("source", "gliclass-first"),
    "reranker": ("source", "tiny-reranker"),
    "llm": None,
}
LABELS = ["money", "chips"]
REFUSED = {
    "a text in place of a list": ("markets", LABELS, TypeError, "texts='markets' is one text"),
    "a label in place of a list": (["a"], "money", TypeError, "labels='money' is one text"),
    "None for a text": (["a", None], LABELS, TypeError, r"texts\[1\] is NoneType"),
    "NaN for a text": (["a", float("nan")], LABELS, TypeError, r"texts\[1\] is float"),
    "bytes for a text": ([b"a"], LABELS, TypeError, r"texts\[0\] is bytes"),
    "half of a pair in a text": (["x\ud800"], LABELS, ValueError, r"texts\[0\] holds half of a surrogate pair"),
    "no labels": (["a"], [], ValueError, "labels is empty"),
    "an empty label": (["a"], ["x", ""], ValueError, r"labels\[1\]='' is empty"),
    "a blank label": (["a"], ["x", " \n"], ValueError, r"labels\[1\]=.* is empty"),
    "None for a label": (["a"], [None, "x"], TypeError, r"labels\[0\] is NoneType"),
    "half of a pair in a label": (["a"], ["x", "\udfff"], ValueError, r"labels\[1\] holds half"),
}
SCORED = {
    "no texts": ([], LABELS),
    "one label": (["a", "b"], ["money"]),
    "control characters": (["\x00\x01\x1f\x7f", "a\x00b"], LABELS),
    "right to left": (["مرحبا \u202e abc \u202c", "שלום"], LABELS),
    "emoji": (["👩\u200d👩\u200d👧", "😀"], ["😀", "👍🏽"]),
    "no characters": (["", " ", "\n\t\u2028"], LABELS),
    "markers in a label": (["markets"], ["[SEP]", "x [LAB] y", "<<LABEL>> z", "[CLS][PAD]"]),
    "a line break in a label": (["markets"], ["mo\nney", "chips"]),
    "braces in a label": (["markets"], ["{x}", "{}", "{0.__class__}"]),
    "a control character for a label": (["markets"], ["\x00", "chips"]),
    "a long text": (["markets " * 5000], LABELS),
}


@pytest.fixture(scope="module")
def adapters(gliclass, reranker, make_spec):
    """(family, suite) -> adapter, each loaded once."""
    return {
        (family, suite): systems.build(
            make_spec(family, suite, model, {"url": "http://127.0.0.1:9", "name": "m"} if model is None else {}),
            gliclass,
        )
        for family, model in MODELS.items()
        for suite in ("gliclass", "topics")
    }


@pytest.fixture
def answering(monkeypatch):
    """The endpoint of family llm: it prefers the first answer it is offered."""

    def request(self: LLMSystem, body: dict) -> dict:
        content = json.loads(body["messages"][1]["content"])
        return {"choices": [{"message": {"content": next(iter(content.get("labels", {"yes": 1})))}}]}

    monkeypatch.setattr(LLMSystem, "_request", request)


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_its_place(adapters, family, case) -> None:
    texts, labels, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        adapters[family, "gliclass"].score(texts, labels)


@pytest.mark.parametrize("suite", ["gliclass", "topics"])
@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("case", SCORED)
def test_every_pair_gets_a_score(adapters, answering, family, suite, case) -> None:
    texts, labels = SCORED[case]
    scores = np.asarray(adapters[family, suite].score(texts, labels))
    assert scores.shape == (len(texts), len(labels)) and np.isfinite(scores).all()
    if suite == "topics":
        assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("family", ["gliznet", "nli", "biencoder", "reranker"])
def test_five_hundred_labels_each_get_a_score_of_their_own(adapters, family) -> None:
    """The label asked for among 500 scores as it does in a set whose company it does not read; GliZNet reads some."""
    labels = [f"{word} {i}" for i in range(250) for word in ("money", "rising")]
    scores = adapters[family, "gliclass"].score(["markets rallied"], labels)
    assert scores.shape == (1, 500) and np.isfinite(scores).all()
    if family != "gliznet":
        alone = adapters[family, "gliclass"].score(["markets rallied"], [labels[321]])
        np.testing.assert_allclose(scores[0, 321], alone[0, 0], atol=1e-5)


@pytest.mark.parametrize("family", ["gliznet", "nli", "biencoder", "reranker"])
def test_a_label_given_twice_scores_the_same_twice(adapters, family) -> None:
    scores = adapters[family, "gliclass"].score(["markets rallied"], ["money", "chips", "money"])
    assert scores[0, 0] == pytest.approx(scores[0, 2], abs=1e-5) and abs(scores[0, 0] - scores[0, 1]) > 1e-3
