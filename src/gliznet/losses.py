"""GliZNet's loss terms as pure functions (docs/models/gliznet.md section 2), and their weighted total.

Shapes: B batch, K labels, D hidden size. The targets `labels` are 1 (true), 0 (false) or -100 (padding, ignored).
Unless stated otherwise, a function returns a scalar. Non-finite values are not masked.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gliznet.options import GliZNetOptions

PADDING = -100
_ABSENT = -1e30  # used instead of -inf in log-sum-exp: same value, but gradients stay finite
VICREG_COVARIANCE_WEIGHT = 0.04
GAMMA_BATCH = 1.0
GAMMA_UNIT = 0.05  # about 1/sqrt(768), the standard deviation per dimension of points spread over the unit sphere


def one_vs_negatives_softmax(
    logits: Tensor, labels: Tensor, margin: float = 0.5, without_negatives: str = "count"
) -> Tensor:
    """Each positive against all negatives of its sample: log(e^s_p + sum_n e^(s_n + m)) - s_p.

    Mean over the positives of a sample, then over samples with a positive. Positives do not compete with each other.

    Args:
        logits: (B, K).
        labels: (B, K).
        margin: m, added to the logits of negatives.
        without_negatives: "count" keeps samples without negatives in the mean (their term is 0), "drop" excludes them.

    Source: docs/models/gliznet.md 2.1.
    """
    positive, negative = labels == 1, labels == 0  # (B, K)
    s = logits.masked_fill(~(positive | negative), 0.0)
    against = torch.logsumexp((s + margin).masked_fill(~negative, _ABSENT), dim=1, keepdim=True)  # (B, 1)
    terms = (torch.logaddexp(s, against) - s) * positive  # (B, K)
    per_sample = terms.sum(1) / positive.sum(1).clamp(min=1)  # (B,)
    counted = positive.any(1)
    if without_negatives == "drop":
        counted = counted & negative.any(1)
    return (per_sample * counted).sum() / counted.sum().clamp(min=1)


def _mean_over_cells(terms: Tensor, valid: Tensor, mean: str) -> Tensor:
    """Mean of `terms` (B, K) where `valid`: over all (sample, label) pairs ("cell"), or per sample first ("sample")."""
    terms = terms * valid
    if mean == "cell":
        return terms.sum() / valid.sum().clamp(min=1)
    per_sample = terms.sum(1) / valid.sum(1).clamp(min=1)
    return per_sample.sum() / valid.any(1).sum().clamp(min=1)


def bce(logits: Tensor, labels: Tensor, mean: str = "cell") -> Tensor:
    """Binary cross-entropy of logits (B, K) and labels (B, K).

    Averaged over all (sample, label) pairs ("cell") or per sample first ("sample"). Source: docs/models/gliznet.md 2.2.
    """
    valid = labels != PADDING
    s = logits.masked_fill(~valid, 0.0)
    terms = F.binary_cross_entropy_with_logits(s, labels.masked_fill(~valid, 0.0), reduction="none")
    return _mean_over_cells(terms, valid, mean)


def focal(logits: Tensor, labels: Tensor, gamma: float, mean: str = "cell") -> Tensor:
    """Focal loss (1 - p_t)^gamma * BCE of logits (B, K) and labels (B, K); p_t is the probability of the target.

    Replaces BCE in eras E to G. `mean` as in `bce`. Source: Lin et al. 2017, docs/models/gliznet.md 2.5.
    """
    valid = labels != PADDING
    s = logits.masked_fill(~valid, 0.0)
    terms = F.binary_cross_entropy_with_logits(s, labels.masked_fill(~valid, 0.0), reduction="none")
    miss = -torch.expm1(-terms)  # 1 - p_t, exact for small terms
    return _mean_over_cells(miss.clamp(min=1e-12) ** gamma * terms, valid, mean)


def _center(Z: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Centre the masked rows of Z (..., N, D), 0 elsewhere; also return max(count - 1, 1) as (..., 1)."""
    weight = mask.unsqueeze(-1).to(Z.dtype)  # (..., N, 1)
    count = weight.sum(-2)  # (..., 1)
    mean = (Z * weight).sum(-2) / count.clamp(min=1)  # (..., D)
    return (Z - mean.unsqueeze(-2)) * weight, (count - 1).clamp(min=1)


def vicreg_variance(Z: Tensor, mask: Tensor, gamma: float = GAMMA_BATCH) -> Tensor:
    """Hinge on the standard deviation of each dimension: mean_d max(0, gamma - sqrt(Var_unbiased(Z_d) + 1e-4)).

    Args:
        Z: (..., N, D) vectors; leading dimensions are independent sets.
        mask: (..., N) bool, vectors to include; the loss of a set with fewer than 2 is 0.
        gamma: target standard deviation.

    Returns:
        (...), one value per set.

    Source: Bardes et al. 2022, docs/models/gliznet.md 2.3.
    """
    centered, freedom = _center(Z, mask)
    variance = centered.square().sum(-2) / freedom  # (..., D)
    hinge = F.relu(gamma - torch.sqrt(variance + 1e-4)).mean(-1)
    return hinge * (mask.sum(-1) >= 2)


