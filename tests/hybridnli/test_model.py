"""The hybrid model: heads against plain numpy, blend, sizes, and prediction from texts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hybridnli.data import TOPICS, LabelSet
from hybridnli.encoder import nli_scores
from hybridnli.model import HybridNLIPolyEncoder, PolyEncoderHead, blend_scores, logits_of_heads
from tests.factories import DESCRIPTIONS, NEWS

LABELS = LabelSet(DESCRIPTIONS, ("Money", "Tech"))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def unit(x):
    return x / np.linalg.norm(x)


def project(x, p, name):
    """Linear, GELU, LayerNorm, L2 norm of one vector."""
    x = p[f"{name}.0.weight"] @ x + p[f"{name}.0.bias"]
    x = np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return unit(x * p[f"{name}.2.weight"] + p[f"{name}.2.bias"])


def reference_logit(p, H, label):
    """The card's equations for one text, H (T, D), as float64 loops."""
    V = []
    for code in p["codes.weight"]:
        attention = softmax(np.array([code @ h for h in H]))
        V.append(project(sum(a * h for a, h in zip(attention, H, strict=True)), p, "ctx_proj"))
    u = project(label, p, "label_proj")
    w = softmax(np.array([v @ u for v in V]))
    context = sum(weight * v for weight, v in zip(w, V, strict=True))
    return (context @ u) * math.exp(p["log_temp"])


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**16),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    codes=st.integers(1, 4),
    log_temp=st.floats(-1, 1),
)
def test_head_equals_the_equations(seed, lengths, codes, log_temp):
    torch.manual_seed(seed)
    head = PolyEncoderHead(12, codes, 7)
    with torch.no_grad():
        head.log_temp.fill_(log_temp)
        head.codes.weight.mul_(50)  # attention that is far from uniform
        for layer in (head.ctx_proj[2], head.label_proj[2]):
            layer.weight.normal_()
            layer.bias.normal_()
    H, label = torch.randn(len(lengths), max(lengths), 12), torch.randn(12)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    p = {name: value.detach().double().numpy() for name, value in head.named_parameters()}
    expected = [
        reference_logit(p, h[:n].double().numpy(), label.double().numpy()) for h, n in zip(H, lengths, strict=True)
    ]
    np.testing.assert_allclose(head(H, mask, label).detach().numpy(), expected, atol=2e-5)


def test_parameter_count_and_published_names():
    head = PolyEncoderHead(1024, 8, 256)
    assert sum(p.numel() for p in head.parameters()) == 534_017
    expected = {"codes.weight", "log_temp"}
    expected |= {
        f"{part}.{i}.{kind}" for part in ("ctx_proj", "label_proj") for i in (0, 2) for kind in ("weight", "bias")
    }
    assert set(head.state_dict()) == expected
    assert head.log_temp.shape == () and head.log_temp.item() == 0
    assert head.codes.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_padding_does_not_matter():
    head = PolyEncoderHead(8, 2, 4)
    H, label = torch.randn(1, 3, 8), torch.randn(8)
    alone = head(H, torch.ones(1, 3, dtype=torch.bool), label)
    padded = torch.cat([H, torch.full((1, 4, 8), 1e3)], dim=1)
    mask = torch.tensor([[True] * 3 + [False] * 4])
    torch.testing.assert_close(head(padded, mask, label), alone)


def test_float32_under_autocast():
    head = PolyEncoderHead(8, 2, 4)
    H, mask, label = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool), torch.randn(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head(H.bfloat16(), mask, label)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, head(H.bfloat16().float(), mask, label), rtol=0, atol=0)


