"""The frozen NLI model below a HybridNLI system, and the store of its features."""

from pathlib import Path
from typing import Any

from hybridnli.encoder import NLIEncoder
from hybridnli.features import CheckedShards, FeatureStore, build_store
from zsbench.data.fetched import open_fetched
from zsbench.plan.code_identity import code_digest
from zsbench.store.integrity import open_model
from zsbench.store.layout import Layout
from zsbench.store.progress import counter_for
from zsbench.systems.texts import EscapeSpecialTokens, well_formed

CHECKPOINT = "multihead_v2.pt"  # the published file name
STAGES = {"tokens": "texts", "nli": "pairs"}  # of a store, and what is counted in each


def open_encoder(spec: dict[str, Any], layout: Layout, device: str) -> NLIEncoder:
    """The frozen NLI model with the hybrid's template: trained in this run with the same seed, or fetched."""
    if spec["nli_kind"] == "trained":
        folder = open_model(layout, spec["nli"], spec["seed"])
    else:
        folder = open_fetched(layout.fetched(spec["nli"]))[0]
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[spec["precision"]]
    return NLIEncoder(folder, template=spec["template"], device=device, dtype=dtype)


def features(
    spec: dict[str, Any],
    layout: Layout,
    encoder: NLIEncoder,
    texts: list[str],
    descriptions: dict[str, str],
    checked: CheckedShards | None = None,
) -> FeatureStore:
    """Features of these texts; those that the store lacks are computed, by one process at a time.

    All hybrids over one NLI model share a store, made by the present code.

    Args:
        checked: one dict for all calls of a caller that goes through texts in blocks: no file is read twice.
    """
    seed = spec["seed"] if spec["nli_kind"] == "trained" else "-any"
    folder: Path = layout.root / "features" / f"{spec['nli']}-seed{seed}-{code_digest('hybridnli.features')}"
    counters = {stage: counter_for(f"features {spec['nli']} {stage}", unit) for stage, unit in STAGES.items()}
    escape = EscapeSpecialTokens(encoder.tokenizer)
    return build_store(
        encoder,
        escape(well_formed(texts)),
        dict(zip(descriptions, escape(list(descriptions.values())), strict=True)),
        folder,
        max_length=spec["training"]["max_length"],
        token_budget=spec["token_budget"],
        progress=lambda stage, done, total: counters[stage](done, total),
        checked=checked,
    )
