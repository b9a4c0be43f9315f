"""A system's results as an Every Eval Ever record, and as files for `.eval_results/` of a model repository."""

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml

from zsbench import __version__
from zsbench.evaluation.cells import Cell
from zsbench.reporting.export import NAMES, TYPES, cells_of_seed, shown_metrics
from zsbench.store.cells import dataset_card
from zsbench.store.errors import ConfigError
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, write_text

EEE_SCHEMA = "0.3.0"  # of package every-eval-ever 0.3.0 (MIT); tests run its validator
Relationship = Literal["first_party", "third_party", "collaborative", "other"]
# Our metric -> Every Eval Ever id.
METRIC_IDS = {"macro_f1": "f1_macro", "accuracy": "accuracy", "micro_f1": "f1_micro", "exact_match": "exact_match"}


def every_eval_ever(
    root: Path,
    system: str,
    *,
    model_id: str,
    organization: str,
    relationship: Relationship,
    seed: int | None = None,
    now: float | None = None,
) -> dict[str, Any]:
    """One record of Every Eval Ever's aggregate schema: the results of one model, one entry per dataset and metric.

    Raises:
        ConfigError: the run has no such system or seed, or `model_id` does not have two parts.
    """
    if len([part for part in model_id.split("/") if part]) != 2:
        raise ConfigError(f"model id {model_id!r}: expected DEVELOPER/NAME")
    cells = cells_of_seed(root, system, seed)
    card, created = cells[0].card, str(int(time.time() if now is None else now))
    details = {"family": card["family"], "precision": card["precision"], "device": card["device"]}
    if card.get("weights_sha256"):
        details["weights_sha256"] = card["weights_sha256"]
    if card.get("licences"):
        details["licences"] = "; ".join(f"{name}: {licence}" for name, licence in card["licences"].items())
    unknown = card["family"] in ("llm", "imported", "custom")  # where they run and whether their weights are open
    return {
        "schema_version": EEE_SCHEMA,
        "evaluation_id": f"zsbench-{root.name}/{model_id}/{created}",
        "retrieved_timestamp": created,
        "source_metadata": {
            "source_name": f"zsbench run {root.name}",
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": relationship,
        },
        "eval_library": {"name": "zsbench", "version": __version__},
        "model_info": {
            "name": system,
            "id": model_id,
            "additional_details": details
            | {
                "seed": str(cells[0].seed),
                "deployment_type": "unknown" if unknown else "self_deployed",
                "model_availability": "unknown" if unknown else "open_weights",
            },
        },
        "evaluation_results": [result for cell in cells for result in _eee_results(cell, Layout(root))],
    }


def _eee_results(cell: Cell, layout: Layout) -> Iterator[dict[str, Any]]:
    split, protocol, values = shown_metrics(cell, layout)
    facts, rows = dataset_card(layout, cell.dataset), int((cell.split == split).sum())
    source: dict[str, Any] = {
        "dataset_name": facts.get("title", cell.dataset),
        "additional_details": {
            "id": cell.dataset,
            "origin": str(facts.get("origin", "")),
            "revision": str(cell.card["revision"]),
            "split": split,
            "rows": str(rows),
            "labels": str(len(cell.card["labels"])),
            "wording": cell.card["verbalisation"],
            "licence": str(facts.get("licence", "not stated")),
        },
    }
    repository = _hub_dataset(facts)
    if repository:
        source |= {"source_type": "hf_dataset", "hf_repo": repository, "hf_split": split, "samples_number": rows}
    else:
        source |= {"source_type": "other"}
    for metric, value in values.items():
        yield {
            "evaluation_result_id": f"{cell.suite}/{cell.dataset}/seed{cell.seed}/{metric}",
            "evaluation_name": cell.dataset,
            "source_data": source,
            "metric_config": {
                "evaluation_description": f"zero-shot text classification, protocol {protocol}",
                "metric_id": METRIC_IDS[metric],
                "metric_name": NAMES[metric],
                "metric_kind": TYPES[metric],
                "metric_unit": "proportion",
                "metric_parameters": {"protocol": protocol},
                "lower_is_better": False,
                "score_type": "continuous",
                "min_score": 0.0,
                "max_score": 1.0,
            },
            "score_details": {
                "score": value,
                "details": {"trained on this set": str(cell.card["seen"]).lower()},
                "uncertainty": {"num_samples": rows},
            },
        }


def write_every_eval_ever(folder: Path, record: dict[str, Any]) -> Path:
    """Write a record in the layout of their datastore: `data/zsbench/DEVELOPER/NAME/<uuid4>.json` below `folder`."""
    path = Path(folder) / "data" / "zsbench" / record["model_info"]["id"] / f"{uuid.uuid4()}.json"
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def eval_results(
    root: Path, system: str, seed: int | None = None, *, source_url: str | None = None, notes: str | None = None
) -> dict[str, str]:
    """YAML files for the folder `.eval_results/` of a model repository: file name -> text, one file per hub data set.

    The hub shows them if the data set is a registered benchmark. The value is macro-F1 in percent under the protocol of
    `representative_decision`. The notes name both, because a benchmark's own metric may differ.

    Args:
        notes: text to put before the generated notes.

    Raises:
        ConfigError: the run has no such system or seed.
        IntegrityError: none of its data sets comes from the hub.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    files, layout = {}, Layout(root)
    for cell in cells_of_seed(root, system, seed):
        facts = dataset_card(layout, cell.dataset)
        repository = _hub_dataset(facts)
        if repository is None:
            continue
        split, protocol, values = shown_metrics(cell, layout)
        words = f"zsbench {__version__}: macro-F1 ({protocol}), {int((cell.split == split).sum())} {split} rows, "
        words += f"wording {cell.card['verbalisation']}"
        entry = EvalResultEntry(
            dataset_id=repository,
            task_id=cell.dataset,
            value=round(100 * values["macro_f1"], 4),
            dataset_revision=str(cell.card["revision"]),
            source_url=source_url,
            source_name="zsbench" if source_url else None,
            notes="; ".join(part for part in (notes, words) if part),
        )
        files[f"{cell.suite}-{cell.dataset}.yaml"] = yaml.safe_dump(
            eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True
        )
    if not files:
        raise IntegrityError(
            f"{root}: {system} has no results on data sets from the hub, which `.eval_results` requires"
        )
    return files


def write_eval_results(folder: Path, files: dict[str, str]) -> list[Path]:
    """Write the output of `eval_results` to `.eval_results/` in a checkpoint's folder; returns the paths."""
    paths = [Path(folder) / ".eval_results" / name for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        write_text(path, text)
    return paths


def _hub_dataset(facts: dict[str, Any]) -> str | None:
    """`owner/name` of the hub data set that a test set was prepared from; None if it is not from the hub."""
    _, separator, name = str(facts.get("origin", "")).partition("datasets/")
    return name or None if separator else None
