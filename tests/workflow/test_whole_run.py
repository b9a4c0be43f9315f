"""A whole tiny run: without network, reproducible, killed at any point and continued by the same command."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hybridnli.checkpoint import CheckpointError
from tests.measured import measure
from zsbench.data.prepare import prepare_dataset
from zsbench.evaluation.scoring import score_job
from zsbench.reporting.explain import explain
from zsbench.reporting.frames import RunData
from zsbench.reporting.same import differences
from zsbench.reporting.tables import write_tables
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, read_json
from zsbench.training.hybrid import train_hybrid
from zsbench.training.run import build_task

from .whole_run import CONFIG, WholeRun, damage, tiny_plan, without_network, write_mirror

pytestmark = pytest.mark.runs
ORDER = ("workflow", "trainer", "launcher", "scorer", "renderer")  # in the order of a run


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mirror(tmp_path_factory.mktemp("replicas"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> WholeRun:
    """A run finished on one core, without network."""
    run = WholeRun(tmp_path_factory.mktemp("whole") / "undisturbed", mirror)
    run.lives = run.time_run(1, without_network())
    return run


@pytest.fixture
def disturbed(tmp_path: Path, mirror: Path) -> Iterator[WholeRun]:
    run = WholeRun(tmp_path / "disturbed", mirror)
    yield run
    for process in run.processes():
        process.kill()
    shutil.rmtree(run.folder)


def same(a: WholeRun, b: WholeRun) -> list[str]:
    return differences(a.results, b.results) + differences(a.reports, b.reports)


def test_a_run_tries_no_connection(undisturbed: WholeRun) -> None:
    journal = undisturbed.folder / "connections"
    assert not journal.exists(), journal.read_text()
    assert undisturbed.left_behind() == []


def test_cards_state_licences(undisturbed: WholeRun) -> None:
    layout = Layout(undisturbed.results)
    manifest = read_json(layout.manifest)["sources"]
    made_of = {name: manifest[name]["licence"] for name in ("deberta-v3-base-zeroshot", "zshot-hardset-v2")}
    assert read_json(layout.model("gliznet-full", 1))["licences"] == made_of
    assert read_json(layout.card("topics", "topics-published", "gliznet-full", 1))["licences"] == made_of
    card = (layout.checkpoint("gliznet-full", 1) / "README.md").read_text()
    for name, row in (("deberta-v3-base-zeroshot", "backbone"), ("zshot-hardset-v2", "training data")):
        assert f"| {row} | `{name}` (licence: {made_of[name]}) |" in card
    topics = read_json(layout.dataset_card("topics-published"))["licence"]
    assert read_json(layout.model("hybrid", 1))["licences"] == {
        "deberta-v3-base-zeroshot": made_of["deberta-v3-base-zeroshot"], "topics-published": topics
    }  # fmt: skip


def test_kill_9_anywhere_and_the_same_command_again(undisturbed: WholeRun, disturbed: WholeRun) -> None:
    """Two jobs at a time here, one in `undisturbed`: the number of jobs does not matter either."""
    hits = [disturbed.kill(kind, 2, seed, undisturbed.lives[kind]) for seed, kind in enumerate(ORDER)]
    disturbed.finish_run(2)
    assert sum(hits) >= 4, f"killed too late: {dict(zip(ORDER, hits, strict=True))}"
    assert same(undisturbed, disturbed) == []
    assert disturbed.left_behind() == []
    journal = disturbed.folder / "connections"
    assert not journal.exists(), journal.read_text()


FLAKY = """
from pathlib import Path


class Flaky:
    def score(self, texts, labels):
        if Path("broken").exists():
            raise RuntimeError("out of order")
        return [[len(text) % 7 / 7] * len(labels) for text in texts]
