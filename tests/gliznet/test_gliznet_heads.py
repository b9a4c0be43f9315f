"""The head alone: the specification's numbers, a loop-by-loop reference, symmetry, and first values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gliznet.config import GliZNetOptions
from gliznet.heads import LabelAggregator, LabelScorer, attend, lab_positions

TEXT_REPRS = ["attention", "attention-normalized", "cls", "mean"]


def aggregator(hidden: int = 8, **changes: object) -> LabelAggregator:
    torch.manual_seed(0)
    return LabelAggregator(hidden, GliZNetOptions(**changes)).eval()  # type: ignore[arg-type]


def sample(B: int = 2, K: int = 3, T: int = 11, D: int = 8) -> tuple[torch.Tensor, ...]:
    """States, lmask, text mask and [LAB] positions of B sequences `CLS t t t SEP p LAB p LAB p LAB`."""
    H = torch.randn(B, T, D, generator=torch.Generator().manual_seed(1))
    lmask = torch.tensor([0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0]).expand(B, T)
    text_mask = (torch.arange(T) < 5).expand(B, T)
    position, present = lab_positions((torch.arange(T) >= 5).expand(B, T) & (lmask == 0), K)
    return H, lmask, text_mask, position, present


def test_attention_of_the_specification() -> None:
    H = torch.tensor([[[1.0, 0], [0, 1], [1, 1], [9, 9]]])
    text_mask = torch.tensor([[True, True, True, False]])
    t = attend(torch.tensor([[[2.0, 0]]]), H, text_mask, 2**-0.5)
    assert t[0, 0].tolist() == pytest.approx([0.891617, 0.554192], abs=1e-6)


@pytest.mark.parametrize("text_repr", TEXT_REPRS)
@pytest.mark.parametrize("label_repr", ["lab", "mean"])
@pytest.mark.parametrize("head", ["bilinear", "cosine", "dot"])
def test_scores_are_the_equations(text_repr: str, label_repr: str, head: str) -> None:
    model = aggregator(text_repr=text_repr, label_repr=label_repr, head=head)
    H, lmask, text_mask, position, present = sample()
    logits, _, _ = model(H, lmask, text_mask, position, present)
    D = H.shape[-1]
    for b in range(2):
        h = H[b].double().numpy()
        if text_repr == "attention-normalized":
            h = h / np.linalg.norm(h, axis=1, keepdims=True)
        text = h[:5]
        for j in range(3):
            e = h[6 + 2 * j] if label_repr == "lab" else h[5 + 2 * j]
            scale = math.sqrt(D) if text_repr == "attention-normalized" else 1 / math.sqrt(D)
            a = np.exp(text @ e * scale)
            t = {"cls": text[0], "mean": text.mean(0)}.get(text_repr, (a / a.sum()) @ text)
            if head == "bilinear":
                W = model.scoring.bilinear.weight[0].detach().double().numpy()
                expected = t @ W @ e + model.scoring.bilinear.bias.item()
            elif head == "cosine":
                expected = t @ e / np.linalg.norm(t) / np.linalg.norm(e) / 0.07
            else:
                expected = t @ e / math.sqrt(D)
            assert logits[b, j].item() == pytest.approx(expected, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(3)), st.sampled_from(TEXT_REPRS), st.booleans())
def test_permuting_labels_permutes_scores(order: list[int], text_repr: str, enrichment: bool) -> None:
    """Given the hidden states, nothing above the encoder knows the order of labels."""
    model = aggregator(text_repr=text_repr, enrichment=enrichment)
    H, lmask, text_mask, position, present = sample()
    logits, _, _ = model(H, lmask, text_mask, position, present)
    moved, _, _ = model(H, lmask, text_mask, position[:, order], present)
    assert torch.allclose(moved, logits[:, order], atol=1e-5)


def test_bilinear_is_torchs() -> None:
    torch.manual_seed(0)
    scorer = LabelScorer(6, GliZNetOptions())
    t, e = torch.randn(2, 3, 6), torch.randn(2, 3, 6)
    assert torch.allclose(scorer(t, e), scorer.bilinear(t, e).squeeze(-1), atol=1e-6)


def test_reference_head_has_its_parameters_and_range() -> None:
    model = aggregator(64)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {
        "scoring.bilinear.weight": (1, 64, 64),
        "scoring.bilinear.bias": (1,),
    }
    assert model.scoring.bilinear.weight.abs().max() <= 64**-0.5


@pytest.mark.parametrize(("head_init", "low", "high"), [("default", 4.0, 5.5), ("scaled", 0.9, 1.1)])
def test_spread_of_first_logits(head_init: str, low: float, high: float) -> None:
    """Unit-variance states: D/sqrt(3D) = 4.6 at D = 64 by default, 1 when scaled."""
    torch.manual_seed(0)
    spread = [
        LabelScorer(64, GliZNetOptions(head_init=head_init))(torch.randn(1, 500, 64), torch.randn(1, 500, 64)).std()  # type: ignore[arg-type]
        for _ in range(5)
    ]
    assert low < torch.stack(spread).mean() < high


def test_identity_head_starts_as_a_scaled_cosine_and_learns() -> None:
    scorer = LabelScorer(16, GliZNetOptions(head_init="identity", identity_scale=20.0, identity_offset=0.25))
    t, e = torch.randn(2, 3, 16), 7 * torch.randn(2, 3, 16)
    cos = torch.nn.functional.cosine_similarity(t, e, dim=-1)
    score = scorer(t, e)
    assert torch.allclose(score, 20 * (cos - 0.25), atol=1e-4)
    score.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in scorer.parameters())


def test_scale_is_clamped() -> None:
    scorer = LabelScorer(4, GliZNetOptions(head="cosine"))
    with torch.no_grad():
        scorer.log_scale.fill_(50.0)
    same = torch.ones(1, 1, 4)
    assert scorer(same, same).item() == pytest.approx(100.0, rel=1e-5)


@pytest.mark.parametrize("head", ["cosine", "dot", "bilinear"])
def test_empty_mean_gives_a_finite_score(head: str) -> None:
    """A column without a label has no pieces: its (unused) score and gradient must not be NaN."""
    model = aggregator(label_repr="mean", head=head)
    H, lmask, text_mask, position, present = sample()
    H = H.clone().requires_grad_()
    logits, _, _ = model(H, lmask.clamp(max=2), text_mask, position, present)
    logits.sum().backward()
    assert torch.isfinite(logits).all() and torch.isfinite(H.grad).all()


def test_lab_positions() -> None:
    is_lab = torch.tensor([[0, 0, 1, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]).bool()
    position, present = lab_positions(is_lab, 3)
    assert position.tolist() == [[2, 4, 0], [3, 0, 0], [0, 0, 0]]
    assert present.tolist() == [[True, True, False], [True, False, False], [False] * 3]
    # On a GPU nothing counts the [LAB] tokens: those beyond K must not overwrite the last column.
    assert lab_positions(is_lab, 1)[0].tolist() == [[2], [3], [0]]


def test_dropout_touches_label_vectors_only() -> None:
    model = aggregator(text_repr="mean", dropout=0.5).train()
    H, lmask, text_mask, position, present = sample()
    _, text, label = model(H, lmask, text_mask, position, present)
    assert torch.allclose(text[:, 0], H[:, :5].mean(1), atol=1e-6)
    raw = H.gather(1, position.unsqueeze(-1).expand(-1, -1, 8))
    assert ((label == 0) | torch.isclose(label, 2 * raw)).all() and (label == 0).any()


def test_enrichment_needs_eight_heads() -> None:
    with pytest.raises(ValueError, match="multiple, got 12"):
        LabelAggregator(12, GliZNetOptions(enrichment=True))
