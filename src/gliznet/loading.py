"""What a checkpoint must be before it is trusted: safetensors, no code, exactly this architecture, finite weights."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

_PICKLES = ("pytorch_model.bin", "model.pt", "model.pth", "pytorch_model.bin.index.json")


def check_source(source: str | Path, options: dict[str, Any]) -> None:
    """Refuse pickles and remote code before anything is read.

    Args:
        source: folder or hub id.
        options: keywords of `from_pretrained`.

    Raises:
        ValueError: `trust_remote_code` or `weights_only=False` is asked for, or a folder has pickled weights only.
    """
    if options.get("trust_remote_code"):
        raise ValueError("trust_remote_code=True is not allowed: gliznet never runs code from a checkpoint")
    if options.get("use_safetensors") is False or options.get("weights_only") is False:
        raise ValueError("use_safetensors=False and weights_only=False are not allowed: gliznet reads safetensors only")
    if options.get("ignore_mismatched_sizes"):
        raise ValueError("ignore_mismatched_sizes=True is not allowed: a checkpoint must match exactly")
    for key in ("use_safetensors", "ignore_mismatched_sizes"):
        options.pop(key, None)
    folder = Path(source)
    if folder.is_dir() and not any(folder.glob("*.safetensors*")):
        found = [name for name in _PICKLES if (folder / name).exists()]
        what = f"pickled weights ({', '.join(found)}), which are never read" if found else "no weights"
        raise ValueError(f"{folder} has {what}; gliznet needs model.safetensors")


def check_loaded(model: nn.Module, info: dict[str, Any], source: str) -> None:
    """Refuse a checkpoint that is not exactly this model.

    Args:
        model: the model after loading.
        info: transformers' loading report.
        source: for the message.

    Raises:
        ValueError: names the unexpected, missing and mis-shaped tensors, or those with NaN or infinite values.
    """
    unexpected, missing = sorted(info["unexpected_keys"]), sorted(info["missing_keys"])
    shapes = [f"{key[0]} {tuple(key[1])} instead of {tuple(key[2])}" for key in sorted(info["mismatched_keys"])]
    parts = [
        f"{what}: {', '.join(names)}"
        for what, names in (("unexpected", unexpected), ("missing", missing), ("of another shape", shapes))
        if names
    ]
    if parts:
        raise ValueError(
            f"{source} is not the architecture its config.json describes (perhaps of another version of GliZNet, whose "
            f"switches the file does not have). Tensors {'; '.join(parts)}"
        )
    bad = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if bad:
        raise ValueError(f"{source} has NaN or infinite values in: {', '.join(bad)}")
