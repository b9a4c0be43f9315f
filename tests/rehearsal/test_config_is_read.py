"""Every key of config.yaml is used: changing its value changes a job, and job code contains its name."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.zsbench.conftest import checked
from zsbench.config.load import load_resources
from zsbench.plan.plan import Plan
from zsbench.store.provenance import canonical_json

from .conftest import REPOSITORY

Key = tuple[str | int, ...]


def leaves(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """(path, value) of everything that is not a mapping."""
    if isinstance(value, dict) and value:
        for name, entry in value.items():
            yield from leaves(entry, (*key, name))
    else:
        yield key, value


def changed(value: Any) -> Any:
    """A different value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2 + 1
    if isinstance(value, str):
        return f"{value}-other"
    if isinstance(value, list):
        return value[:-1] if value else ["other"]
    return "other" if value is None else {"other": 1}


def jobs(config: dict[str, Any], resources: dict[str, Any]) -> str:
    """Everything that the rules read from a config, as one string."""
    plan = Plan(config, resources)
    parts = {
        "root": str(plan.layout.root),
        "sources": [plan.source_spec(name) for name in plan.sources if name in resources["sources"]] + plan.sources,
        "datasets": [plan.dataset_spec(name) for name in plan.all_datasets],
        "training": [plan.training_spec(model, seed) for model in plan.trained for seed in plan.seeds],
        "hybrid": [plan.hybrid_spec(name, seed) for name in config["hybrid"] for seed in plan.seeds],
        "scores": [plan.score_spec(*job) for job in plan.jobs],
        "measures": [plan.measure_spec(*job) for job in plan.jobs],
        "analysis": plan.analysis_spec,
        "speed": plan.speed_spec,
        "label_counts": [plan.label_counts_spec(system) for system in plan.label_counted],
        "label_pairs": plan.label_pairs_spec,
        "resources": [plan.gpus, plan.strategy],  # of rule train_model
    }
    return canonical_json(parts)


@pytest.fixture(scope="module")
def config(paper: dict[str, Any]) -> dict[str, Any]:
    return checked(json.loads(json.dumps(paper)))  # copies instead of YAML aliases, so that a change stays local


@pytest.fixture(scope="module")
def presets() -> dict[str, Any]:
    return load_resources(REPOSITORY / "workflow" / "resources")


def test_a_changed_value_changes_a_job(paper, config, presets):
    before, unread = jobs(config, presets), []
    for key, value in leaves(paper):
        other = copy.deepcopy(config)
        place: Any = other
        for name in key[:-1]:
            place = place[name]
        place[key[-1]] = changed(value)
        try:
            unread += [key] if jobs(other, presets) == before else []
        except (KeyError, TypeError):
            continue  # the new value is not a known id or path, so it was read
    assert not unread


def test_job_code_knows_every_keys_name(paper):
    """If no job reads a key of a spec, its name is not in the code of the jobs."""
    folders = [REPOSITORY / "src", REPOSITORY / "benchmarks"]
    code = [path for folder in folders for path in folder.rglob("*.py") if path.name != "plan.py"]
    rules = [REPOSITORY / "Snakefile", *(REPOSITORY / "workflow" / "rules").glob("*.smk")]
    words = set(re.findall(r"\w+", "\n".join(Path(path).read_text(encoding="utf-8") for path in [*code, *rules])))
    free = {
        ("gliznet", "variants"),
        ("hybrid",),
        ("systems",),
        ("trained",),
        ("suites", "topics", "verbalisations"),
    }  # ids follow
    names = {str(name) for key, _ in leaves(paper) for i, name in enumerate(key) if key[:i] not in free}
    assert names - words == set()
