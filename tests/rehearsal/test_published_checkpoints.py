"""The published systems of config.yaml on independently written replicas: scores equal those of the equations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DebertaV2Model

from tests.published_layouts import gliznet_logits, hybrid_score, served
from tests.rehearsal.models import deberta_config
from zsbench.data.sources.fetch import fetch
from zsbench.store.layout import Layout
from zsbench.systems.load import build

TEXTS = ["a short text about trade", "shares rose after the bank raised rates", "new chips for the hospital"]


@pytest.fixture(scope="module")
def layout(mirror: Path, sources: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("results") / "rehearsal")
    for name in ("gliznet-deberta-v3-base", "hybrid-nli-polyencoder", "deberta-v3-large-zeroshot"):
        fetch(sources[name] | {"mirror": str(mirror)}, layout.fetched(name))
    return layout


def system(paper: dict[str, Any], layout: Layout, name: str, task: str, **changes: Any) -> Any:
    """A system of config.yaml, ready to score."""
    settings = {k: v for k, v in paper["systems"][name].items() if k not in ("family", "suites", "seen")} | changes
    spec = {"system": name, "family": paper["systems"][name]["family"], "settings": settings, "seed": 0, "task": task}
    return build(spec | {"model": ("source", settings["model"]), "precision": "fp32", "token_budget": 4096}, layout)


@pytest.fixture(scope="module")
def gliznet(layout: Layout) -> tuple[Any, ...]:
    """Encoder, tokenizer and other tensors of the replica, read without this project's code."""
    folder = layout.fetched("gliznet-deberta-v3-base").parent / "files"
    weights = load_file(folder / "model.safetensors")
    rows = weights["backbone.embeddings.word_embeddings.weight"].shape[0]
    encoder = DebertaV2Model(deberta_config(rows))
    part = {name.removeprefix("backbone."): w for name, w in weights.items() if name.startswith("backbone.")}
    encoder.load_state_dict(part)
    own = {name.removeprefix("aggregator."): w for name, w in weights.items() if name.startswith("aggregator.")}
    return encoder, AutoTokenizer.from_pretrained(folder), own


def test_gliznet_published(paper, layout, gliznet):
    labels = ["World", "Sports", "Business"]
    expected = np.array([gliznet_logits(*gliznet, text, labels) for text in TEXTS])
    scores = system(paper, layout, "gliznet-published", "single").score(TEXTS, labels)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-4)
    probabilities = system(paper, layout, "gliznet-published", "multi").score(TEXTS, labels)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-expected)), atol=1e-4)


def test_reference_truncation_is_that_of_the_published_pipeline(paper, layout, gliznet):
    """Texts around the limit: everything fits; labels are truncated; labels at their minimum and text truncated too."""
    labels = ["the new chips for the bank and the hospital", "shares", "trade and rates after the raised bank rates"]
    texts = [" ".join(["trade"] * words) for words in (100, 460, 480, 490, 505, 700)]
    expected = np.array([gliznet_logits(*gliznet, text, labels, served) for text in texts])
    scores = {
        name: system(paper, layout, "gliznet-published", "single", truncation=name).score(texts, labels)
        for name in ("reference", "label-first", None)
    }
    np.testing.assert_allclose(scores["reference"], expected, rtol=1e-3, atol=1e-4)
    assert np.array_equal(scores["label-first"], scores[None])
    assert np.array_equal(scores["label-first"][0], scores["reference"][0])
    assert (np.abs(scores["label-first"] - scores["reference"])[2:].max(axis=1) > 1e-3).all()


def test_hybrid_published(paper, presets, layout):
    described = presets["datasets"]["topics-published"]
    names, labels = described["gold"]["values"], described["verbalisations"]["described"]
    scores = system(paper, layout, "hybrid-published", "multi").score(TEXTS, labels)
    nli = layout.fetched("deberta-v3-large-zeroshot").parent / "files"
    model = AutoModelForSequenceClassification.from_pretrained(nli, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(nli)
    path = layout.fetched("hybrid-nli-polyencoder").parent / "files" / "multihead_v2.pt"
    content = torch.load(path, weights_only=False)  # written by this test's mirror
    assert not {"label_names", "label_descriptions", "backbone_name"} & set(content)
    for text, row in zip(TEXTS, scores, strict=True):
        for name, label, score in zip(names, labels, row, strict=True):
            pair = tokenizer(text, f"This example is {label}.", return_tensors="pt")
            with torch.no_grad():
                entailed = float(model(**pair).logits[0].softmax(-1)[0])
            expected = entailed
            if name in content["specialist_labels"]:
                expected = hybrid_score(model.base_model, tokenizer, content, name, text, entailed)
            assert score == pytest.approx(expected, abs=1e-4), (text, name)
