"""The dual loss of HybridNLI-PolyEncoder v2, one pure function per term.

Shapes: B batch, S specialist labels. Each term is a scalar: a mean over the batch, summed over labels. The caller
applies the weights (`HybridOptions`). Source: the published training script; docstrings note where the model card
differs.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["blend_loss", "kl_loss", "poly_loss"]

EPS = 1e-7  # probabilities are clamped to [EPS, 1 - EPS], as published


def poly_loss(logits: Tensor, gold: Tensor) -> Tensor:
    """Loss of the heads: sum_l mean_B BCE(sigmoid(logit_l), y_l).

    Args:
        logits: (B, S).
        gold: (B, S) in [0, 1].
    """
    return F.binary_cross_entropy_with_logits(logits, gold, reduction="none").mean(dim=0).sum()


def blend_loss(scores: Tensor, gold: Tensor) -> Tensor:
    """Loss of the blended scores: sum_l mean_B BCE(clamp(score_l, 1e-7, 1 - 1e-7), y_l).

    The only term with a gradient for alpha.

    Args:
        scores: (B, S) blended scores in [0, 1].
        gold: (B, S) in [0, 1].
    """
    p = scores.clamp(EPS, 1 - EPS)
    # Not F.binary_cross_entropy, which fails on NaN without naming the row (on CUDA, it kills the process).
    return -(gold * p.log() + (1 - gold) * (1 - p).log()).mean(dim=0).sum()


def kl_loss(logits: Tensor, nli: Tensor, confidence: float) -> Tensor:
    """Distillation from NLI: sum_l mean KL(Bernoulli(nli_l) || Bernoulli(sigmoid(logit_l))) over confident rows.

    A row counts for a label if nli > confidence or nli < 1 - confidence; a label without such rows adds 0. The
    model card states KL(poly || NLI), but the published code computes KL(NLI || poly), as does this function.

    Args:
        logits: (B, S).
        nli: (B, S) NLI scores in [0, 1], treated as constant.
        confidence: in [0.5, 1).
    """
    p = logits.sigmoid().clamp(EPS, 1 - EPS)
    q = nli.clamp(EPS, 1 - EPS)
    divergence = q * (q.log() - p.log()) + (1 - q) * ((1 - q).log() - (1 - p).log())  # (B, S)
    confident = (nli > confidence) | (nli < 1 - confidence)
    total = torch.where(confident, divergence, 0.0).sum(dim=0)  # (S,)
    return (total / confident.sum(dim=0).clamp(min=1)).sum()
