"""The rehearsal's systems: every adapter family has one, scores are imported as csv, a model answers on loopback."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.rehearsal.__main__ import main
from tests.rehearsal.own import WordCount, endpoint, with_endpoint
from tests.zsbench.conftest import checked
from zsbench.config.load import load_resources, load_yaml, merge
from zsbench.evaluation.scoring import score_job
from zsbench.families import FAMILIES
from zsbench.plan.plan import Plan
from zsbench.store.layout import Layout
from zsbench.store.provenance import file_sha256, read_json, write_json
from zsbench.systems import load

from .conftest import REPOSITORY

OVERLAY = REPOSITORY / "workflow" / "configs" / "rehearsal.yaml"
TEXTS = ["Money and more money", "health of banks", "", "chips", "money for chips chips"]
LABELS = ["money", "health", "computer chips"]


@pytest.fixture(scope="module")
def plan(paper) -> Plan:
    return Plan(checked(merge(paper, load_yaml(OVERLAY))), load_resources(REPOSITORY / "workflow" / "resources"))


@pytest.fixture
def run(tmp_path: Path) -> Layout:
    """A run with one prepared dataset."""
    layout = Layout(tmp_path / "results" / "rehearsal")
    rows = pd.DataFrame({"sample_id": list("abcde"), "split": "test", "text": TEXTS, "gold": [[0], [1], [0], [2], [2]]})
    layout.dataset("news").parent.mkdir(parents=True)
    rows.to_parquet(layout.dataset("news"), index=False)
    facts = {"id": "news", "labels": LABELS, "label_names": ["m", "h", "c"], "task": "single", "revision": "0"}
    facts |= {"verbalisation": "plain", "rows": {"test": 5}, "rows_sha256": file_sha256(layout.dataset("news"))}
    write_json(layout.dataset_card("news"), facts)
    return layout


def test_the_rehearsal_has_a_system_of_every_family(plan) -> None:
    assert {system.family for system in plan.systems.values()} == set(FAMILIES)


def test_the_makefile_brings_what_the_overlay_asks_for(plan) -> None:
    recipe = (REPOSITORY / "Makefile").read_text().partition("rehearsal: setup\n")[2].partition("\n\n")[0]
    port = re.search(r"rehearsal endpoint --port (\d+)", recipe)[1]
    assert plan.systems["llm"].settings["url"] == f"http://127.0.0.1:{port}/v1"
    assert recipe.index("data --configfile") < recipe.index("rehearsal scores") < recipe.index("rehearsal endpoint")


def test_the_class_the_csv_and_the_model_agree(plan, run: Layout, capsys) -> None:
    """The same counts in three ways: a class, `import-scores`, and answers of an endpoint."""
    assert main(["scores", "--root", str(run.root), "--config", str(OVERLAY)]) == 0
    assert "1 csv files imported" in capsys.readouterr().out
    found = {}
    with endpoint(0) as address:
        for name in ("own-class", "own-scores", "llm"):
            spec = plan.score_spec(name, 0)[0] | {"datasets": ["news"], "precision": "fp32"}
            if name == "llm":
                spec["settings"] = spec["settings"] | {"url": address}
            score_job(run.root, spec)
            frame = pd.read_parquet(run.scores("gliclass", "news", name, 0))
            found[name] = frame.filter(like="score:").to_numpy()
    counts = WordCount().score(TEXTS, LABELS)
    np.testing.assert_array_equal(found["own-class"], counts)
    np.testing.assert_array_equal(found["own-scores"], counts)
    chances = np.exp(counts) / np.exp(counts).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(found["llm"]), chances, atol=1e-6)
    card = read_json(run.card("gliclass", "news", "llm", 0))
    assert card["requests"] == 5 and card["prompt_tokens"] > 0 and card["mean_latency"] > 0


def test_the_model_judges_single_labels(plan, tmp_path: Path) -> None:
    with endpoint(0) as address:
        spec = next(spec for spec in plan.score_spec("llm", 0) if spec["task"] == "multi")
        spec["settings"] = spec["settings"] | {"url": address}
        scores = load.build(spec, Layout(tmp_path)).score(TEXTS[:1], LABELS)
    assert scores.shape == (1, 3) and scores[0, 0] > 0.8 and (scores[0, 1:] == 0.5).all()


def test_the_endpoint_lives_as_long_as_its_command(capsys) -> None:
    code = "import sys, urllib.request as u; u.urlopen(sys.argv[1] + '/none')"
    with endpoint(0) as address:
        port = int(address.split(":")[2].partition("/")[0])
    assert with_endpoint(port, [sys.executable, "-c", "import sys; sys.exit(7)"]) == 7
    assert with_endpoint(port, [sys.executable, "-c", code, address]) == 1, "no such path: it answers"
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
