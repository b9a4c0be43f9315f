"""The head against plain numpy, its size, its parameter names, its dtype."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hybridnli.heads import PolyEncoderHead, logits_of_heads


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
    """The card's equations for one text, H (T, D), in float64 and with loops."""
    V = []
    for code in p["codes.weight"]:
        attention = softmax(np.array([code @ h for h in H]))
        V.append(project(sum(a * h for a, h in zip(attention, H, strict=True)), p, "ctx_proj"))
    u = project(label, p, "label_proj")
    w = softmax(np.array([v @ u for v in V]))
    context = sum(weight * v for weight, v in zip(w, V, strict=True))
    return (context @ u) * math.exp(p["log_temp"])


@settings(max_examples=20, deadline=None)
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
    """Logits, the gradient of every parameter and of the tokens; also under autocast, where both stay in float32."""
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
