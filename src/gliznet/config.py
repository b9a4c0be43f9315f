"""The Hugging Face configuration of a GliZNet checkpoint.

`GliZNetOptions` uses this project's names; `GliZNetConfig` stores the same values in `config.json` under the keys that
published checkpoints use (`supcon_margin`, `label_repulsion_weight`, ...), so files are compatible both ways.
"""

import dataclasses
from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PretrainedConfig

from gliznet.options import GliZNetOptions

__all__ = ["PUBLISHED_KEYS", "PUBLISHED_LOSSES", "GliZNetConfig", "GliZNetOptions"]

# Option name -> key in a published config.json, where the two differ.
PUBLISHED_KEYS = {
    "margin": "supcon_margin",
    "softmax_weight": "supcon_loss_weight",
    "bce_weight": "bce_loss_weight",
    "vicreg_weight": "label_repulsion_weight",
    "align_weight": "alignment_loss_weight",
    "enrichment": "enrich_labels",
    "dropout": "dropout_rate",
    "head": "scoring_method",
    "max_length": "max_sequence_length",  # `max_length` is a text-generation key, which transformers refuses to store
}
# Name in the published `losses` list -> the option with its weight.
PUBLISHED_LOSSES = {
    "softmax": "softmax_weight",
    "repulsion": "vicreg_weight",
    "bce": "bce_weight",
    "focal": "bce_weight",  # replaces BCE from era E on
    "alignment": "align_weight",
}
FOCAL_KEY, FOCAL_GAMMA = "focal_loss_weight", 1.85  # key of the focal loss's weight, and its exponent, in eras E to G


def published_key(option: str, focal: bool) -> str:
    """Key of a model option in config.json; `focal` is whether the focal loss replaces BCE."""
    return FOCAL_KEY if focal and option == "bce_weight" else PUBLISHED_KEYS.get(option, option)


class GliZNetConfig(PretrainedConfig):
    """The encoder's configuration and all model options.

    Args (all keywords, as in `config.json`):
        backbone_model: origin of the encoder; for information only.
        backbone_config: the encoder's configuration (a dict with `model_type`, or a configuration object).
        lab_token_id: id of `[LAB]`.
        losses: enabled loss terms in the published format, a subset of softmax, repulsion, bce (or focal), alignment.
            None: the terms with non-zero weight.
        all others: see `GliZNetOptions`; `PUBLISHED_KEYS` lists the options with another key here. Keys of eras E to G
            are supported, except for their hinge repulsion and class-balanced focal loss (training only).

    Raises:
        ValueError: an option is not allowed, `losses` names an unknown term, or `auto_map` requests remote code.

    >>> GliZNetConfig(supcon_margin=0.1).options.margin
    0.1
    """

    model_type = "gliznet"

    def __init__(
        self,
        backbone_model: str = "",
        backbone_config: dict[str, Any] | PretrainedConfig | None = None,
        lab_token_id: int | None = None,
        losses: list[str] | None = None,
        **kwargs: Any,  # any other key of config.json: model options and transformers' own keys
    ) -> None:
        if kwargs.get("auto_map"):
            raise ValueError(f"auto_map: {kwargs['auto_map']!r} requests remote code, which is never run; remove it")
        unknown = sorted(set(losses or ()) - set(PUBLISHED_LOSSES))
        if unknown:
            raise ValueError(f"losses: unknown terms {unknown}; allowed: {sorted(PUBLISHED_LOSSES)}")
        focal = FOCAL_KEY in kwargs or kwargs.get("focal_gamma") is not None
        if FOCAL_KEY in kwargs:  # eras E to G
            kwargs = {"focal_gamma": FOCAL_GAMMA, "samples_without_negatives": "drop"} | kwargs
        values: dict[str, Any] = {}
        for field in dataclasses.fields(GliZNetOptions):
            values[field.name] = kwargs.pop(published_key(field.name, focal), field.default)
        on = {weight for loss, weight in PUBLISHED_LOSSES.items() if losses is None or loss in losses}
        values |= dict.fromkeys(set(PUBLISHED_LOSSES.values()) - on, 0.0)
        options = GliZNetOptions(**values)
        for name, value in dataclasses.asdict(options).items():
            setattr(self, published_key(name, focal), value)
        off = "bce" if focal else "focal"
        self.losses = [loss for loss, w in PUBLISHED_LOSSES.items() if getattr(options, w) > 0 and loss != off]
        self.backbone_model = backbone_model
        self.lab_token_id = lab_token_id
        if isinstance(backbone_config, PretrainedConfig):
            backbone_config = backbone_config.to_dict()
        if backbone_config is not None:  # drop the path it was loaded from
            backbone_config = {key: value for key, value in backbone_config.items() if key != "_name_or_path"}
        self.backbone_config = backbone_config
        super().__init__(**kwargs)

    @property
    def options(self) -> GliZNetOptions:
        """The model options (rebuilt on each access, so that changed attributes are picked up and validated)."""
        names, focal = [field.name for field in dataclasses.fields(GliZNetOptions)], self.focal_gamma is not None
        return GliZNetOptions(**{name: getattr(self, published_key(name, focal)) for name in names})

    @property
    def encoder_config(self) -> PretrainedConfig:
        """The encoder configuration as an object.

        Raises:
            ValueError: `backbone_config` is missing, has no `model_type`, or requests remote code.
        """
        stored = dict(self.backbone_config or {})
        if stored.get("auto_map"):
            raise ValueError(
                f"backbone_config.auto_map: {stored['auto_map']!r} requests remote code, which is never run; remove it"
            )
        if "model_type" not in stored:
            raise ValueError("backbone_config: `model_type` is missing; it must be the encoder's full configuration")
        for key in ("dtype", "torch_dtype"):  # the dtype of the whole model applies, not that of the saved encoder
            stored.pop(key, None)
        return AutoConfig.for_model(**stored)

    @classmethod
    def from_options(
        cls,
        options: GliZNetOptions,
        backbone_config: dict[str, Any] | PretrainedConfig,
        lab_token_id: int,
        backbone_model: str = "",
    ) -> "GliZNetConfig":
        """Build a configuration from `options` and the encoder's configuration; arguments as in the constructor."""
        focal = options.focal_gamma is not None
        values = {published_key(name, focal): value for name, value in dataclasses.asdict(options).items()}
        return cls(backbone_model, backbone_config, lab_token_id, **values)
