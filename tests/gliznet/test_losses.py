"""Each loss against the specification's values, a brute-force numpy version, and numerical gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gliznet import losses
from gliznet.options import GliZNetOptions

LOGITS = torch.tensor([[2.0, 1.0, 0.5, -1.0]])
LABELS = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
Z = torch.tensor([[[1.0, 0, 2], [0, 1, 2], [1, 1, 0], [-1, 0, 1]]])
ALL = torch.ones(1, 4, dtype=torch.bool)
CASES = settings(max_examples=25)


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (B, K), labels (B, K) with padding and at least one label per sample, vectors (B, K, D); float64."""
    B, K, D = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(2, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    logits = 4 * torch.randn(B, K, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (B, K), generator=generator).double()
    lengths = torch.randint(1, K + 1, (B, 1), generator=generator)
    labels[torch.arange(K) >= lengths] = -100
    vectors = torch.randn(B, K, D, generator=generator, dtype=torch.float64)
    return logits, labels, vectors


def brute_softmax(logits: np.ndarray, labels: np.ndarray, margin: float, drop: bool) -> float:
    """The formula, one sample and one positive at a time."""
    samples = []
    for s, y in zip(logits, labels, strict=True):
        negatives = sum(math.exp(v + margin) for v in s[y == 0])
        terms = [math.log(math.exp(v) + negatives) - v for v in s[y == 1]]
        if terms and not (drop and negatives == 0):
            samples.append(sum(terms) / len(terms))
    return sum(samples) / len(samples) if samples else 0.0


def brute_vicreg(rows: np.ndarray, gamma: float) -> tuple[float, float]:
    """Variance and covariance terms of (N, D) rows."""
    if len(rows) < 2:
        return 0.0, 0.0
    variance = np.maximum(0, gamma - np.sqrt(rows.var(axis=0, ddof=1) + 1e-4)).mean()
    cov = np.cov(rows, rowvar=False)
    return float(variance), float((cov**2).sum() - (np.diag(cov) ** 2).sum()) / rows.shape[1]


def test_values_of_the_specification() -> None:
    softmax = losses.one_vs_negatives_softmax(LOGITS, LABELS, 0.5)
    one = losses.one_vs_negatives_softmax(LOGITS, torch.tensor([[1.0, -100, 0, 0]]), 0.5)
    two = losses.one_vs_negatives_softmax(LOGITS, torch.tensor([[-100, 1.0, 0, 0]]), 0.5)
    assert [one.item(), two.item()] == pytest.approx([0.371539, 0.798916], abs=1e-6)
    assert softmax.item() == pytest.approx(0.585228, abs=1e-6)
    assert losses.bce(LOGITS, LABELS).item() == pytest.approx(0.431882, abs=1e-6)
    assert losses.vicreg_variance(Z, ALL).item() == pytest.approx(0.169201, abs=1e-6)
    assert losses.vicreg_covariance(Z, ALL).item() == pytest.approx(0.041667, abs=1e-6)
    assert losses.vicreg(Z, ALL).item() == pytest.approx(0.170868, abs=1e-6)
    total = losses.total_loss(LOGITS, LABELS, Z, Z, GliZNetOptions())
    assert total["total"].item() == pytest.approx(0.517098, abs=1e-6)


@CASES
@given(batches(), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
def test_softmax_is_the_formula(batch, margin: float, drop: bool) -> None:
    logits, labels, _ = batch
    got = losses.one_vs_negatives_softmax(logits, labels, margin, "drop" if drop else "count")
    assert got.item() == pytest.approx(brute_softmax(logits.numpy(), labels.numpy(), margin, drop), abs=1e-9)


@CASES
@given(batches(), st.sampled_from([None, 0.5, 1.85]), st.sampled_from(["cell", "sample"]))
def test_bce_and_focal_are_the_formula(batch, gamma: float | None, mean: str) -> None:
    logits, labels, _ = batch
    p = 1 / (1 + np.exp(-logits.numpy()))
    y = labels.numpy()
    truth = np.where(y == 1, p, 1 - p)
    cells = -np.log(truth) * (1 - truth) ** (gamma or 0)
    valid = y != -100
    per_sample = [row[ok].mean() for row, ok in zip(cells, valid, strict=True)]
    expected = cells[valid].mean() if mean == "cell" else np.mean(per_sample)
    got = losses.bce(logits, labels, mean) if gamma is None else losses.focal(logits, labels, gamma, mean)
    assert got.item() == pytest.approx(expected, abs=1e-9)


@CASES
@given(batches(), st.sampled_from(["batch", "batch-unit", "sample-unit"]))
def test_vicreg_is_the_formula(batch, scope: str) -> None:
    _, labels, vectors = batch
    mask = (labels != -100).numpy()
    rows = vectors.numpy()
    if scope != "batch":
        rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    sets = [r[m] for r, m in zip(rows, mask, strict=True)] if scope == "sample-unit" else [rows[mask]]
    gamma = 1.0 if scope == "batch" else 0.05
    values = np.array([brute_vicreg(one, gamma) for one in sets if len(one) >= 2] or [(0.0, 0.0)]).mean(axis=0)
    ok = torch.from_numpy(mask)
    assert losses.vicreg(vectors, ok, "variance", scope).item() == pytest.approx(values[0], abs=1e-9)
    assert losses.vicreg(vectors, ok, "covariance", scope).item() == pytest.approx(values[1], abs=1e-9)
    assert losses.vicreg(vectors, ok, "both", scope).item() == pytest.approx(values[0] + 0.04 * values[1], abs=1e-9)


@CASES
@given(batches())
def test_alignment_is_the_formula(batch) -> None:
    _, labels, vectors = batch
    text = vectors.flip(-1)
    cells = []
    for t, e, y in zip(
        text.flatten(0, 1).numpy(), vectors.flatten(0, 1).numpy(), labels.flatten().numpy(), strict=True
    ):
        cos = t @ e / np.linalg.norm(t) / np.linalg.norm(e)
        if y != -100:
            cells.append(1 - cos if y == 1 else max(0.0, cos))
    assert losses.alignment(text, vectors, labels).item() == pytest.approx(np.mean(cells), abs=1e-9)


@settings(max_examples=8)
@given(batches())
def test_gradients(batch) -> None:
    logits, labels, vectors = batch
    logits.requires_grad_()
    mask = labels != -100
    for loss in (
        lambda s: losses.one_vs_negatives_softmax(s, labels, 0.5),
        lambda s: losses.bce(s, labels),
        lambda s: losses.focal(s, labels, 1.85),
    ):
        assert torch.autograd.gradcheck(loss, logits)
    vectors.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: losses.vicreg(z, mask), vectors)
    assert torch.autograd.gradcheck(lambda z: losses.alignment(z.flip(-1), z, labels), vectors)


def test_unit_norm_is_detached() -> None:
    Z_ = Z.clone().requires_grad_()
    losses.vicreg(Z_, ALL, "both", "batch-unit").backward()
    # If the norm were in the graph, the gradient of a function of directions would be orthogonal to the vectors.
    assert (Z_.grad * Z).sum(-1).abs().max() > 1e-4


@pytest.mark.parametrize("labels", [[[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]], [[1.0, -100, -100]], [[0.0, -100, -100]]])
def test_one_sided_samples_stay_finite(labels: list[list[float]]) -> None:
    logits = torch.tensor([[50.0, -50.0, float("-inf")]]) if labels[0][2] == -100 else torch.tensor([[50.0, -50.0, 1]])
    logits.requires_grad_()
    terms = losses.total_loss(logits, torch.tensor(labels), Z[:, :3], Z[:, :3], GliZNetOptions())
    terms["total"].backward()
    assert torch.isfinite(terms["total"]) and torch.isfinite(logits.grad).all()


def test_nan_is_not_hidden() -> None:
    logits = torch.tensor([[float("nan"), 0.0]])
    terms = losses.total_loss(logits, torch.tensor([[1.0, 0.0]]), Z[:, :2], Z[:, :2], GliZNetOptions())
    assert torch.isnan(terms["total"]) and torch.isnan(terms["bce"])


def test_the_total_is_the_weighted_sum_of_the_terms_with_a_weight() -> None:
    terms = losses.total_loss(LOGITS, LABELS, Z, Z, GliZNetOptions(softmax_weight=0, vicreg_weight=0))
    assert set(terms) == {"total", "bce"}
    terms = losses.total_loss(LOGITS, LABELS, Z, Z, GliZNetOptions(focal_gamma=1.85, align_weight=0.2, bce_weight=0.4))
    assert set(terms) == {"total", "softmax", "focal", "vicreg", "align"}
    expected = 0.5 * terms["softmax"] + 0.4 * terms["focal"] + 0.05 * terms["vicreg"] + 0.2 * terms["align"]
    assert terms["total"].item() == pytest.approx(expected.item())
