"""Invalid or unusual texts and labels give a clear error, or a separate score for every pair."""

import json

import numpy as np
import pytest
from odd_requests import REFUSED, SCORED, many_labels
from tiny_run import MODELS

from zsbench.systems import load
from zsbench.systems.llm import LLMSystem

FAMILIES = MODELS | {"llm": None}


@pytest.fixture(scope="module")
def adapters(gliclass, reranker, make_spec):
    """(family, suite) -> adapter, each loaded once."""
    return {
        (family, suite): load.build(
            make_spec(family, suite, model, {"url": "http://127.0.0.1:9", "name": "m"} if model is None else {}),
            gliclass,
        )
        for family, model in FAMILIES.items()
        for suite in ("gliclass", "topics")
    }


@pytest.fixture
def answering(monkeypatch):
    """The endpoint of family llm; it prefers the first offered answer."""

    def request(self: LLMSystem, body: dict) -> dict:
        content = json.loads(body["messages"][1]["content"])
        return {"choices": [{"message": {"content": next(iter(content.get("labels", {"yes": 1})))}}]}

    monkeypatch.setattr(LLMSystem, "_request", request)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_its_place(adapters, family, case) -> None:
    texts, labels, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        adapters[family, "gliclass"].score(texts, labels)


@pytest.mark.parametrize("suite", ["gliclass", "topics"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", SCORED)
def test_every_pair_gets_a_score(adapters, answering, family, suite, case) -> None:
    texts, labels = SCORED[case]
    scores = np.asarray(adapters[family, suite].score(texts, labels))
    assert scores.shape == (len(texts), len(labels)) and np.isfinite(scores).all()
    if suite == "topics":
        assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("family", ["gliznet", "nli", "biencoder", "reranker"])
def test_five_hundred_labels_each_get_a_score_of_their_own(adapters, family) -> None:
    """A label among 500 scores as in a small set, unless the family reads other labels, as GliZNet does."""
    labels = many_labels(500)
    scores = adapters[family, "gliclass"].score(["markets rallied"], labels)
    assert scores.shape == (1, 500) and np.isfinite(scores).all()
    if family != "gliznet":
        alone = adapters[family, "gliclass"].score(["markets rallied"], [labels[321]])
        np.testing.assert_allclose(scores[0, 321], alone[0, 0], atol=1e-5)


@pytest.mark.parametrize("family", ["gliznet", "nli", "biencoder", "reranker"])
def test_a_label_given_twice_scores_the_same_twice(adapters, family) -> None:
    scores = adapters[family, "gliclass"].score(["markets rallied"], ["money", "chips", "money"])
    assert scores[0, 0] == pytest.approx(scores[0, 2], abs=1e-5) and abs(scores[0, 0] - scores[0, 1]) > 1e-3
