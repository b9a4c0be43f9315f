"""The Hugging Face configuration of a GliZNet checkpoint.

`GliZNetOptions` uses this project's names; `GliZNetConfig` stores the same values in `config.json` under the keys that
published checkpoints use (`supcon_margin`, `label_repulsion_weight`, ...), so files go both ways.
"""

import dataclasses
from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PretrainedConfig

from gliznet.options import GliZNetOptions

__all__ = ["PUBLISHED_KEYS", "PUBLISHED_LOSSES", "GliZNetConfig", "GliZNetOptions"]

# Option name -> key of a published config.json, where the two differ.
PUBLISHED_KEYS = {
    "margin": "supcon_margin",
    "softmax_weight": "supcon_loss_weight",
    "bce_weight": "bce_loss_weight",
    "vicreg_weight": "label_repulsion_weight",
    "dropout": "dropout_rate",
    "head": "scoring_method",
    "max_length": "max_sequence_length",  # `max_length` is a text-generation key, which transformers refuses to store
}
# Name in the published list `losses` -> the option that weighs it.
PUBLISHED_LOSSES = {"softmax": "softmax_weight", "repulsion": "vicreg_weight", "bce": "bce_weight"}


class GliZNetConfig(PretrainedConfig):
    """The encoder's own configuration plus every switch.

    Args (all keywords, as in `config.json`):
        backbone_model: where the encoder came from; information only.
        backbone_config: the encoder's configuration (a dict with `model_type`, or a configuration object).
        lab_token_id: id of `[LAB]`.
        losses: published form of "this term is on": subset of softmax, repulsion, bce. None: as the weights say.
        all others: see `GliZNetOptions`; `PUBLISHED_KEYS` says which have another name here.

    Raises:
        ValueError: an option is not allowed, `losses` names an unknown term, or `auto_map` asks for remote code.

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
        **kwargs: Any,  # the signature transformers calls; every key is an option or one of transformers'
    ) -> None:
        if kwargs.get("auto_map"):
            raise ValueError(f"auto_map: {kwargs['auto_map']!r} asks for remote code, which is never run; remove it")
        unknown = sorted(set(losses or ()) - set(PUBLISHED_LOSSES))
        if unknown:
            raise ValueError(f"losses: unknown terms {unknown}; allowed: {sorted(PUBLISHED_LOSSES)}")
        values: dict[str, Any] = {}
        for field in dataclasses.fields(GliZNetOptions):
            values[field.name] = kwargs.pop(PUBLISHED_KEYS.get(field.name, field.name), field.default)
        for loss, weight in PUBLISHED_LOSSES.items():
            if losses is not None and loss not in losses:
                values[weight] = 0.0
        options = GliZNetOptions(**values)
        for name, value in dataclasses.asdict(options).items():
            setattr(self, PUBLISHED_KEYS.get(name, name), value)
        self.losses = [loss for loss, weight in PUBLISHED_LOSSES.items() if getattr(options, weight) > 0]
        self.backbone_model = backbone_model
        self.lab_token_id = lab_token_id
        if isinstance(backbone_config, PretrainedConfig):
            backbone_config = backbone_config.to_dict()
        if backbone_config is not None:  # without the path it was loaded from
            backbone_config = {key: value for key, value in backbone_config.items() if key != "_name_or_path"}
        self.backbone_config = backbone_config
        super().__init__(**kwargs)

    @property
    def options(self) -> GliZNetOptions:
        """The switches under this project's names (built anew, so an edited attribute is seen and checked)."""
        names = [field.name for field in dataclasses.fields(GliZNetOptions)]
        return GliZNetOptions(**{name: getattr(self, PUBLISHED_KEYS.get(name, name)) for name in names})

    @property
    def encoder_config(self) -> PretrainedConfig:
        """The encoder's configuration as an object.

        Raises:
            ValueError: `backbone_config` is missing, has no `model_type`, or asks for remote code.
        """
        stored = dict(self.backbone_config or {})
        if stored.get("auto_map"):
            raise ValueError(f"backbone_config.auto_map: {stored['auto_map']!r} asks for remote code; remove it")
        if "model_type" not in stored:
            raise ValueError("backbone_config: `model_type` is missing; it must be the encoder's full configuration")
        for key in ("dtype", "torch_dtype"):  # the whole model's dtype decides, not the one the encoder was saved in
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
        """Build a configuration from `options` and the encoder's configuration."""
        values = {PUBLISHED_KEYS.get(name, name): value for name, value in dataclasses.asdict(options).items()}
        return cls(backbone_model, backbone_config, lab_token_id, **values)
