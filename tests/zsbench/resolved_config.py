"""`config.json` of a run, with just what one job needs."""

import json
from pathlib import Path
from typing import Any

from zsbench.store.layout import Layout


def write_config(root: Path, config: dict[str, Any], resources: dict[str, Any] | None = None) -> None:
    """Write the file that jobs of the run in `root` read."""
    root.mkdir(parents=True, exist_ok=True)
    resolved = {"config": {"run": root.name, **config}, "resources": resources or {}}
    Layout(root).config.write_text(json.dumps(resolved), encoding="utf-8")


def source_config(root: Path, name: str, source: dict[str, Any]) -> None:
    """For `zsbench job fetch --source NAME`."""
    write_config(root, {"data": {"mirror": None}}, {"sources": {name: source}})


def training_config(root: Path, spec: dict[str, Any]) -> None:
    """For `zsbench job train`: a config that gives this spec (`Plan.training_spec`)."""
    gliznet: dict[str, Any] = {"base": {}, "variants": {}}
    trained = {}
    if spec["family"] == "gliznet":
        gliznet = {"base": spec["options"], "variants": {spec["id"].removeprefix("gliznet-"): {}}}
    else:
        trained = {spec["id"]: {"family": spec["family"], **spec["options"]}}
    config = {"suites": {}, "recipe": spec["recipe"] | {"seeds": [spec["seed"]]}, "gliznet": gliznet}
    backbone, rows = spec["recipe"]["backbone"], spec["recipe"]["training_set"]
    resources = {"sources": {backbone: {}}, "training_sets": {rows: {"source": rows, "licence": "not stated"}}}
    write_config(root, config | {"trained": trained}, resources)


def scoring_config(root: Path, system: str, entry: dict[str, Any]) -> None:
    """For `zsbench job score` of one system, whose entry names its suite, on the dataset `news`."""
    (suite,) = entry["suites"]
    config = {
        "suites": {suite: {"task": "single", "datasets": ["news"]}},
        "recipe": {"seeds": [0]},
        "gliznet": {"base": {}, "variants": {}},
        "trained": {},
        "hybrid": {},
        "systems": {system: entry},
        "scoring": {"precision": "fp32", "token_budget": 64},
    }
    write_config(root, config)
