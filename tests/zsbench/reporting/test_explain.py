"""`zsbench explain`: the printed trace from card to number, and its messages about inconsistencies."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from sklearn.metrics import f1_score

from zsbench.reporting.explain import explain
from zsbench.reporting.frames import RunData
from zsbench.store.provenance import IntegrityError, read_json, write_json


def test_single_label_cell_is_recomputed(made: SimpleNamespace) -> None:
    folder = made.root / "cells" / "gliclass" / "r8" / "nli-mini" / "seed1"
    text = explain(folder)
    frame = RunData(made.root, made.spec).scores("gliclass", "r8", "nli-mini", 1)
    assert frame is not None
    predicted = frame.filter(like="score:").to_numpy().argmax(axis=1)
    macro = f1_score(frame["gold"].str[0], predicted, average="macro")
    assert f"= {macro:.6f} (as stored)" in text
    assert "weights sha256  " + "b" * 64 in text
    assert explain(folder / "card.json") == text
    assert max(map(len, text.splitlines())) < 250


def test_every_protocol_of_a_topic_cell_is_recomputed(made: SimpleNamespace) -> None:
    text = explain(made.root / "cells" / "topics" / "topics-mini" / "hybrid" / "seed1")
    assert "NOT the stored" not in text
    # fixed-0.5 on two splits, val-tuned, held-out; cv needs its folds
    assert text.count("(as stored)") == 4 and "thresholds of the other folds" in text


@pytest.mark.parametrize(("suite", "dataset"), [("gliclass", "r8"), ("topics", "topics-mini")])
def test_a_random_controls_numbers_are_means_over_draws_and_not_its_cells(made, suite: str, dataset: str) -> None:
    text = explain(made.root / "cells" / suite / dataset / "prior-random" / "seed0")
    assert "NOT the stored" not in text and "means over 100 draws" in text and "(as stored)" not in text


@pytest.fixture
def copied(made: SimpleNamespace, tmp_path: Path) -> Path:
    """A copy of a cell folder for a test to damage."""
    folder = tmp_path / "results" / "run" / "cells" / "gliclass" / "r8" / "oracle" / "seed0"
    shutil.copytree(made.root / "cells" / "gliclass" / "r8" / "oracle" / "seed0", folder)
    return folder


def test_changed_metrics_are_said_so(copied: Path) -> None:
    path = copied / "metrics.json"
    stored = read_json(path)
    stored["decisions"][0]["metrics"]["macro_f1"] = 0.25
    write_json(path, stored)
    assert "NOT the stored 0.250000" in explain(copied)
    assert "gone or were prepared anew" in explain(copied)


def test_damage_and_wrong_paths_are_named(copied: Path, tmp_path: Path) -> None:
    (copied / "scores.parquet").write_bytes(b"something else")
    with pytest.raises(IntegrityError, match="damaged"):
        explain(copied)
    with pytest.raises(IntegrityError, match="expected results/<run>/cells/"):
        explain(tmp_path)


def test_an_unmeasured_cell_names_the_verb(copied: Path) -> None:
    (copied / "metrics.json").unlink()
    with pytest.raises(IntegrityError, match="metrics.json is missing; zsbench measure writes it"):
        explain(copied)
