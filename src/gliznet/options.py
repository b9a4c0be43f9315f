"""Every switch of GliZNet in one frozen dataclass. Imports nothing heavy: a config's switches are checked with it."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin


@dataclass(frozen=True)
class GliZNetOptions:
    """All switches; the defaults are the reference, each other value is one named change.

    The reference is era D of docs/models/gliznet.md.

    Raises:
        ValueError: a value is not allowed, or two switches contradict each other; the message names them.

    >>> GliZNetOptions(margin=0.25).margin
    0.25
    """

    # Losses: weights of the terms; a term of weight 0 is not computed.
    margin: float = 0.5  # added to the negatives of the one-vs-negatives softmax
    softmax_weight: float = 0.5
    bce_weight: float = 0.5
    vicreg_weight: float = 0.05
    align_weight: float = 0.0  # cosine-embedding loss between text and label vectors (era G)
    focal_gamma: float | None = None  # a number turns BCE into the focal loss (eras E to G: 1.85)
    vicreg: Literal["both", "variance", "covariance"] = "both"
    # batch: raw vectors of the micro-batch (era D); batch-unit / sample-unit: unit sphere, gamma .05 (E1, E2)
    vicreg_scope: Literal["batch", "batch-unit", "sample-unit"] = "batch"
    # The reference averages BCE over all cells (label-rich samples weigh more) and keeps samples without negatives,
    # whose softmax term is 0, in the mean. "sample" and "drop" repair each.
    bce_mean: Literal["cell", "sample"] = "cell"
    samples_without_negatives: Literal["count", "drop"] = "count"

    # Representations and head.
    text_repr: Literal["attention", "attention-normalized", "cls", "mean"] = "attention"
    label_repr: Literal["lab", "mean"] = "lab"  # state of [LAB], or mean of the label's own tokens (see label_frame)
    head: Literal["bilinear", "cosine", "dot"] = "bilinear"
    # default: U(-1/sqrt D, 1/sqrt D), saturated on raw states; scaled: logit variance 1 on unit-variance states;
    # identity: scale * cos(text, label) before training (warm start from a sentence encoder).
    head_init: Literal["default", "scaled", "identity"] = "default"
    identity_scale: float = 20.0  # what sentence encoders are trained with
    identity_offset: float = 0.25  # the cosine at which the first probability is 1/2
    enrichment: bool = False  # labels attend to each other before the second pass (era F)
    dropout: float = 0.1  # on label vectors only

    # Order-invariant mode: text sees text, a label sees the text and itself, all labels at the same positions.
    order_invariant: bool = False
    label_context: Literal["text", "none"] = "text"  # none: a label sees only itself (late interaction)

    # Tokenisation.
    # Warm start: each label is a sentence of its own, [CLS] pieces [LAB], and "mean" averages all of these.
    label_frame: bool = False
    lab_init: Literal["default", "sep"] = "default"  # first embedding of [LAB]: the row as it is, or that of [SEP]
    truncation: Literal["label-first", "reference"] = "label-first"
    max_length: int = 512
    max_labels: int = 20  # labels in one sequence; more are scored in further chunks
    min_text_tokens: int = 16  # a label set that leaves the text less raises (label-first)
    label_reserve: int = 32  # order-invariant: positions kept for one label and its [LAB], whatever the labels are
    max_tokens_per_label: int = 16  # reference truncation only: first cut of every label
    min_label_tokens: int = 1  # reference truncation only: what a label keeps at least

    def __post_init__(self) -> None:
        """Check every value and every pair of switches that exclude each other."""
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), field.type)
        for name in ("margin", "softmax_weight", "bce_weight", "vicreg_weight", "align_weight"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), ">= 0")
        for name in ("max_length", "max_labels", "min_text_tokens", "label_reserve", "max_tokens_per_label"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        _require(self.min_label_tokens >= 1, "min_label_tokens", self.min_label_tokens, ">= 1")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        _require(self.focal_gamma is None or self.focal_gamma > 0, "focal_gamma", self.focal_gamma, "None or > 0")
        _require(0 < self.identity_scale <= 100, "identity_scale", self.identity_scale, "in (0, 100]")
        weights = (self.softmax_weight, self.bce_weight, self.vicreg_weight, self.align_weight)
        _require(any(weights), "loss weights", weights, "at least one > 0")
        if self.head != "bilinear" and self.head_init != "default":
            raise ValueError(f"head_init={self.head_init!r} needs head='bilinear', got head={self.head!r}")
        if self.order_invariant and self.enrichment:
            raise ValueError("enrichment=True lets labels see each other: it excludes order_invariant=True")
        if self.order_invariant and self.truncation != "label-first":
            raise ValueError("order_invariant=True needs truncation='label-first': the other depends on the label set")
        if self.label_frame and self.truncation != "label-first":
            raise ValueError("label_frame=True needs truncation='label-first'")
        if self.label_context == "none" and not self.order_invariant:
            raise ValueError("label_context='none' needs order_invariant=True")
        labels = self.label_reserve if self.order_invariant and self.label_context == "text" else 2
        room = self.max_length - 2 - self.min_text_tokens - labels
        _require(room >= 0, "max_length", self.max_length, f"at least {self.max_length - room}")


def _require(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise ValueError(f"{name}={value!r} is not allowed; it must be {allowed}")


def _check_type(name: str, value: object, annotation: Any) -> None:
    """Check one value against a field annotation made of Literal, bool, int, float and None."""
    if get_origin(annotation) is Literal:
        _require(value in get_args(annotation), name, value, "one of " + ", ".join(map(repr, get_args(annotation))))
    elif annotation is bool:
        _require(isinstance(value, bool), name, value, "True or False")
    elif annotation is int:
        _require(isinstance(value, int) and not isinstance(value, bool), name, value, "an integer")
    elif not (value is None and type(None) in get_args(annotation)):
        _require(isinstance(value, int | float) and not isinstance(value, bool), name, value, "a number")
