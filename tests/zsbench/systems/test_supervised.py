"""Systems trained on the dataset they are scored on: what they may see, and what their cells record."""

import numpy as np
import pandas as pd
import pytest

from zsbench.evaluation.scoring import score_job, seen
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.systems.supervised import SupervisedSystem

TEXTS = ["stocks fell", "stocks rose today", "flu spreads", "the flu season of this winter is long"] * 5
GOLD = np.array([[1, 0], [1, 0], [0, 1], [0, 1]] * 5)


def supervised(features):
    return SupervisedSystem({"settings": {"features": features}}, None)


def test_words_learn_words_and_length_learns_length():
    others = ["flu", "stocks"]
    words = supervised("words").fit_and_score(TEXTS, GOLD, others)
    assert words.argmax(axis=1).tolist() == [1, 0] and (words >= 0).all() and (words <= 1).all()
    lengths = supervised("length").fit_and_score(TEXTS, GOLD, ["a " * 2, "b " * 2, "c " * 9])
    assert lengths[0].tolist() == lengths[1].tolist() != lengths[2].tolist()
    assert lengths[2, 1] > lengths[0, 1]


def cells(layout, spec):
    score_job(layout.root, spec)
    place = ("topics", "topics", spec["system"], 1)
    return pd.read_parquet(layout.scores(*place)), read_json(layout.card(*place))


@pytest.mark.parametrize("features", ["words", "length"])
def test_a_cell_is_seen_and_holds_no_training_row(run, make_spec, features):
    frame, card = cells(run, make_spec("supervised", "topics", None, {"features": features}, system=features))
    assert card["seen"] == "yes" and set(frame["split"]) == {"validation", "test"} and len(frame) == 20


def test_the_gold_of_scored_rows_changes_no_score(run, make_spec, tmp_path):
    import shutil

    from zsbench.store.integrity import write_rows
    from zsbench.store.provenance import file_sha256, write_json

    spec = make_spec("supervised", "topics", None, {"features": "words"}, system="words")
    before, _ = cells(run, spec)
    other = Layout(tmp_path / "run")
    shutil.copytree(run.root, other.root, ignore=shutil.ignore_patterns("cells", "cache"))
    rows = pd.read_parquet(other.dataset("topics"))
    rows["gold"] = [gold if split == "train" else [0] for gold, split in zip(rows["gold"], rows["split"], strict=True)]
    write_rows(other.dataset("topics"), rows)
    card = read_json(other.dataset_card("topics")) | {"rows_sha256": file_sha256(other.dataset("topics"))}
    write_json(other.dataset_card("topics"), card)
    after, _ = cells(other, spec)
    pd.testing.assert_frame_equal(before.filter(like="score:"), after.filter(like="score:"))


def test_a_trained_model_inherits_that_nobody_knows_what_its_backbone_read(run, make_spec):
    spec = make_spec("gliznet", model=("trained", "gliznet-full"))
    assert seen(spec, "news", run) == "unknown"
    assert seen(spec, "more", run) == "yes"  # its training set
    assert seen(make_spec("control", settings={"control": "oracle"}), "news", run) == "no"


def test_the_sets_that_a_publisher_trained_on_are_seen(run, make_spec):
    spec = make_spec("biencoder", settings={"seen": ["news"]})
    assert (seen(spec, "news", run), seen(spec, "more", run)) == ("yes", "no")
