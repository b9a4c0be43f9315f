"""HybridNLI-PolyEncoder: a frozen NLI model, small trained heads, and per-label thresholds.

Modules are imported on first use, so `hybridnli.thresholds` and `hybridnli.data` work without torch.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "TOPICS": "data",
    "LabelSet": "data",
    "published_split": "data",
    "PolyEncoderHead": "model",
    "HybridNLIPolyEncoder": "model",
    "NLIEncoder": "encoder",
    "nli_scores": "encoder",
    "FeatureStore": "features",
    "build_store": "features",
    "HybridOptions": "training",
    "TrainedHeads": "training",
    "train_heads": "training",
    "apply_thresholds": "thresholds",
    "cross_fit": "thresholds",
    "fit_thresholds": "thresholds",
    "CheckpointError": "checkpoint",
    "load_model_from_checkpoint": "checkpoint",
    "run_nli_inference": "checkpoint",
    "save_checkpoint": "checkpoint",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hybridnli' has no attribute {name!r}; allowed: {', '.join(_MODULES)}")
    return getattr(import_module(f"hybridnli.{_MODULES[name]}"), name)
