"""A run as DataFrames: `zsbench.results` agrees with the stored files, and does not load torch."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_up_run
import numpy as np
import pandas as pd
import pytest

import zsbench
from zsbench.config.load import resolve
from zsbench.evaluation.metrics import of_counts
from zsbench.reporting.frames import RunData
from zsbench.reporting.results import Results
from zsbench.store.cells import FAILED, OK
from zsbench.store.errors import ConfigError
from zsbench.store.layout import Layout

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def run(made: SimpleNamespace) -> Results:
    return Results(RunData(made.root, made.spec))


def test_cells_have_a_row_each_with_the_metric_that_tables_print(run: Results) -> None:
    cells = run.cells
    assert len(cells) == len(list(run.run.root.glob("cells/*/*/*/seed*/card.json")))
    assert not cells.duplicated(["suite", "dataset", "system", "seed"]).any()
    means = cells[cells["suite"] == "gliclass"].groupby(["system", "dataset"])["value"].mean().unstack()
    shown = run.run.suite_means("gliclass").drop(columns="average")
    pd.testing.assert_frame_equal(
        means.rename_axis(columns=None), shown.rename_axis(columns=None), check_names=False, check_like=True
    )
    assert set(cells["status"]) == {OK} and cells.loc[cells["control"], "family"].eq("control").all()
    assert set(cells.loc[cells["suite"] == "topics", "protocol"]) == {"held-out"}


def test_a_cell_without_scores_says_why(tmp_path: Path) -> None:
    spec = made_up_run.spec_of(seeds=(1,))
    made_up_run.make_run(tmp_path / "run", spec)
    made_up_run.lose(tmp_path / "run", {("gliclass", "r8", "biencoder", 0): (FAILED, "it broke")}, spec)
    cells = Results(RunData(tmp_path / "run", spec)).cells.set_index(["dataset", "system"])
    lost = cells.loc[("r8", "biencoder")]
    assert (lost["status"], lost["reason"]) == ("failed", "it broke") and np.isnan(lost["value"])


def test_scores_give_back_the_metric(run: Results) -> None:
    texts = run.scores("r8", "gliznet-full", seed=2)
    labels = run.run.datasets("gliclass")["r8"]["labels"]
    indices = [texts[name].map(labels.index).to_numpy() for name in ("gold", "predicted")]
    one_hot = [column[:, None] == np.arange(len(labels)) for column in indices]
    cells = run.cells.set_index(["dataset", "system", "seed"])["value"]
    assert of_counts("single", one_hot[0], one_hot[1][None])["macro_f1"] == pytest.approx(
        cells["r8", "gliznet-full", 2]
    )
    best = texts[[f"score:{label}" for label in labels]].idxmax(axis=1).str.removeprefix("score:")
    assert (best == texts["predicted"]).all() and (texts["correct"] == (texts["gold"] == texts["predicted"])).all()
    assert set(run.scores("r8", "gliznet-full")["seed"]) == {1, 2, 3}


def test_scores_of_several_labels_are_lists_under_a_protocol(run: Results) -> None:
    held_out, fixed = run.scores("topics-mini", "biencoder"), run.scores("topics-mini", "biencoder", None, "fixed-0.5")
    assert set(held_out["split"]) == set(fixed["split"]) == {"test"}
    chosen = fixed[[f"score:{label}" for label in made_up_run.TOPICS]].to_numpy() >= 0.5
    assert [len(row) for row in fixed["predicted"]] == chosen.sum(axis=1).tolist()
    assert (held_out["predicted"] != fixed["predicted"]).any()  # other thresholds
    assert len(run.scores("topics-mini", "biencoder", protocol="cv")) == made_up_run.ROWS


def test_texts_come_from_the_prepared_rows_where_they_are(run: Results) -> None:
    path = run.run.layout.dataset("movies")
    prepared = path.read_bytes()
    path.unlink()
    assert run.scores("movies", "biencoder")["text"].isna().all()
    ids = run.scores("movies", "biencoder")["sample_id"]
    rows = pd.DataFrame({"sample_id": ids[::-1], "text": [f"text of {one}" for one in ids[::-1]]})
    rows.to_parquet(path, write_page_checksum=True)
    try:
        texts = run.scores("movies", "biencoder")
    finally:
        path.write_bytes(prepared)
    assert (texts["text"] == "text of " + texts["sample_id"]).all()


def test_verdicts_are_the_deltas_of_averages(run: Results) -> None:
    verdicts = run.verdicts
    assert len(verdicts) and set(verdicts["verdict"]) <= {"effect", "no effect", "undecided"}
    ablations = verdicts[verdicts["table"] == "ablations"].set_index("system")["delta"]
    deltas = run.deltas[(run.deltas["table"] == "ablations") & (run.deltas["dataset"] == "average")]
    assert ablations.to_dict() == deltas.set_index("system")["delta"].to_dict()
    assert {"rank_low", "p_best"} <= set(run.frame("ranks"))


@pytest.mark.parametrize(
    ("ask", "key"),
    [
        (lambda run: run.scores("r9", "biencoder"), "dataset: 'r9'.*did you mean 'r8'"),
        (lambda run: run.scores("r8", "hybrid"), "system: 'hybrid'"),
        (lambda run: run.scores("r8", "biencoder", seed=4), "seed: 'biencoder' has no seed 4"),
        (lambda run: run.scores("r8", "biencoder", protocol="cv"), "protocol: 'cv'.*argmax"),
        (lambda run: run.frame("delta"), "frame: 'delta'.*did you mean 'deltas'"),
    ],
)
def test_what_is_not_there_is_named(run: Results, ask: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        ask(run)


def test_a_run_is_opened_by_folder_and_by_id_without_torch(
    embedded: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets = resolve(embedded, REPOSITORY / "workflow")
    config = Layout(tmp_path / "results" / "mine").config
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"config": embedded, "resources": presets}))
    monkeypatch.chdir(tmp_path)
    assert repr(zsbench.results("mine")) == repr(zsbench.results("results/mine"))
    assert "2 suites" in repr(zsbench.results("mine")) and zsbench.results("mine").cells.empty
    with pytest.raises(FileNotFoundError, match="config.json"):
        zsbench.results("nobody")
    code = "import sys, zsbench; zsbench.results('mine').cells; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
