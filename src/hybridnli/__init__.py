"""HybridNLI-PolyEncoder: a frozen NLI model, small trained heads, and per-label thresholds.

Names load on first use, so that `hybridnli.thresholds` and `hybridnli.attribution` work without torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "TOPICS": "data",
    "LabelSet": "data",
    "published_split": "data",
    "PolyEncoderHead": "heads",
    "HybridNLIPolyEncoder": "model",
    "NLIEncoder": "encoder",
    "nli_scores": "encoder",
    "FeatureStore": "store",
    "open_store": "store",
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

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hybridnli' has no attribute {name!r}; it has {sorted(_HOME)}")
    return getattr(import_module(f"hybridnli.{_HOME[name]}"), name)
