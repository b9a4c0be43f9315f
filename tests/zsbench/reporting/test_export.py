"""Exports, read by their target libraries: btzsc and huggingface_hub."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from gliznet.card import MARK, render_card
from gliznet.config import GliZNetConfig
from tests.measured import measure
from zsbench.cli.main import main
from zsbench.config.load import ConfigError, load_resources
from zsbench.reporting import export
from zsbench.reporting.details import details, key_of
from zsbench.reporting.diff import compare_runs
from zsbench.reporting.export import BTZSC, BTZSC_METRICS, btzsc, model_index, write_model_index
from zsbench.reporting.frames import RunData
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, file_sha256, read_json, write_json

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def as_imdb(made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the made-up sets take the place of sets that BTZSC has."""
    monkeypatch.setattr(export, "BTZSC", {"movies": ("imdb", "sentiment"), "r8": ("agnews", "topic")})


def test_btzsc_reads_the_file_and_misses_only_what_the_run_does_not_have(
    made: SimpleNamespace, as_imdb: None, tmp_path: Path
) -> None:
    check = pytest.importorskip("btzsc.leaderboard.validate", reason="btzsc is not installed; make setup installs it")
    from btzsc.data import BTZSC_DATASETS, TASK_GROUPS

    out = tmp_path / "result.json"
    assert main(["export", "btzsc", str(made.root), "biencoder", "--out", str(out)]) == 0
    missing = {f"Missing results.by_dataset.{name}" for name in BTZSC_DATASETS if name not in ("imdb", "agnews")}
    missing |= {f"Missing results.by_task.{name}" for name in TASK_GROUPS if name not in ("sentiment", "topic")}
    assert set(check.validate_result_file(out)) == missing


def test_btzsc_computes_the_same_numbers_and_ranks_them(made: SimpleNamespace, as_imdb: None) -> None:
    metrics = pytest.importorskip("btzsc.metrics", reason="btzsc is not installed; make setup installs it")
    from btzsc.baselines import compare

    file = btzsc(made.root, "gliznet-full", "nli")
    assert file["model"]["params"] == "436M"
    results = file["results"]
    per_dataset: dict[str, dict[str, float]] = {}
    for name, own in (("imdb", "movies"), ("agnews", "r8")):
        by_seed = []
        for seed in (1, 2, 3):
            frame = pd.read_parquet(Layout(made.root).scores("gliclass", own, "gliznet-full", seed))
            predictions = frame.filter(like="score:").to_numpy().argmax(axis=1)
            by_seed.append(metrics.compute_metrics(predictions, frame["gold"].str[0].to_numpy(dtype=int)))
        per_dataset[name] = {metric: sum(of_seed[metric] for of_seed in by_seed) / 3 for metric in BTZSC_METRICS}
        assert results["by_dataset"][name] == pytest.approx(per_dataset[name])
    groups = {"sentiment": ["imdb"], "topic": ["agnews"]}
    summary = metrics.compute_task_summary(per_dataset, groups)
    assert results["by_task"] == {name: pytest.approx(summary[name]) for name in groups}
    table = compare(pd.DataFrame(results["by_dataset"]).T.reset_index(), model_name="ours")
    assert table.loc[table["model"] == "ours", "f1"].item() == pytest.approx(results["overall"]["macro_f1"])


def test_our_names_of_btzsc_sets_are_presets_and_theirs() -> None:
    data = pytest.importorskip("btzsc.data", reason="btzsc is not installed; make setup installs it")
    presets = load_resources(REPOSITORY / "workflow" / "resources")["datasets"]
    for own, (name, task) in BTZSC.items():
        assert own in presets and name in data.TASK_GROUPS[task]


def test_btzsc_refusals_name_what_is_allowed(made: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match=r"family 'gliznet'.*embedding"):
        btzsc(made.root, "gliznet-full")
    with pytest.raises(ConfigError, match=r"--model-type: .*'encoder'"):
        btzsc(made.root, "gliznet-full", "encoder")
    with pytest.raises(ConfigError, match=r"has no system 'nli'.* allowed: biencoder, gliznet-full"):
        btzsc(made.root, "nli")
    with pytest.raises(IntegrityError, match=r"hybrid has no single-label results"):
        btzsc(made.root, "hybrid", "nli")