def vicreg_covariance(Z: Tensor, mask: Tensor) -> Tensor:
    """Squared covariances between dimensions: (1/D) sum_{d != d'} C_dd'^2, C = centered^T centered / (N - 1).

    `Z`, `mask` and the result are as in `vicreg_variance`. Source: Bardes et al. 2022, docs/models/gliznet.md 2.3.
    """
    centered, freedom = _center(Z, mask)
    cov = centered.transpose(-1, -2) @ centered / freedom.unsqueeze(-1)  # (..., D, D)
    diagonal = cov.diagonal(dim1=-2, dim2=-1)
    off = cov.square().sum((-1, -2)) - diagonal.square().sum(-1)
    return off / Z.shape[-1] * (mask.sum(-1) >= 2)


def vicreg(Z: Tensor, mask: Tensor, parts: str = "both", scope: str = "batch") -> Tensor:
    """Variance + 0.04 * covariance of label vectors (VICReg without its invariance term).

    Args:
        Z: (B, K, D) label vectors as input to the scorer (after dropout).
        mask: (B, K) bool, true for labels.
        parts: "both", "variance" or "covariance"; a single part has weight 1.
        scope: "batch": all vectors of the batch, not normalised, gamma 1. "batch-unit": the same on the unit sphere
            (with detached norms), gamma 0.05. "sample-unit": on the unit sphere, per sample with at least 2 labels,
            averaged over those samples, gamma 0.05.

    Source: Bardes et al. 2022, docs/models/gliznet.md 2.3.
    """
    gamma = GAMMA_BATCH if scope == "batch" else GAMMA_UNIT
    if scope != "batch":
        Z = Z / Z.norm(dim=-1, keepdim=True).clamp(min=1e-12).detach()
    if scope != "sample-unit":
        Z, mask = Z.flatten(0, 1).unsqueeze(0), mask.flatten().unsqueeze(0)  # (1, B*K, D), (1, B*K)
    value = torch.zeros(Z.shape[0], dtype=Z.dtype, device=Z.device)
    if parts != "covariance":
        value = value + vicreg_variance(Z, mask, gamma)
    if parts != "variance":
        value = value + (VICREG_COVARIANCE_WEIGHT if parts == "both" else 1.0) * vicreg_covariance(Z, mask)
    return value.sum() / (mask.sum(-1) >= 2).sum().clamp(min=1)


def alignment(text: Tensor, label: Tensor, labels: Tensor) -> Tensor:
    """Cosine embedding loss with margin 0: 1 - cos for true labels, max(0, cos) for false ones.

    Averaged over all (sample, label) pairs.

    Args:
        text: (B, K, D) label-specific text vectors.
        label: (B, K, D) label vectors.
        labels: (B, K).

    Source: docs/models/gliznet.md 2.6.
    """
    cos = F.cosine_similarity(text, label, dim=-1)  # (B, K)
    terms = torch.where(labels == 1, 1 - cos, F.relu(cos))
    return _mean_over_cells(terms, labels != PADDING, "cell")


def total_loss(
    logits: Tensor, labels: Tensor, text: Tensor, label: Tensor, options: GliZNetOptions
) -> dict[str, Tensor]:
    """The loss terms with non-zero weight, and their weighted sum.

    Args:
        logits: (B, K).
        labels: (B, K).
        text, label: (B, K, D) vectors compared by the scorer.
        options: weights and variants; terms with weight 0 are not computed.

    Returns:
        Scalars by name: the weighted sum as "total", and each term unweighted ("focal" replaces "bce" if `focal_gamma`
        is set).
    """
    o = options
    terms: dict[str, tuple[float, Tensor]] = {}
    if o.softmax_weight:
        value = one_vs_negatives_softmax(logits, labels, o.margin, o.samples_without_negatives)
        terms["softmax"] = (o.softmax_weight, value)
    if o.bce_weight and o.focal_gamma is None:
        terms["bce"] = (o.bce_weight, bce(logits, labels, o.bce_mean))
    elif o.bce_weight and o.focal_gamma is not None:
        terms["focal"] = (o.bce_weight, focal(logits, labels, o.focal_gamma, o.bce_mean))
    if o.vicreg_weight:
        terms["vicreg"] = (o.vicreg_weight, vicreg(label, labels != PADDING, o.vicreg, o.vicreg_scope))
    if o.align_weight:
        terms["align"] = (o.align_weight, alignment(text, label, labels))
    total = torch.stack([weight * value for weight, value in terms.values()]).sum()
    return {"total": total} | {name: value for name, (_, value) in terms.items()}
