"""The options of GliZNet: name, type, default, allowed values and meaning. Does not import torch.

Configs and docs are generated from these fields: a `Literal` type lists the allowed values, and `field.metadata` holds
`description` and the bounds `ge`, `gt`, `le` and `lt`, named like the keywords of `pydantic.Field`.
"""

import dataclasses
import operator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args, get_origin

T = TypeVar("T")
BOUNDS = {"ge": (operator.ge, ">="), "gt": (operator.gt, ">"), "le": (operator.le, "<="), "lt": (operator.lt, "<")}


def _option(default: T, description: str, **bounds: float) -> T:
    """A dataclass field with its documentation and bounds."""
    return field(default=default, metadata={"description": description, **bounds})


@dataclass(frozen=True)
class GliZNetOptions:
    """All options of the model. The defaults are the reference model, era D in docs/models/gliznet.md.

    Raises:
        ValueError: a value is not allowed, or two options contradict each other; the message names them.

    >>> GliZNetOptions(margin=0.25).margin
    0.25
    """

    # Losses. A term of weight 0 is not computed.
    margin: float = _option(0.5, "added to the negatives of the one-vs-negatives softmax", ge=0)
    softmax_weight: float = _option(0.5, "weight of the one-vs-negatives softmax", ge=0)
    bce_weight: float = _option(0.5, "weight of BCE, or of the focal loss in its place", ge=0)
    vicreg_weight: float = _option(0.05, "weight of the VICReg terms on label vectors", ge=0)
    align_weight: float = _option(0.0, "weight of the cosine-embedding loss of text and label vectors (era G)", ge=0)
    focal_gamma: float | None = _option(None, "a number turns BCE into the focal loss (eras E to G: 1.85)", gt=0)
    vicreg: Literal["both", "variance", "covariance"] = _option("both", "which VICReg terms are computed")
    vicreg_scope: Literal["batch", "batch-unit", "sample-unit"] = _option(
        "batch", "batch: raw vectors of the micro-batch; batch-unit, sample-unit: on the unit sphere, gamma .05"
    )
    bce_mean: Literal["cell", "sample"] = _option(
        "cell", "cell: mean over all cells, so texts with many labels weigh more; sample: mean per text first"
    )
    samples_without_negatives: Literal["count", "drop"] = _option(
        "count", "count: texts without a false label stay in the mean of the softmax term, as 0; drop: they do not"
    )

    # Representations and head.
    text_repr: Literal["attention", "attention-normalized", "cls", "mean"] = _option(
        "attention", "how the text vector of a label is made from the text's states"
    )
    label_repr: Literal["lab", "mean"] = _option("lab", "state of [LAB], or mean of the label's own tokens")
    head: Literal["bilinear", "cosine", "dot"] = _option("bilinear", "how a text and a label vector give a logit")
    head_init: Literal["default", "scaled", "identity"] = _option(
        "default",
        "default: U(-1/sqrt D, 1/sqrt D), saturated on raw states; scaled: logit variance 1 on unit-variance states; "
        "identity: scale x (cos(text, label) - offset), a warm start from a sentence encoder",
    )
    identity_scale: float = _option(20.0, "scale of head_init identity: what sentence encoders use", gt=0, le=100)
    identity_offset: float = _option(0.25, "cosine at which head_init identity gives the probability 1/2", ge=-1, le=1)
    enrichment: bool = _option(False, "labels attend to each other before a second look at the text (era F)")
    dropout: float = _option(0.1, "on label vectors only", ge=0, lt=1)

    # Order-invariant mode: the text attends to itself, a label to the text and itself; labels share their positions.
    order_invariant: bool = _option(False, "scores depend on neither the order nor the number of other labels")
    label_context: Literal["text", "none"] = _option("text", "none: a label sees only itself (late interaction)")

    # Tokenisation.
    label_frame: bool = _option(False, "labels are framed like sentences, `[CLS] pieces [LAB]`; a mean includes both")
    lab_init: Literal["default", "sep"] = _option("default", "first embedding of [LAB]: its row as it is, or [SEP]'s")
    truncation: Literal["label-first", "reference"] = _option("label-first", "what is cut: the text, or labels first")
    max_length: int = _option(512, "tokens of a sequence", ge=1)
    max_labels: int = _option(20, "labels in one sequence; more are scored in further chunks", ge=1)
    min_text_tokens: int = _option(16, "a label set that leaves the text less is refused (label-first)", ge=1)
    label_reserve: int = _option(32, "order-invariant: positions reserved for a label and its [LAB]", ge=1)
    max_tokens_per_label: int = _option(16, "reference truncation only: first cut of every label", ge=1)
    min_label_tokens: int = _option(1, "reference truncation only: what a label keeps at least", ge=1)

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            _check(option, getattr(self, option.name))
        weights = [option.name for option in dataclasses.fields(self) if option.name.endswith("_weight")]
        if not any(getattr(self, name) for name in weights):
            raise ValueError(f"{', '.join(weights)}: all are 0; at least one must be > 0")
        if self.head != "bilinear" and self.head_init != "default":
            raise ValueError(f"head_init: {self.head_init!r} needs head='bilinear', got head={self.head!r}")
        if self.order_invariant and self.enrichment:
            raise ValueError("enrichment: labels see each other, which excludes order_invariant")
        if self.order_invariant and self.truncation != "label-first":
            raise ValueError("truncation: order_invariant needs 'label-first'; 'reference' depends on the label set")
        if self.label_frame and self.truncation != "label-first":
            raise ValueError("truncation: label_frame needs 'label-first'")
        if self.label_context == "none" and not self.order_invariant:
            raise ValueError("label_context: 'none' needs order_invariant=True")
        reserve = self.label_reserve if self.order_invariant and self.label_context == "text" else 2
        smallest = 2 + self.min_text_tokens + reserve
        if self.max_length < smallest:
            raise ValueError(f"max_length: {self.max_length} is too small; allowed: >= {smallest}")


def _check(option: "dataclasses.Field[Any]", value: Any) -> None:
    """Raise ValueError unless a value has the type of its field and is within its bounds."""
    allowed = _allowed(option.type, value)
    if not allowed and value is not None:
        bounds = [(*BOUNDS[key], limit) for key, limit in option.metadata.items() if key in BOUNDS]
        if not all(holds(value, limit) for holds, _, limit in bounds):
            allowed = ", ".join(f"{sign} {limit}" for _, sign, limit in bounds)
    if allowed:
        raise ValueError(f"{option.name}: {value!r} is not allowed; allowed: {allowed}")


def _allowed(annotation: Any, value: Any) -> str:
    """Description of the allowed values of a type, or "" if the value is one of them."""
    if get_origin(annotation) is Literal:
        return "" if value in get_args(annotation) else ", ".join(map(repr, get_args(annotation)))
    if annotation is bool:
        return "" if isinstance(value, bool) else "True or False"
    if value is None and type(None) in get_args(annotation):
        return ""
    kinds, name = (int, "an integer") if annotation is int else (int | float, "a number")
    return "" if isinstance(value, kinds) and not isinstance(value, bool) else name
