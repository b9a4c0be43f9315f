"""GliZNet: zero-shot text classification that reads a text and all its candidate labels in one encoder pass.

After `import gliznet`, transformers' Auto classes can load its checkpoints. Heavy modules are imported on first use,
so `gliznet.options` works without torch.
"""

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import Any

_MODULES = {
    "GliZNETTokenizer": "gliznet.tokenizer",
    "GliZNetConfig": "gliznet.config",
    "GliZNetForSequenceClassification": "gliznet.model",
    "GliZNetOptions": "gliznet.options",
    "GliZNetOutput": "gliznet.model",
    "ZeroShotClassificationPipeline": "gliznet.predictor",
}
__all__ = list(_MODULES)
_AUTO = "transformers.models.auto.configuration_auto"  # the module of AutoConfig


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gliznet' has no attribute {name!r}; allowed: {', '.join(__all__)}")
    return getattr(import_module(_MODULES[name]), name)


class _LazyConfig:
    """Placeholder for `GliZNetConfig` in AutoConfig until its first use; `gliznet.model` then registers the classes."""

    model_type = "gliznet"

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return import_module("gliznet.model").GliZNetConfig(*args, **kwargs)

    @staticmethod
    def from_dict(*args: Any, **kwargs: Any) -> Any:
        return import_module("gliznet.model").GliZNetConfig.from_dict(*args, **kwargs)


class _RegisterOnImport(MetaPathFinder):
    """Registers the model type with AutoConfig once transformers loads it."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        spec = PathFinder.find_spec(fullname, path) if fullname == _AUTO else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_register(module: Any) -> None:
            load(module)
            module.AutoConfig.register("gliznet", _LazyConfig, exist_ok=True)

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec


if _AUTO in sys.modules:
    sys.modules[_AUTO].AutoConfig.register("gliznet", _LazyConfig, exist_ok=True)
else:
    sys.meta_path.insert(0, _RegisterOnImport())
