"""Loss terms against loops over rows and labels, and the direction of the KL term."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridnli.losses import blend_loss, kl_loss, poly_loss


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def bce(p, y):
    return -(y * math.log(p) + (1 - y) * math.log(1 - p))


def bernoulli_kl(q, p):
    return q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))


def draw(seed, rows, labels):
    rng = np.random.default_rng(seed)
    logits, nli = rng.normal(size=(rows, labels)) * 3, rng.uniform(0.001, 0.999, size=(rows, labels))
    return logits, nli, rng.integers(0, 2, size=(rows, labels)).astype(float)


CASES = {"seed": st.integers(0, 2**16), "rows": st.integers(1, 6), "labels": st.integers(1, 4)}


@settings(max_examples=25)
@given(**CASES)
def test_terms_equal_loops(seed, rows, labels):
    logits, nli, gold = draw(seed, rows, labels)
    cells = [(i, j) for i in range(rows) for j in range(labels)]
    expected = sum(bce(sigmoid(logits[c]), gold[c]) for c in cells) / rows
    assert poly_loss(torch.tensor(logits), torch.tensor(gold)).item() == pytest.approx(expected)
    expected = sum(bce(nli[c], gold[c]) for c in cells) / rows
    assert blend_loss(torch.tensor(nli), torch.tensor(gold)).item() == pytest.approx(expected)
    expected = 0.0
    for j in range(labels):
        sure = [i for i in range(rows) if nli[i, j] > 0.75 or nli[i, j] < 0.25]
        expected += sum(bernoulli_kl(nli[i, j], sigmoid(logits[i, j])) for i in sure) / max(len(sure), 1)
    assert kl_loss(torch.tensor(logits), torch.tensor(nli), 0.75).item() == pytest.approx(expected)


def test_kl_is_nli_against_poly():
    """The direction of the published code, KL(NLI || poly); the card's reverse direction gives another number."""
    q, p = 0.9, 0.3
    loss = kl_loss(torch.tensor([[math.log(p / (1 - p))]]), torch.tensor([[q]]), 0.75).item()
    assert loss == pytest.approx(bernoulli_kl(q, p), rel=1e-5)
    assert abs(loss - bernoulli_kl(p, q)) > 0.1


def test_kl_bounds_are_strict_and_absent_rows_add_nothing():
    logits = torch.zeros(2, 1)
    assert kl_loss(logits, torch.tensor([[0.75], [0.25]]), 0.75).item() == 0
    assert kl_loss(logits, torch.tensor([[0.5], [0.6]]), 0.75).item() == 0


def test_clamps_keep_certainty_finite():
    gold = torch.tensor([[0.0], [1.0]])
    certain_and_wrong = torch.tensor([[1.0], [0.0]])
    assert blend_loss(certain_and_wrong, gold).item() == pytest.approx(-math.log(1e-7), rel=0.02)
    assert math.isfinite(kl_loss(torch.tensor([[200.0], [-200.0]]), gold, 0.75).item())
