"""Detect the version (era) of a published checkpoint from the names of its tensors (docs/models/gliznet.md).

The published config.json does not record how eras D to G differ, so this is read from the tensors of the head. Other
eras are different models and are rejected.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers.utils import cached_file

from gliznet.loading import some_names

TEMPERATURE, CONTEXT = "aggregator.attn_temperature", "aggregator.label_context."  # in eras E to G; in F and G
PROJECTED, AFTER_G = "A (projected states)", "after G (text read from [CLS])"
OTHER_ERAS = {  # tensor name prefix -> era; the first match counts
    "aggregator.attention_temperature": "C (attention over projected states)",
    "aggregator.cls_lab_attn.": "between C and D (self-attention over [CLS] and the labels)",
    "aggregator.context.": AFTER_G,
    "loss_fn.": "B (text read from [CLS])",
    "aggregator.similarity_head.": "B (text read from [CLS])",
}
HUB_KEYWORDS = ("revision", "token", "cache_dir", "subfolder", "local_files_only", "force_download", "proxies")


def era(config: Mapping[str, Any], names: Collection[str]) -> str:
    """The era of a checkpoint with this config.json and these tensor names; "unknown" if there is no match."""
    for prefix, other in OTHER_ERAS.items():
        if any(name.startswith(prefix) for name in names):
            return other
    if any(name.startswith(CONTEXT) for name in names):
        return "F or G"
    if TEMPERATURE in names:
        return "E"
    if any(name.startswith("aggregator.") for name in names):
        # Versions from F on write `enrich_labels`. Those after G have neither temperature nor other telling tensors.
        return AFTER_G if "enrich_labels" in config and "text_repr" not in config else "D"
    return PROJECTED if "similarity_metric" in config else "unknown"


def era_switches(config: Mapping[str, Any], names: Collection[str], source: str) -> dict[str, Any]:
    """Options of a published checkpoint that its config.json does not record.

    Args:
        config: content of config.json.
        names: names of the tensors.
        source: name used in the error message.

    Returns:
        Keys of `GliZNetConfig` and their values; {} for a checkpoint of this project, whose config.json is complete.

    Raises:
        ValueError: the era of the checkpoint is not implemented; the message names the era and the tensors.
    """
    checkpoint_era = era(config, names)
    if checkpoint_era in (PROJECTED, AFTER_G, *OTHER_ERAS.values()):
        others = sorted(name for name in names if not name.startswith("backbone."))
        raise ValueError(
            f"{source}: era {checkpoint_era} is not implemented; allowed: D to G. Tensors other than those of"
            f" the backbone: {some_names(others)}"
        )
    if "text_repr" in config or TEMPERATURE not in names:
        return {}
    return {"text_repr": "attention-normalized", "enrich_labels": checkpoint_era == "F or G"}


def stored(source: str | Path, keywords: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The content of config.json and the tensor names of a checkpoint; empty if the files cannot be found.

    Args:
        source: folder or hub id.
        keywords: keywords of `from_pretrained`; only the hub options are used.
    """

    def path(name: str) -> str | None:
        # A missing file is reported later, with a proper message, when the model is loaded.
        quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
        return cached_file(str(source), name, **quiet, **hub)

    hub = {name: keywords[name] for name in HUB_KEYWORDS if name in keywords}
    config = path("config.json")
    content = json.loads(Path(config).read_text(encoding="utf-8")) if config else {}
    if weights := path("model.safetensors"):
        with safe_open(weights, framework="pt") as file:
            return content, set(file.keys())
    if index := path("model.safetensors.index.json"):
        return content, set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"])
    return content, set()
