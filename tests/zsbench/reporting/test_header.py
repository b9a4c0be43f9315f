"""The header card: facts from the run's records."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import made_up_run

from zsbench.reporting.frames import RunData
from zsbench.reporting.header import DEMONSTRATION, REHEARSAL, header
from zsbench.store.provenance import read_json, write_json


def test_facts_are_those_of_cards_and_training_records(made: SimpleNamespace) -> None:
    run = RunData(made.root, made.spec)
    shown = header(run)
    assert shown.facts["Rows"] == f"{made_up_run.ROWS} in each of 5 datasets"
    assert shown.facts["Seeds"] == "3 per trained system"
    assert shown.facts["Device"] == "cpu" and shown.facts["Precision"] == "bf16"
    assert shown.facts["Backbone"] == "minilm" and shown.facts["Training"] == "140 steps of 16 texts"
    minutes = (sum(record["seconds"] for record in run.trainings.values()) + run.cost["seconds"].sum()) / 60
    assert shown.facts["Computing"].startswith(f"{minutes:.0f} min")


def test_the_banner_warns_of_samples_and_replicas_alone(made: SimpleNamespace, tmp_path: Path) -> None:
    assert header(RunData(made.root, made.spec)).banner == DEMONSTRATION
    root = shutil.copytree(made.root, tmp_path / "run")
    for path in root.glob("datasets/*/card.json"):
        card = read_json(path)
        write_json(path, card | {"sample": {"rows": 10_000, "seed": 1}, "quality": card["quality"] | {"rows": 60}})
    assert header(RunData(root, made.spec)).banner == ""  # the sample contains every row
    write_json(path, card | {"replica": True})
    assert header(RunData(root, made.spec)).banner == REHEARSAL


def test_a_run_that_trained_nothing_has_a_card(tmp_path: Path, made: SimpleNamespace) -> None:
    spec = json.loads(json.dumps(made.spec))
    spec["systems"] = [entry for entry in spec["systems"] if not entry["trained"]]
    assert header(RunData(tmp_path, spec)).facts == {}
