"""Cells: content, cards, rescoring, atomicity, refusals."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_run import finish_source, without_scores

from zsbench.evaluation.scoring import score_job
from zsbench.plan import code_identity
from zsbench.store.layout import Layout
from zsbench.store.provenance import digest, file_sha256, read_json, write_json
from zsbench.systems import LabelSetError, TaskSystem, load

FAMILIES = {
    "gliznet": {"model": ("trained", "gliznet-full")},
    "nli": {"model": ("source", "tiny-nli")},
    "biencoder": {"model": ("source", "tiny-embedder")},
}


@pytest.fixture
def fresh(run, tmp_path) -> Layout:
    """A private copy of the run."""
    shutil.copytree(run.root, tmp_path / "run", ignore=shutil.ignore_patterns("cells", "scores", "cache", "features"))
    return Layout(tmp_path / "run")


def read(layout, suite, dataset, spec) -> tuple[pd.DataFrame, dict]:
    where = (suite, dataset, spec["system"], spec["seed"])
    return pd.read_parquet(layout.scores(*where)), read_json(layout.card(*where))


def matrix(frame) -> np.ndarray:
    return frame.filter(like="score:").to_numpy()


class Recorder:
    """A fake system that records its requests."""

    def __init__(self, value=lambda text, label: len(text) + len(label)):
        self.value, self.asked = value, []

    def score(self, texts, labels):
        self.asked.append((list(texts), list(labels)))
        return np.array([[self.value(text, label) for label in labels] for text in texts], dtype=float)


@pytest.fixture
def recorder(monkeypatch):
    made = Recorder()
    monkeypatch.setattr(load, "build", lambda spec, layout: made)
    return made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("suite", ["gliclass", "topics"])
def test_every_family_fills_whole_cells(run, make_spec, family, suite):
    spec = make_spec(family, suite, **FAMILIES[family])
    score_job(run.root, spec)
    dataset = spec["datasets"][0]
    frame, card = read(run, suite, dataset, spec)
    rows = pd.read_parquet(run.dataset(dataset))
    rows = rows[rows["split"].isin(["test"] if suite == "gliclass" else ["validation", "test"])]
    assert frame["sample_id"].tolist() == rows["sample_id"].tolist()
    assert [list(gold) for gold in frame["gold"]] == [list(gold) for gold in rows["gold"]]
    facts = read_json(run.dataset_card(dataset))
    assert [column for column in frame if column.startswith("score:")] == [f"score:{n}" for n in facts["label_names"]]
    assert np.isfinite(matrix(frame)).all() and matrix(frame).dtype == np.float64
    if suite == "topics":
        assert matrix(frame).min() >= 0 and matrix(frame).max() <= 1
    assert card["scores_sha256"] == file_sha256(run.scores(suite, dataset, spec["system"], 1))
    assert card["labels_digest"] == digest(facts["labels"]) and card["weights_sha256"]
    needed = (
        "system_digest source environment device dtype seconds texts_per_second peak_memory_mb truncated_texts key seen"
    )
    assert set(needed.split()) <= set(card)


def test_systems_read_the_wording_and_columns_have_the_names(fresh, make_spec, recorder):
    spec = make_spec("nli", model=("source", "tiny-nli"), datasets=["more"])
    score_job(fresh.root, spec)
    assert recorder.asked[0][1] == ["bad", "good"]
    assert list(read(fresh, "gliclass", "more", spec)[0].columns[3:]) == ["score:negative", "score:positive"]


def test_an_added_dataset_scores_itself_only(fresh, make_spec, recorder):
    spec = make_spec("nli", model=("source", "tiny-nli"))
    score_job(fresh.root, spec)
    first = read(fresh, "gliclass", "news", spec)
    recorder.asked.clear()
    score_job(fresh.root, spec | {"datasets": ["news", "more"]})
    assert [labels for _, labels in recorder.asked] == [["bad", "good"]]
    assert read(fresh, "gliclass", "news", spec)[1] == first[1] | {
        "command": read(fresh, "gliclass", "news", spec)[1]["command"]
    }


def test_an_edit_of_the_fast_attention_scores_nli_again(fresh, make_spec, recorder, monkeypatch, tmp_path):
    """All NLI models use it; the key used to contain the wrong files."""
    spec = make_spec("nli", model=("source", "tiny-nli"))
    score_job(fresh.root, spec)
    recorder.asked.clear()
    source = tmp_path / "src"
    shutil.copytree(code_identity.SRC, source, ignore=shutil.ignore_patterns("__pycache__", "authored"))
    monkeypatch.setattr(code_identity, "SRC", source)
    score_job(fresh.root, spec)
    assert not recorder.asked
    attention = source / "gliznet" / "fast" / "deberta.py"
    attention.write_text(attention.read_text().replace("return 1 / math.sqrt(", "return 2 / math.sqrt("))
    score_job(fresh.root, spec)
    assert recorder.asked


def test_nothing_new_loads_no_model_and_leaves_the_same_bytes(fresh, make_spec, monkeypatch):
    spec = make_spec("nli", model=("source", "tiny-nli"))
    score_job(fresh.root, spec)
    paths = [path for path in fresh.root.rglob("*") if path.is_file() and path.parts[-2] != "logs"]
    before = {path: path.read_bytes() for path in paths}
    fresh.scored(spec["system"], 1).unlink()  # as Snakemake does before it runs the job again
    monkeypatch.setattr(load, "build", lambda *_: pytest.fail("a model was loaded"))
    score_job(fresh.root, spec)
    assert {path: path.read_bytes() for path in paths} == before


def test_the_job_lists_its_cells_with_their_sums(fresh, make_spec, recorder):
    spec = make_spec("nli", model=("source", "tiny-nli"), datasets=["news", "more"])
    other = make_spec("nli", "topics", model=("source", "tiny-nli"), datasets=[])
    score_job(fresh.root, spec, other)
    listed = read_json(fresh.scored(spec["system"], 1))
    assert set(listed["scores"]) == set(listed["cards"]) == {"gliclass/news", "gliclass/more"}
    place = ("gliclass", "news", spec["system"], 1)
    assert listed["scores"]["gliclass/news"] == file_sha256(fresh.scores(*place))
    assert listed["cards"]["gliclass/news"] == file_sha256(fresh.card(*place)) and not listed["sensitivity"]


@pytest.mark.parametrize("change", ["weights", "settings", "precision", "rows", "labels"])
def test_whatever_decides_scores_makes_another_key(fresh, make_spec, recorder, change):
    spec = make_spec("nli", model=("source", "tiny-nli"))
    score_job(fresh.root, spec)
    before = read(fresh, "gliclass", "news", spec)[1]["key"]
    recorder.asked.clear()
    if change == "weights":
        path = fresh.fetched("tiny-nli").parent / "files" / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        finish_source(fresh, "tiny-nli")
    elif change == "settings":
        spec["settings"] = {"template": "About {}."}
    elif change == "precision":
        spec["precision"] = "bf16"
    else:
        card = read_json(fresh.dataset_card("news"))
        if change == "rows":
            rows = pd.read_parquet(fresh.dataset("news"))
            rows.loc[0, "text"] = "another text"
            rows.to_parquet(fresh.dataset("news"), index=False)
            card["rows_sha256"] = file_sha256(fresh.dataset("news"))
        else:
            card["labels"] = card["labels"][::-1]
        write_json(fresh.dataset_card("news"), card)
    score_job(fresh.root, spec)
    assert recorder.asked and read(fresh, "gliclass", "news", spec)[1]["key"] != before


def test_non_finite_scores_fail_the_cell_and_name_it(fresh, make_spec, recorder):
    recorder.value = lambda text, label: float("nan") if "\x00" in text else 1.0
    spec = make_spec("nli", model=("source", "tiny-nli"))
    score_job(fresh.root, spec)
    card = without_scores(fresh, spec)
    assert card["status"] == "failed" and re.search("nli-system.*'news'.*news-31", card["reason"])


def test_a_wrong_shape_or_range_is_refused(fresh, make_spec, recorder):
    spec = make_spec("nli", "topics", model=("source", "tiny-nli"))
    score_job(fresh.root, spec)
    assert "probabilities in [0, 1]" in without_scores(fresh, spec)["reason"]
    recorder.score = lambda texts, labels: np.zeros((len(texts), len(labels) + 1))
    spec = make_spec("nli", model=("source", "tiny-nli"))
    score_job(fresh.root, spec)
    assert "expected (33, 3)" in without_scores(fresh, spec)["reason"]


FAULTS = {  # behaviour of a system on one dataset -> (status, reason on the card)
    "raises": (lambda *_: 1 / 0, "failed", "ZeroDivisionError: division by zero"),
    "refuses": (lambda *_: raise_(LabelSetError("too many")), "not-applicable", "too many"),
    "nan": (lambda texts, labels: np.full((len(texts), len(labels)), np.nan), "failed", "NaN or infinite scores"),
    "own file": (lambda *_: Path("/no/such/file").read_text(), "failed", "FileNotFoundError"),
}  # fmt: skip


def raise_(error: Exception):
    raise error


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_on_one_dataset_leaves_the_others_alone(fresh, make_spec, recorder, capsys, case):
    fault, status, reason = FAULTS[case]
    scores = recorder.score
    recorder.score = lambda texts, labels: (fault if "money" in labels else scores)(texts, labels)
    spec = make_spec("nli", model=("source", "tiny-nli"), datasets=["news", "more"])
    score_job(fresh.root, spec)
    card = without_scores(fresh, spec, "news")
    assert (card["status"], reason in card["reason"]) == (status, True)
    frame, other = read(fresh, "gliclass", "more", spec)
    assert len(frame) == 12 and other["status"] == "ok"
    assert f"news: {status}: " in (logged := capsys.readouterr().err)
    assert ("Traceback" in logged) == (status == "failed")


def test_a_system_that_cannot_be_loaded_fails_all_its_cells_at_one_attempt(fresh, make_spec, monkeypatch):
    tried = []
    monkeypatch.setattr(load, "build", lambda *_: tried.append(1) or raise_(RuntimeError("no such tensor")))
    spec = make_spec("nli", model=("source", "tiny-nli"), datasets=["news", "more"])
    score_job(fresh.root, spec)
    assert [without_scores(fresh, spec, name)["reason"] for name in spec["datasets"]] == [
        "RuntimeError: no such tensor"
    ] * 2
    assert len(tried) == 1


ENDINGS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory (made up)"),
    OSError(28, "No space left on device"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", ENDINGS)
def test_what_would_end_every_cell_ends_the_job(fresh, make_spec, recorder, error):
    recorder.score = lambda *_: raise_(error)
    with pytest.raises(type(error)):
        score_job(fresh.root, make_spec("nli", model=("source", "tiny-nli")))
    assert not list(fresh.root.glob("cells/**/*.*")) and not (fresh.root / "scores").exists()


def test_failures_are_counted_until_the_cell_is_there_and_refusals_are_not(fresh, make_spec, recorder):
    """The job parameter that makes Snakemake retry changes after each failure, and not after a success."""
    good, spec = recorder.score, make_spec("nli", model=("source", "tiny-nli"))
    seen = []
    for score in (lambda *_: 1 / 0, lambda *_: 1 / 0, good, good):
        recorder.score = score
        score_job(fresh.root, spec)
        seen.append(fresh.failures(spec["system"], 1).read_text())
    assert len({*seen}) == 2 and seen[1].startswith(seen[0]) and seen[1] == seen[2] == seen[3]
    assert read(fresh, "gliclass", "news", spec)[1]["status"] == "ok"
    recorder.score = lambda *_: raise_(LabelSetError("no"))
    score_job(fresh.root, spec | {"system": "other"})
    assert not fresh.failures("other", 1).exists()


def test_scores_stand_without_a_sensitivity_that_failed(fresh, make_spec, recorder):
    wordings = {"news": {"plain": ["money", "health", "chips"], "other": ["banks", "doctors", "power"]}}
    asked = {"orders": 0, "rows": 8, "seed": 0, "wordings": wordings}
    spec = make_spec("nli", model=("source", "tiny-nli"), sensitivity=asked)
    scores = recorder.score
    recorder.score = lambda texts, labels: 1 / 0 if "banks" in labels else scores(texts, labels)
    score_job(fresh.root, spec)
    frame, card = read(fresh, "gliclass", "news", spec)
    assert len(frame) == 33 and card["status"] == "ok"
    assert card["no_sensitivity"] == {"status": "failed", "reason": "ZeroDivisionError: division by zero"}
    assert fresh.failures(spec["system"], 1).exists()


def test_a_kill_between_scores_and_card_leaves_no_complete_cell(fresh, make_spec, recorder, monkeypatch):
    from zsbench.evaluation import scoring

    def killed(*_):
        raise KeyboardInterrupt

    spec = make_spec("nli", model=("source", "tiny-nli"))
    score_job(fresh.root, spec)
    fresh.scored(spec["system"], 1).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "write_card", killed)
        with pytest.raises(KeyboardInterrupt):
            score_job(fresh.root, spec | {"precision": "bf16"})
    assert not fresh.card("gliclass", "news", spec["system"], 1).exists()
    assert not fresh.scored(spec["system"], 1).exists()
    score_job(fresh.root, spec)
    assert fresh.card("gliclass", "news", spec["system"], 1).exists()


@pytest.mark.parametrize("name", ["scores.parquet", "card.json"])
def test_a_damaged_cell_is_scored_again(fresh, make_spec, recorder, name):
    spec = make_spec("nli", model=("source", "tiny-nli"))
    score_job(fresh.root, spec)
    path = fresh.cell("gliclass", "news", spec["system"], 1) / name
    before = file_sha256(fresh.scores("gliclass", "news", spec["system"], 1))
    path.write_bytes(path.read_bytes()[:-2])
    recorder.asked.clear()
    score_job(fresh.root, spec)
    assert recorder.asked
    assert read(fresh, "gliclass", "news", spec)[1]["scores_sha256"] == before


def test_blocks_do_not_change_rows(fresh, make_spec, recorder, monkeypatch):
    from zsbench.evaluation import scoring

    monkeypatch.setattr(scoring, "PAIRS", 1)
    monkeypatch.setattr(scoring, "SMALLEST_BLOCK", 7)
    spec = make_spec("nli", model=("source", "tiny-nli"))
    score_job(fresh.root, spec)
    assert [len(texts) for texts, _ in recorder.asked] == [7, 7, 7, 7, 5]
    texts = pd.read_parquet(fresh.dataset("news"))["text"]
    assert matrix(read(fresh, "gliclass", "news", spec)[0])[:, 0].tolist() == [
        len(text) + len("money") for text in texts
    ]


def test_one_load_for_all_suites_and_tasks(fresh, make_spec, monkeypatch):
    made = []

    class Asked(TaskSystem):
        def __init__(self, task):
            self.task = task

        def score(self, texts, labels):
            return np.full((len(texts), len(labels)), 0.5 if self.task == "multi" else 2.0)

    monkeypatch.setattr(load, "build", lambda spec, layout: made.append(Asked(spec["task"])) or made[-1])
    specs = [make_spec("nli", model=("source", "tiny-nli")), make_spec("nli", "topics", model=("source", "tiny-nli"))]
    specs.append(specs[0] | {"suite": "third", "datasets": ["more"]})
    score_job(fresh.root, *specs)
    assert len(made) == 1
    values = [read(fresh, spec["suite"], spec["datasets"][0], spec)[0].iloc[:, -1].unique().tolist() for spec in specs]
    assert values == [[2.0], [0.5], [2.0]]


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_hashed_once_and_added_files_count(fresh, make_spec, monkeypatch, family):
    spec, read_files = make_spec(family, **FAMILIES[family]), []
    folder = load.model_folder(spec, fresh)
    (folder / "added.json").write_text("[]")  # of no listing
    expected = load.weights_sha256(folder)

    def hashed(path):
        read_files.append(Path(path).name)
        return file_sha256(path)

    monkeypatch.setattr(load, "file_sha256", hashed)
    monkeypatch.setattr("zsbench.store.integrity.file_sha256", hashed)
    assert load.identity(spec, fresh)["weights_sha256"] == expected
    assert read_files.count("model.safetensors") == 1 and "added.json" in read_files
