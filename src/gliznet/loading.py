"""Checks when loading a checkpoint: safetensors only, no remote code, matching tensors, finite weights."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from gliznet.checkpoint_files import check_files

MAX_NAMES = 12  # tensor names listed in a message
STRICT: dict[str, Any] = {  # wrong shapes are rejected after loading, with their names
    "use_safetensors": True,
    "trust_remote_code": False,
    "output_loading_info": True,
    "ignore_mismatched_sizes": True,
}


def check_source(source: str | Path, options: dict[str, Any]) -> None:
    """Reject pickles and remote code before anything is read.

    Args:
        source: folder or hub id.
        options: keywords of `from_pretrained`; `use_safetensors` and `ignore_mismatched_sizes` are removed from it.

    Raises:
        ValueError: `trust_remote_code=True`, `use_safetensors=False`, `weights_only=False` or
            `ignore_mismatched_sizes=True` is requested, or a folder fails `check_files`.
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
    check_finite(model, source)


def check_finite(model: nn.Module, source: str) -> None:
    """Raise a ValueError that lists the tensors with NaN or infinite values; `source` is named in it."""
    bad = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if bad:
        raise ValueError(f"{source} has NaN or infinite values in: {some_names(bad)}")


def check_names(info: dict[str, Any], source: str, exact: bool) -> None:
    """The part of `check_loaded` that needs no weight values; same arguments and errors."""
    unexpected, missing = sorted(info["unexpected_keys"]) if exact else [], sorted(info["missing_keys"])
    shapes = [f"{key[0]} {tuple(key[1])} instead of {tuple(key[2])}" for key in sorted(info["mismatched_keys"])]
    wrong = {"unexpected": unexpected, "missing": missing, "of another shape": shapes}
    if any(wrong.values()):
        what = "; ".join(f"{kind}: {some_names(names)}" for kind, names in wrong.items() if names)
        raise ValueError(
            f"{source} is not the architecture its config.json describes (perhaps of another version, whose switches "
            f"the file does not have). Tensors {what}"
        )


def check_complete(kind: Any, folder: Path) -> PreTrainedModel:
    """Reject a folder with missing weights, which transformers would initialise randomly. Allocates no weights.

    Args:
        kind: model class to load; may be an Auto class.
        folder: folder with weights and config.json.

    Returns:
        The model without weights.

    Raises:
        ValueError: lists the missing and wrongly shaped tensors. The pooler of a plain encoder may be missing.
    """
    model, info = kind.from_pretrained(folder, device_map="meta", **STRICT)
    _check_tensors(model, info, str(folder))
    return model


def load_model(kind: Any, source: str | Path) -> PreTrainedModel:
    """Load a model in float32 from safetensors.

    Args:
        kind: model class to load; may be an Auto class.
        source: folder or hub id.

    Raises:
        ValueError: pickled or damaged files, remote code, missing or wrongly shaped tensors (the pooler of a plain
            encoder may be missing), NaN or infinite weights.
    """
    check_source(source, {})
    model, info = kind.from_pretrained(source, dtype=torch.float32, **STRICT)
    _check_tensors(model, info, str(source))
    check_finite(model, str(source))
    return model


def _check_tensors(model: PreTrainedModel, info: dict[str, Any], source: str) -> None:
    """`check_names` without unexpected tensors; a plain encoder may lack its pooler, as in sentence encoders."""
    if model.base_model is model:  # a classifier reads its pooler
        info["missing_keys"] = [name for name in info["missing_keys"] if not name.startswith("pooler.")]
    check_names(info, source, exact=False)


def some_names(names: list[str]) -> str:
    """The first `MAX_NAMES` names and the number of others."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
