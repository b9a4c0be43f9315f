"""Checks when loading a checkpoint: safetensors only, no remote code, exact architecture match, finite weights."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel

from gliznet.checkpoint_files import check_files

MAX_NAMES = 12  # tensor names listed in a message


def check_source(source: str | Path, options: dict[str, Any]) -> None:
    """Reject pickles and remote code before anything is read.

    Args:
        source: folder or hub id.
        options: keywords of `from_pretrained`; those set by this project are removed.

    Raises:
        ValueError: `trust_remote_code` or `weights_only=False` is requested, or a folder has only pickled weights.
    """
    if options.get("trust_remote_code"):
        raise ValueError("trust_remote_code: True is not allowed; gliznet never runs code from a checkpoint")
    if options.get("use_safetensors") is False or options.get("weights_only") is False:
        raise ValueError("use_safetensors, weights_only: False is not allowed; gliznet reads safetensors only")
    if options.get("ignore_mismatched_sizes"):
        raise ValueError("ignore_mismatched_sizes: True is not allowed; a checkpoint must match exactly")
    for key in ("use_safetensors", "ignore_mismatched_sizes"):
        options.pop(key, None)
    if Path(source).is_dir():
        check_files(Path(source))


def check_loaded(model: nn.Module, info: dict[str, Any], source: str, exact: bool = True) -> None:
    """Reject a checkpoint that does not match the model.

    Args:
        model: the model after loading.
        info: transformers' loading report.
        source: name used in the error message.
        exact: whether to reject unexpected tensors as well. A plain encoder loaded from a larger model has some.

    Raises:
        ValueError: lists the unexpected, missing and wrongly shaped tensors, or those with NaN or infinite values.
    """
    check_names(info, source, exact)
    bad = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if bad:
        raise ValueError(f"{source} has NaN or infinite values in: {_some(bad)}")


def check_names(info: dict[str, Any], source: str, exact: bool) -> None:
    """The part of `check_loaded` that needs no weight values; same arguments and errors."""
    unexpected, missing = sorted(info["unexpected_keys"]) if exact else [], sorted(info["missing_keys"])
    shapes = [f"{key[0]} {tuple(key[1])} instead of {tuple(key[2])}" for key in sorted(info["mismatched_keys"])]
    wrong = {"unexpected": unexpected, "missing": missing, "of another shape": shapes}
    if any(wrong.values()):
        what = "; ".join(f"{kind}: {_some(names)}" for kind, names in wrong.items() if names)
        raise ValueError(
            f"{source} is not the architecture its config.json describes (perhaps of another version, whose switches "
            f"the file does not have). Tensors {what}"
        )


def check_same(kind: Any, folder: Path) -> nn.Module:
    """Reject a folder with missing weights, which transformers would initialise randomly. Allocates no weights.

    Args:
        kind: model class to load; may be an Auto class.
        folder: folder with weights and config.json.

    Returns:
        The model without weights.

    Raises:
        ValueError: lists the missing and wrongly shaped tensors. The pooler may be missing, as in sentence encoders.
    """
    dry: Any = kind.from_pretrained(
        folder,
        device_map="meta",
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    model, info = dry
    _check_encoder_names(info, str(folder))
    return model


def load_encoder(source: str | Path) -> PreTrainedModel:
    """Load an encoder in float32 from safetensors; only the pooler may be missing.

    Raises:
        ValueError: pickled weights, or missing or wrongly shaped tensors (listed).
    """
    check_source(source, {})
    encoder, info = AutoModel.from_pretrained(  # type: ignore[misc]
        source, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    _check_encoder_names(info, str(source))
    return encoder


def _check_encoder_names(info: dict[str, Any], source: str) -> None:
    """`check_names` for an encoder; the pooler may be missing, as in sentence encoders."""
    info["missing_keys"] = [name for name in info["missing_keys"] if not name.startswith("pooler.")]
    check_names(info, source, exact=False)


def _some(names: list[str]) -> str:
    """The first `MAX_NAMES` names and the number of others."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
