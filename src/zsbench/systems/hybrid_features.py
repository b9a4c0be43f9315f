"""The frozen NLI model of a HybridNLI system, and the store of its features."""

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
STAGES = {"tokens": "texts", "nli": "pairs"}  # stages of building a store, and the unit of each for progress lines


def open_encoder(spec: dict[str, Any], layout: Layout, device: str) -> NLIEncoder:
    """The frozen NLI model with the hybrid's template: a fetched one, or one trained in this run with the same seed."""
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
    """Features of texts; missing ones are computed, by one process at a time.

    All hybrids with the same NLI model and code version share a store.

    Args:
        spec: spec of the hybrid.
        layout: layout of the run.
        encoder: the frozen NLI model.
        texts: n texts.
        descriptions: label name -> description, in column order.
        checked: to process texts in blocks, pass the same dict to all calls, so that no file is read twice.
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
