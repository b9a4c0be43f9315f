"""The hybrid model: blend, sizes, devices and prediction from texts."""

import numpy as np
import pytest
import torch
from conftest import DESCRIPTIONS, TEXTS

from hybridnli.attribution import blend
from hybridnli.data import TOPICS, LabelSet
from hybridnli.encoder import nli_scores
from hybridnli.model import HybridNLIPolyEncoder

LABELS = LabelSet(DESCRIPTIONS, ("Money", "Tech"))


@pytest.fixture
def model(encoder):
    torch.manual_seed(0)
    model = HybridNLIPolyEncoder(LABELS, encoder.hidden_dim, 4, 16, encoder=encoder).eval()
    model.set_label_embeddings(encoder.describe(list(DESCRIPTIONS.values())).clone())
    with torch.no_grad():
        model.alpha_raw.copy_(torch.tensor([1.0, -2.0]))
    return model


def test_trainable_parameters_of_the_published_model():
    model = HybridNLIPolyEncoder(TOPICS, 1024)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2_136_072
    assert model.alphas.tolist() == [0.5] * 4


def test_the_encoder_is_frozen_moves_along_and_stays_in_evaluation_mode(model, encoder):
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert {id(p) for p in model.parameters()} >= {id(p) for p in encoder.model.parameters()}
    model.train()
    assert model.poly_heads.training and not any(module.training for module in model.backbone.modules())
    assert model.device == torch.device("cpu")


def test_logits_and_blend_equal_loops(model, store):
    H, mask = store.token_embeddings(range(5))
    nli = torch.from_numpy(store.nli[:5])
    with torch.no_grad():
        logits, scores = model.logits(H, mask), model.score(H, mask, nli)
        for s, name in enumerate(LABELS.specialists):
            for i in range(5):
                alone = model.poly_heads[s](H[i : i + 1], mask[i : i + 1], model._label_embs[name])
                assert logits[i, s].item() == pytest.approx(alone.item(), abs=1e-5)
        expected = blend(nli.numpy(), logits.sigmoid().numpy(), model.alphas.numpy(), LABELS.specialist_columns)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)
    assert torch.equal(scores[:, 1], nli[:, 1])  # Health has no head
    assert torch.equal(model(H, mask, nli), scores)


def test_forward_does_not_write_into_the_nli_scores(model, store):
    nli = torch.from_numpy(store.nli[:2].copy())
    before = nli.clone()
    model.score(*store.token_embeddings([0, 1]), nli)
    assert torch.equal(nli, before)


def test_predict_from_dicts_and_arrays(model, encoder):
    texts = [TEXTS[0], "", " ".join(TEXTS)]
    nli = nli_scores(encoder, texts, encoder.hypotheses(list(DESCRIPTIONS.values())))
    rows = [dict(zip(DESCRIPTIONS, row, strict=True)) for row in nli.tolist()]
    thresholds = {"Tech": 0.1, "Health": 0.5, "Money": 0.99}
    predictions = model.predict(texts, rows, thresholds=thresholds)
    assert predictions == model.predict(texts, nli, thresholds)
    for i, row in enumerate(predictions):
        assert list(row) == ["text", "scores", "predicted_labels"] and row["text"] == texts[i]
        assert row["predicted_labels"] == [name for name in DESCRIPTIONS if row["scores"][name] >= thresholds[name]]
        H, mask = encoder.embed_ids(encoder.tokenize([texts[i]]), 128)
        with torch.no_grad():
            expected = model.score(H, mask, torch.from_numpy(nli[i : i + 1]))[0]
        np.testing.assert_allclose(list(row["scores"].values()), expected.numpy(), atol=1e-5)
    halves = model.predict(texts, rows)
    assert all(r["predicted_labels"] == [n for n, s in r["scores"].items() if s >= 0.5] for r in halves)


def test_predict_without_texts(model):
    assert model.predict([], []) == []


def test_bad_arguments(model, encoder, store):
    with pytest.raises(ValueError, match="hidden_dim=8.*32"):
        HybridNLIPolyEncoder(LABELS, 8, encoder=encoder)
    with pytest.raises(ValueError, match=r"\(2, 32\), expected \(3, 32\)"):
        model.set_label_embeddings(torch.zeros(2, 32))
    with pytest.raises(ValueError, match="2 rows for 1 texts"):
        model.predict(["a"], store.nli[:2])
    with pytest.raises(ValueError, match=r"\(1, 2\), expected \(1, 3\)"):
        model.predict(["a"], store.nli[:1, :2])
    with pytest.raises(ValueError, match=r"no score for \['Health', 'Money'\]"):
        model.predict(["a"], [{"Tech": 0.5}])
    with pytest.raises(ValueError, match=r"thresholds has no entry for \['Money'\]"):
        model.predict(["a"], store.nli[:1], {"Tech": 0.5, "Health": 0.5})
    with pytest.raises(RuntimeError, match="no encoder"):
        HybridNLIPolyEncoder(LABELS, 32).predict(["a"], store.nli[:1])