def test_heads_taken_together_equal_one_after_the_other():
    """Logits and the gradients of all parameters and tokens; also under autocast, where both stay in float32."""
    torch.manual_seed(4)
    heads = nn.ModuleList(PolyEncoderHead(24, num_codes=3, proj_dim=8) for _ in range(4))
    for head in heads:
        head.log_temp.data.normal_()
        for layer in (head.ctx_proj, head.label_proj):
            layer[2].weight.data.normal_()
            layer[2].bias.data.normal_()
    H, labels = torch.randn(5, 7, 24), torch.randn(4, 24)
    mask = torch.arange(7) < torch.tensor([7, 1, 3, 7, 5]).unsqueeze(1)
    found = []
    for together in (False, True):
        tokens = H.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if together:
                logits = logits_of_heads(list(heads), tokens, mask, labels)
            else:
                logits = torch.stack([head(tokens, mask, e) for head, e in zip(heads, labels, strict=True)], dim=1)
        assert logits.dtype == torch.float32 and logits.shape == (5, 4)
        wanted = [tokens, *heads.parameters()]
        found.append([logits, *torch.autograd.grad(logits.square().sum(), wanted)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), rows=st.integers(1, 5))
def test_blend_equals_loops(seed, rows):
    rng = np.random.default_rng(seed)
    nli, poly, alpha, columns = rng.uniform(size=(rows, 4)), rng.uniform(size=(rows, 2)), rng.uniform(size=2), [3, 1]
    expected = nli.copy()
    for i in range(rows):
        for s, column in enumerate(columns):
            expected[i, column] = alpha[s] * nli[i, column] + (1 - alpha[s]) * poly[i, s]
    np.testing.assert_allclose(blend_scores(nli, poly, alpha, columns), expected)
    np.testing.assert_array_equal(blend_scores(nli, poly, 1.0, columns), nli)
    np.testing.assert_array_equal(blend_scores(nli, poly, 0.0, columns)[:, columns], poly)


@pytest.mark.parametrize(
    ("alpha", "columns", "message"),
    [
        (1.5, [0], r"in \[0, 1\]"),
        (0.5, [2], r"columns \[2\]"),
        (0.5, [0, 1], "do not match"),
        (np.ones(2), [0], "do not match"),
    ],
)
def test_blend_rejects(alpha, columns, message):
    with pytest.raises(ValueError, match=message):
        blend_scores(np.zeros((3, 2)), np.zeros((3, 1)), alpha, columns)


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
        expected = blend_scores(nli.numpy(), logits.sigmoid().numpy(), model.alphas.numpy(), LABELS.specialist_columns)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)
    assert torch.equal(scores[:, 1], nli[:, 1])  # Health has no head
    assert torch.equal(model(H, mask, nli), scores)


def test_forward_does_not_write_into_the_nli_scores(model, store):
    nli = torch.from_numpy(store.nli[:2].copy())
    before = nli.clone()
    model.score(*store.token_embeddings([0, 1]), nli)
    assert torch.equal(nli, before)


def test_predict_from_dicts_and_arrays(model, encoder):
    texts = [NEWS[0], "", " ".join(NEWS)]
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
    assert predictions == model.predict(np.array(texts), nli, thresholds)
    halves = model.predict(texts, rows)
    assert all(r["predicted_labels"] == [n for n, s in r["scores"].items() if s >= 0.5] for r in halves)


def test_predict_without_texts(model):
    assert model.predict([], []) == []


def test_bad_arguments(model, encoder, store):
    with pytest.raises(ValueError, match="hidden_dim: is 8.*32"):
        HybridNLIPolyEncoder(LABELS, 8, encoder=encoder)
    with pytest.raises(ValueError, match=r"\(2, 32\), expected \(3, 32\)"):
        model.set_label_embeddings(torch.zeros(2, 32))
    with pytest.raises(ValueError, match="2 rows for 1 texts"):
        model.predict(["a"], store.nli[:2])
    with pytest.raises(ValueError, match=r"\(1, 2\), expected \(1, 3\)"):
        model.predict(["a"], store.nli[:1, :2])
    with pytest.raises(ValueError, match=r"no score for \['Health', 'Money'\]"):
        model.predict(["a"], [{"Tech": 0.5}])
    with pytest.raises(ValueError, match=r"thresholds: has no entry for \['Money'\]"):
        model.predict(["a"], store.nli[:1], {"Tech": 0.5, "Health": 0.5})
    with pytest.raises(RuntimeError, match="no encoder"):
        HybridNLIPolyEncoder(LABELS, 32).predict(["a"], store.nli[:1])
