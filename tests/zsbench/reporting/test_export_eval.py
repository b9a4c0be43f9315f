"""Exports of results, read by their target libraries: every-eval-ever and huggingface_hub."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from zsbench.cli.main import main
from zsbench.config.load import ConfigError
from zsbench.reporting.export_eval import eval_results, every_eval_ever
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json, write_json

WHO = {"model_id": "ours/gliznet", "organization": "ours", "relationship": "first_party"}
AS_OPTIONS = ["--model-id", "ours/gliznet", "--organization", "ours"]


@pytest.fixture
def from_the_hub(made: SimpleNamespace, tmp_path: Path) -> Path:
    """The made-up run, with one set from the hub."""
    import shutil

    root = tmp_path / "run"
    shutil.copytree(made.root, root)
    card = Layout(root).dataset_card("r8")
    write_json(card, read_json(card) | {"origin": "hub:datasets/someone/r8"})
    return root


def stored(root: Path, dataset: str, seed: int) -> dict[str, float]:
    return json.loads(Layout(root).metrics("gliclass", dataset, "gliznet-full", seed).read_text())["decisions"][0][
        "metrics"
    ]


def test_every_eval_ever_finds_nothing_to_say(from_the_hub: Path, tmp_path: Path, capsys) -> None:
    validator = pytest.importorskip("every_eval_ever.validator", reason="every-eval-ever is missing; see make setup")
    store = tmp_path / "store"
    arguments = ["export", "eee", str(from_the_hub), "gliznet-full", *AS_OPTIONS, "--seed", "2", "--into", str(store)]
    assert main(arguments) == 0
    path = Path(capsys.readouterr().out.strip())
    found = validator.validate_file(path, repo_path=path.relative_to(store).as_posix(), run_semantic_checks=True)
    assert found.valid and not found.errors and not found.warnings
    record = json.loads(path.read_text())
    record["evaluation_results"][0]["score_details"]["score"] = 7
    record["unknown"] = 1
    path.write_text(json.dumps(record))
    assert not validator.validate_file(
        path, repo_path=path.relative_to(store).as_posix(), run_semantic_checks=True
    ).valid


def test_its_numbers_and_sources_are_those_of_the_cells(from_the_hub: Path) -> None:
    record = every_eval_ever(from_the_hub, "gliznet-full", **WHO, seed=2, now=1.0)
    results = {one["evaluation_result_id"]: one for one in record["evaluation_results"]}
    assert len(results) == len(record["evaluation_results"])
    for dataset in ("r8", "movies"):
        one = results[f"gliclass/{dataset}/seed2/macro_f1"]
        assert one["score_details"]["score"] == pytest.approx(stored(from_the_hub, dataset, 2)["macro_f1"], abs=1e-6)
    assert results["gliclass/r8/seed2/macro_f1"]["source_data"]["hf_repo"] == "someone/r8"
    assert results["gliclass/movies/seed2/macro_f1"]["source_data"]["source_type"] == "other"
    assert results["gliclass/r8/seed2/accuracy"]["source_data"]["additional_details"]["licence"] == "CC BY 4.0"
    assert record["model_info"]["additional_details"]["licences"] == "minilm: Apache-2.0; rows: CC BY 4.0"
    assert any(name.startswith("topics/") for name in results)
    assert record == every_eval_ever(from_the_hub, "gliznet-full", **WHO, seed=2, now=1.9)


@pytest.mark.parametrize(("family", "known"), [("gliznet", True), ("imported", False), ("custom", False)])
def test_nothing_is_claimed_about_systems_of_unknown_origin(from_the_hub: Path, family: str, known: bool) -> None:
    for path in from_the_hub.glob("cells/*/*/gliznet-full/*/card.json"):
        write_json(path, read_json(path) | {"family": family})
    details = every_eval_ever(from_the_hub, "gliznet-full", **WHO, seed=2)["model_info"]["additional_details"]
    expected = ("self_deployed", "open_weights") if known else ("unknown", "unknown")
    assert (details["deployment_type"], details["model_availability"]) == expected


def test_the_hub_reads_eval_results(from_the_hub: Path, tmp_path: Path) -> None:
    arguments = ["export", "eval-results", str(from_the_hub), "gliznet-full", "--seed", "3", "--into", str(tmp_path)]
    assert main([*arguments, "--source-url", "https://example.org/report"]) == 0
    (path,) = (tmp_path / ".eval_results").glob("*.yaml")
    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert (entry.dataset_id, entry.task_id, entry.source_url) == ("someone/r8", "r8", "https://example.org/report")
    assert entry.value == pytest.approx(100 * stored(from_the_hub, "r8", 3)["macro_f1"], abs=1e-3)
    assert "argmax" in entry.notes


def test_refusals_name_what_is_allowed(made: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="model id 'gliznet'.*DEVELOPER/NAME"):
        every_eval_ever(made.root, "gliznet-full", **WHO | {"model_id": "gliznet"})
    with pytest.raises(ConfigError, match="no seed 9; allowed: 1, 2"):
        every_eval_ever(made.root, "gliznet-full", **WHO, seed=9)
    with pytest.raises(IntegrityError, match="eval_results"):
        eval_results(made.root, "gliznet-full")
