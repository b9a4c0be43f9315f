"""What changed since the analysis before: kept once a change, said the same in every rendering."""

import copy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from zsbench.provenance import read_json, write_json
from zsbench.reporting.changes import changes, grids
from zsbench.reporting.frames import RunData
from zsbench.reporting.history import keep
from zsbench.reporting.pages import write_report
from zsbench.reporting.summary import sentences

CELL = ("gliclass", "r8", "gliznet-full", 1)


@pytest.fixture(scope="module")
def copied(made: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(made.root, tmp_path_factory.mktemp("history") / "results" / "run")


def said(run: RunData) -> str:
    return " ".join(sentences(run))


def test_history_from_the_first_analysis_on(made: SimpleNamespace, copied: Path, tmp_path: Path) -> None:
    run, path = RunData(copied, made.spec), copied / "analysis" / "history.json"
    assert "first analysis" not in said(run)  # a run that keeps none says nothing
    keep(copied, made.spec)
    first = path.read_bytes()
    assert "This is the first analysis of this run" in said(run) and not grids(run)
    keep(copied, made.spec)
    assert path.read_bytes() == first

    card = read_json(run.layout.card(*CELL))
    write_json(run.layout.card(*CELL), card | {"scores_sha256": "0" * 64, "weights_sha256": "other"})
    fewer = copy.deepcopy(made.spec)
    fewer["systems"] = [entry for entry in fewer["systems"] if entry["id"] != "nli-mini"]
    keep(copied, fewer)
    second, run = path.read_bytes(), RunData(copied, fewer)
    text = said(run)
    assert "Since the analysis before: gone: nli-mini; 1 cell has other scores (gliznet-full)" in text
    found = changes(run)
    assert found is not None and found.new == [] and list(found.changed) == [("gliclass", "gliznet-full")]
    (change,) = found.changed.values()
    assert change.why == ("weights",) and change.before == change.now and change.cells == 1
    keep(copied, fewer)
    assert path.read_bytes() == second  # an analysis of the same cells is the same one

    pages = []
    for folder in ("one", "two"):
        write_report(copied, fewer, tmp_path / folder)
        pages.append((tmp_path / folder / "index.html").read_bytes())
    assert pages[0] == pages[1] and b'id="table-changes"' in pages[0]


def test_an_average_is_over_what_both_have(made: SimpleNamespace, tmp_path: Path) -> None:
    cell = dict.fromkeys(("rows_sha256", "labels_digest", "weights_sha256", "settings", "precision", "source"), "x")
    present = {
        "gliclass/a/s/1": cell | {"scores": "1", "macro_f1": 0.5},
        "gliclass/b/s/1": cell | {"scores": "2", "macro_f1": 0.9, "source": "y"},
        "gliclass/c/s/1": cell | {"scores": "3", "macro_f1": 0.0},
    }
    before = {
        "gliclass/a/s/1": cell | {"scores": "1", "macro_f1": 0.5},
        "gliclass/b/s/1": cell | {"scores": "0", "macro_f1": 0.7},
        "gliclass/a/t/1": cell | {"scores": "0", "macro_f1": 0.7},
    }
    write_json(tmp_path / "analysis" / "history.json", {"present": present, "before": before})
    run = RunData(tmp_path, made.spec)
    found = changes(run)
    assert found is not None and found.gone == ["t"] and found.new == []
    (change,) = found.changed.values()
    assert (change.before, change.now) == (pytest.approx(0.6), pytest.approx(0.7))
    assert (change.cells, change.why) == (1, ("code",))
    assert [cell.text for cell in grids(run)[0].rows[0]][2:5] == ["0.6000", "0.7000", "+0.1000"]