"""


def test_a_failed_cell_stops_nothing_and_the_same_command_tries_it_again(undisturbed: WholeRun, tmp_path: Path) -> None:
    """Adds a system to the finished run that is broken at first."""
    run = object.__new__(WholeRun)
    run.folder, run.environment = (
        tmp_path / "flaky",
        undisturbed.environment | {"PYTHONPATH": str(tmp_path / "flaky/src")},
    )
    shutil.copytree(undisturbed.folder, run.folder, symlinks=True, copy_function=shutil.copy2)
    own = {"family": "custom", "class": "flaky:Flaky", "suites": ["topics"]}
    (run.folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG | {"systems": {"mine": own}}))
    (run.folder / "src" / "flaky.py").write_text(FLAKY)
    (run.folder / "broken").touch()
    log = run.folder / "log"

    def go(*arguments: str) -> tuple[int, str, str]:
        """Exit status, output, and report."""
        log.unlink(missing_ok=True)
        code = run.start(1, arguments=arguments).wait()
        return code, log.read_text(), (run.reports / "REPORT.md").read_text()

    code, text, report = go()
    assert code == 1 and "mine/0: RuntimeError: out of order" in text, text[-3000:]
    assert text.count("Repeat the command to retry them.") == 1
    assert "mine on" in report and "(failed: RuntimeError: out of order)" in report
    evaluate = ("--show-failed-logs", "evaluate")  # a report for every attempt would cost a minute
    assert go(*evaluate)[0] == 1
    assert len(Layout(run.results).failures("mine", 0).read_text().splitlines()) == 2
    planned = go("-n", *evaluate)[1]
    assert re.search(r"^score +1$", planned, re.M) and "1 of them failed before" in planned
    (run.folder / "broken").unlink()
    code, text, _ = go(*evaluate)
    assert code == 0 and "out of order" not in text, text[-3000:]
    assert "Nothing to be done" in go("-n", *evaluate)[1]


PLAN = tiny_plan()
TOPICS, CELL = "topics-published", ("topics", "topics-published", "gliznet-full", 1)


def prepare(layout: Layout) -> None:
    files = layout.fetched(TOPICS), layout.dataset(TOPICS), layout.dataset_card(TOPICS)
    prepare_dataset(PLAN.dataset_spec(TOPICS), *files)


def train(layout: Layout) -> None:
    build_task(PLAN.training_spec("gliznet-full", 1), layout)


def heads(layout: Layout) -> None:
    train_hybrid(layout.root, PLAN.hybrid_spec("hybrid", 1))


def score(layout: Layout) -> None:
    for system in ("gliznet-full", "hybrid"):
        score_job(layout.root, *PLAN.spec("score", system, 1), licences=PLAN.spec("system_licences", system))


def evaluate(layout: Layout) -> None:
    measure(layout.root, PLAN.analysis_spec)


def draw(layout: Layout) -> None:
    assert RunData(layout.root, PLAN.analysis_spec).scores(*CELL) is not None


def tables(layout: Layout) -> None:
    write_tables(layout.root, PLAN.analysis_spec, layout.root / "tables")


def tell(layout: Layout) -> None:
    explain(layout.cell(*CELL))


READERS = {  # a stored file of each kind -> what reads it
    "fetch/topics-published/files/data/*.json": prepare,
    "fetch/topics-published/manifest.json": prepare,
    "fetch/deberta-v3-base-zeroshot/files/model.safetensors": train,
    "fetch/deberta-v3-base-zeroshot/files/config.json": heads,
    "training_sets/*/rows.parquet": train,
    "training_sets/*/card.json": train,
    "datasets/*/rows.parquet": score,
    "datasets/*/card.json": score,
    "models/gliznet-full/seed1/checkpoint/model.safetensors": score,
    "models/gliznet-full/seed1/checkpoint/config.json": score,
    "models/gliznet-full/seed1/checkpoint/tokenizer.json": score,
    "models/gliznet-full/seed1/training.json": score,
    "models/hybrid/seed1/checkpoint/multihead_v2.pt": score,
    "models/hybrid/seed1/training.json": score,
    "cells/topics/*/gliznet-full/seed1/scores.parquet": evaluate,
    "cells/topics/*/hybrid/seed1/scores.parquet": evaluate,
    "cells/topics/*/hybrid/seed1/card.json": evaluate,
    "cells/topics/*/gliznet-full/seed1/scores*.parquet": draw,
    "cells/topics/*/gliznet-full/seed1/metrics.json": tell,
    "analysis/metrics.parquet": tables,
    "analysis/deltas.parquet": tables,
    "analysis/cost.parquet": tables,
    "analysis/calibration.parquet": tables,
    "analysis/overlap.json": tables,
}


@pytest.fixture
def layout(undisturbed: WholeRun, tmp_path: Path) -> Layout:
    """A copy of the finished results for a test to damage."""
    shutil.copytree(undisturbed.results, tmp_path / "tiny")
    return Layout(tmp_path / "tiny")


@pytest.mark.parametrize("kind", ["flipped", "cut"])
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_refused_by_name(undisturbed: WholeRun, layout: Layout, name: str, kind: str) -> None:
    path, read = next(layout.root.glob(name)), READERS[name]
    damage(path, kind, 0)
    try:
        read(layout)
    except (IntegrityError, CheckpointError) as refused:
        assert path.name in str(refused) and ("again" in str(refused) or "delete" in str(refused))
    else:  # the file of a frame also contains unused bytes
        assert read is tables and kind == "flipped"
        assert differences(undisturbed.reports / "tables", layout.root / "tables") == []


@pytest.mark.parametrize("kind", ["flipped", "cut"])
@pytest.mark.parametrize("name", ["scores.parquet", "card.json"])
def test_damaged_cells_are_scored_again(undisturbed: WholeRun, layout: Layout, name: str, kind: str) -> None:
    for path in layout.root.glob(f"cells/*/*/gliznet-full/*/{name}"):
        damage(path, kind, 1)
    score(layout)
    assert differences(undisturbed.results / "cells", layout.root / "cells") == []


@pytest.mark.parametrize("kind", ["flipped", "cut"])
def test_damaged_features_are_made_anew(undisturbed: WholeRun, layout: Layout, kind: str) -> None:
    for name in ("tokens-*", "nli-*", "descriptions-*"):
        damage(next(layout.root.glob(f"features/*/*/{name}")), kind, 0)
    words = ["job", "train-hybrid", "--root", str(layout.root), "--model", "hybrid", "--seed", "1"]
    command = [sys.executable, "-m", "zsbench.cli", *words]
    done = subprocess.run(command, env=undisturbed.environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.count("made again") >= 3, done.stderr
    for kept in ("features", "models"):
        assert differences(undisturbed.results / kept, layout.root / kept) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("round_", range(4))
def test_20_random_kills(undisturbed: WholeRun, disturbed: WholeRun, round_: int) -> None:
    seeds = {kind: 100 * round_ + seed for seed, kind in enumerate(ORDER, start=7)}
    hits = [disturbed.kill(kind, 2, seed, undisturbed.lives[kind]) for kind, seed in seeds.items()]
    disturbed.finish_run(2)
    assert sum(hits) >= 3, f"killed too late: {dict(zip(ORDER, hits, strict=True))}"
    assert same(undisturbed, disturbed) == []
    assert disturbed.left_behind() == []
