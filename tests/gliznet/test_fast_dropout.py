"""Fast dropout: PyTorch's distribution, gradients and eval mode, and the same attention if nothing is dropped."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from torch import nn

from gliznet.fast import packed
from gliznet.fast.dropout import FastDropout, fast_dropout, keep_mask, use_fast_dropout
from gliznet.fast.encoders import use_fast_encoders
from tests.factories import make_encoder

P = 0.1


NEAR = [1e-12, 1e-6, 7e-6, 1e-5, 1e-4, 1e-3, 0.003, 0.004]
EXTREMES = [0.0, *NEAR, *(1 - p for p in NEAR[1:]), 1.0]


@given(st.sampled_from(EXTREMES) | st.floats(0, 1), st.sampled_from([1, 1000, 100_000]), st.integers(0, 2**31))
@settings(max_examples=100)
def test_any_p_keeps_its_share_and_the_expectation(p: float, n: int, seed: int) -> None:
    torch.manual_seed(seed)
    y = fast_dropout(torch.ones(n, dtype=torch.float64), p)
    kept = int((y != 0).sum())
    share = 1 / float(y.max()) if kept else 1 - p  # what kept elements are divided by
    assert min(binom.cdf(kept, n, share), binom.sf(kept - 1, n, share)) > 1e-9
    assert math.isclose(share, 1 - p, rel_tol=0.003) and math.isclose(1 - share, p, rel_tol=0.003, abs_tol=1e-15)
    assert y.unique().numel() <= 2
    assert p > 0 or torch.equal(y, torch.ones_like(y))
    assert p < 1 or not y.any()


@pytest.mark.parametrize("p", EXTREMES)
def test_modules_and_attention_take_any_p(p: float) -> None:
    torch.manual_seed(0)
    assert FastDropout(p)(torch.ones(4, 50)).isfinite().all()
    q = torch.randn(1, 2, 5, 4)
    out = packed.attention(q, q, torch.ones_like(q), None, p)
    assert out.isfinite().all() and (p > 1e-4 or torch.allclose(out, torch.ones_like(out), atol=1e-3))


def test_neighbouring_decisions_are_independent() -> None:
    """Four decisions share one 64-bit draw; no pair of them may be correlated."""
    torch.manual_seed(0)
    keep, _ = keep_mask(torch.Size([400_000]), P)
    for lag in (1, 2, 3, 4, 8):
        both = (keep[:-lag] & keep[lag:]).float().mean().item()
        assert abs(both - (1 - P) ** 2) < 5 * math.sqrt(0.81 * 0.19 / len(keep)), lag


def test_equal_seeds_draw_equally_and_draws_differ() -> None:
    x = torch.ones(1000)
    torch.manual_seed(3)
    first, second = fast_dropout(x, P), fast_dropout(x, P)
    torch.manual_seed(3)
    assert torch.equal(fast_dropout(x, P), first) and not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_flow_through_what_is_kept(dtype: torch.dtype) -> None:
    x = torch.randn(7, 11, dtype=dtype, requires_grad=True)
    y = fast_dropout(x, 0.5)
    y.sum().backward()
    assert y.dtype == dtype and torch.equal(x.grad != 0, y != 0)
    assert torch.allclose(x.grad * x, y)


def test_modules_keep_their_state_and_do_nothing_in_eval_mode() -> None:
    encoder = make_encoder("deberta")
    before = copy.deepcopy(encoder)
    use_fast_dropout(encoder)
    use_fast_dropout(encoder)
    assert any(type(one) is FastDropout for one in encoder.modules())
    assert not any(type(one) is nn.Dropout for one in encoder.modules())
    assert encoder.state_dict().keys() == before.state_dict().keys()
    x = torch.randn(4, 5)
    assert torch.equal(FastDropout(P).eval()(x), x)
    assert torch.equal(FastDropout(0.0)(x), x) and not FastDropout(1.0)(x).any()


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_eval_mode_gives_the_same_states(kind: str) -> None:
    encoder = make_encoder(kind).eval()
    ids = torch.randint(5, 200, (3, 12))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    with torch.no_grad():
        expected = encoder(ids, attention_mask=mask).last_hidden_state
        use_fast_dropout(encoder)
        found = encoder(ids, attention_mask=mask).last_hidden_state
    assert torch.equal(found[mask.bool()], expected[mask.bool()])


def masks() -> dict[str, torch.Tensor | None]:
    allowed = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    allowed[1, ..., 4:] = False
    return {"none": None, "added": torch.zeros(2, 1, 6, 6).masked_fill(~allowed, -1e9)}


@pytest.mark.parametrize("mask", ["none", "added"])
def test_attention_is_sdpa_where_nothing_is_dropped(mask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a draw that keeps everything, values and gradients equal those of PyTorch's function."""
    monkeypatch.setattr(packed, "keep_mask", lambda shape, p: (torch.ones(shape, dtype=torch.bool), 1.0))
    inputs = [torch.randn(2, 3, 6, 8, requires_grad=True) for _ in range(3)]
    twins = [one.detach().clone().requires_grad_() for one in inputs]
    found = packed.attention(*inputs, masks()[mask], P)
    expected = F.scaled_dot_product_attention(*twins, attn_mask=masks()[mask])
    assert torch.allclose(found, expected, atol=1e-6)
    weight = torch.randn_like(found)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for one, twin in zip(inputs, twins, strict=True):
        assert torch.allclose(one.grad, twin.grad, atol=1e-5)


def test_attention_with_dropout_has_the_mean_of_attention_without() -> None:
    torch.manual_seed(1)
    q, k, v = (torch.randn(1, 2, 5, 4) for _ in range(3))
    draws = torch.stack([packed.attention(q, k, v, None, 0.3) for _ in range(4000)])
    expected = F.scaled_dot_product_attention(q, k, v)
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - expected).abs() < 5 * error).all() and draws.std(0).min() > 0


@pytest.mark.parametrize("kind", ["bert", "deberta", "modernbert"])
def test_a_training_step_drops(kind: str) -> None:
    encoder = make_encoder(kind).train()
    for key in ("hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout", "embedding_dropout"):
        if hasattr(encoder.config, key):
            setattr(encoder.config, key, P)
    for one in encoder.modules():
        if isinstance(one, nn.Dropout):
            one.p = P
    use_fast_encoders(encoder)
    use_fast_dropout(encoder)
    ids = torch.randint(5, 200, (2, 9))
    torch.manual_seed(0)
    first = encoder(ids).last_hidden_state
    second = encoder(ids).last_hidden_state
    torch.manual_seed(0)
    assert torch.equal(encoder(ids).last_hidden_state, first) and not torch.allclose(first, second, atol=1e-3)
    first.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())