def test_the_hub_reads_the_model_index(made: SimpleNamespace) -> None:
    name, results = model_index_to_eval_results(
        yaml.safe_load(model_index(made.root, "gliznet-full", 2))["model-index"]
    )
    assert name == "gliznet-full"
    shown = {(found.dataset_name, found.metric_type, found.metric_name): found for found in results}
    stored = json.loads(Layout(made.root).metrics("gliclass", "r8", "gliznet-full", 2).read_text())
    found = shown["Reuters-21578 R8 (letters only)", "f1", "Macro-F1 (argmax)"]
    assert found.metric_value == pytest.approx(stored["decisions"][0]["metrics"]["macro_f1"], abs=1e-6)
    assert (found.dataset_split, found.dataset_revision) == ("test", "00000000")
    stored = json.loads(Layout(made.root).metrics("topics", "topics-mini", "gliznet-full", 2).read_text())
    values = {(block["protocol"], block["split"]): block["metrics"] for block in stored["decisions"]}
    found = shown["Topics (authored)", "exact_match", "Exact match (held-out)"]
    assert found.metric_value == pytest.approx(values["held-out", "test"]["exact_match"], abs=1e-6)
    with pytest.raises(ConfigError, match="gliznet-full: no seed 7; allowed: 1, 2"):
        model_index(made.root, "gliznet-full", 7)


@pytest.mark.parametrize(
    ("test_rows", "changes"),
    [
        (True, {}),
        (False, {}),  # like the published set
        (True, {"protocols": ["fixed-0.5"]}),
        (True, {"protocols": ["val-tuned", "train-cv"]}),
        (True, {"protocols": ["heads-tuned"]}),  # no protocol that tables prefer
        (False, {"folds": 2, "fold_seed": 7, "partitions": 2}),
    ],
)
def test_page_compare_and_export_show_a_topic_system_as_the_run_decided_it(
    made: SimpleNamespace, tmp_path: Path, test_rows: bool, changes: dict[str, Any]
) -> None:
    root, spec = tmp_path / "run", json.loads(json.dumps(made.spec))
    spec["suites"] = {"topics": spec["suites"]["topics"] | changes}
    shutil.copytree(made.root, root)
    if "train-cv" in changes.get("protocols", ()):
        with_train_rows(root)
    if not test_rows:
        without_test_rows(root)
    measure(root, spec)
    run = RunData(root, spec)
    protocol, split = run.decision("topics")
    if not protocol:  # a suite with protocols that are not compared
        protocol, split = "heads-tuned", "validation"
    shown = run.metrics[(run.metrics["dataset"] == "topics-mini") & (run.metrics["metric"] == "macro_f1")]
    shown = shown[(shown["protocol"] == protocol) & (shown["split"] == split)].set_index(["system", "seed"])["value"]
    _, results = model_index_to_eval_results(yaml.safe_load(model_index(root, "hybrid", 1))["model-index"])
    exported = next(found for found in results if found.metric_type == "f1")
    assert (exported.metric_args["protocol"], exported.dataset_split) == (protocol, split)
    assert exported.metric_value == pytest.approx(shown["hybrid", 1], abs=1e-6)
    facts = dict(details(run)["cells"][key_of("topics", "topics-mini", "hybrid")]["facts"])
    partitions = spec["suites"]["topics"]["partitions"]
    shown_part = f", first of {partitions} partitions" if protocol == "cv" else ""  # the dialog shows one of many
    assert facts["decided"] == f"{protocol} on {split}{shown_part}"
    compared = compare_runs(root, root, ("hybrid", "gliznet-full"), {"draws": 20}).deltas
    assert compared[compared["dataset"] == "topics-mini"]["a"].item() == pytest.approx(shown["hybrid"].mean())


def without_test_rows(root: Path) -> None:
    """Remove the test rows from every topic cell."""
    for path in root.glob("cells/topics/*/*/seed*/scores.parquet"):
        frame = pd.read_parquet(path)
        _replace(path, frame[frame["split"] == "validation"])


def with_train_rows(root: Path) -> None:
    """Make half of the test rows of every topic cell train rows."""
    for path in root.glob("cells/topics/*/*/seed*/scores.parquet"):
        frame = pd.read_parquet(path)
        test = frame.index[frame["split"] == "test"]
        frame["split"] = frame["split"].astype(str).where(~frame.index.isin(test[::2]), "train")
        _replace(path, frame)


def _replace(scores: Path, frame: pd.DataFrame) -> None:
    frame.to_parquet(scores, index=False)
    card = scores.with_name("card.json")
    write_json(card, read_json(card) | {"scores_sha256": file_sha256(scores)})


def test_the_model_index_goes_into_our_card_and_replaces_itself(
    made: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text(render_card(GliZNetConfig(backbone_model="nreimers/MiniLM-L6-H384-uncased")))
    block = model_index(made.root, "gliznet-full")
    write_model_index(tmp_path, block)
    once = (tmp_path / "README.md").read_text()
    write_model_index(tmp_path, block)
    assert (tmp_path / "README.md").read_text() == once
    assert main(["export", "model-index", str(made.root), "gliznet-full", "--into", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'README.md'}\n"
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.eval_results == model_index_to_eval_results(yaml.safe_load(block)["model-index"])[1]
    assert card.data.pipeline_tag == "zero-shot-classification" and MARK in card.text and "## Use" in card.text
    shutil.rmtree(tmp_path)
    with pytest.raises(IntegrityError, match="README.md is missing"):
        write_model_index(tmp_path, block)
