"""HybridNLI: heads trained from the feature store, and its blends as systems."""

import itertools
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_run import HYBRID_SPEC as SPEC
from tiny_run import HYBRID_TRAINING as TRAINING
from tiny_run import finish_source, make_hybrid, source_folder

from hybridnli import training
from zsbench.evaluation.protocols import Folds, thresholded
from zsbench.evaluation.scoring import score_job
from zsbench.reporting.explain import open_cell
from zsbench.store.layout import Layout
from zsbench.store.provenance import file_sha256, read_json, write_json
from zsbench.systems import UnknownSystemError, load
from zsbench.training.hybrid import train_hybrid
from zsbench.training.selection import NEVER_MOVED


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory) -> Layout:
    return make_hybrid(run, tmp_path_factory.mktemp("hybrid") / "run")


def blend(layout, make_spec, name):
    return load.build(make_spec("hybridnli", "topics", ("hybrid", "hybrid"), {"blend": name}), layout)


def test_the_record_tells_the_training(trained):
    record = read_json(trained.model("hybrid", 1))
    assert [entry["step"] for entry in record["history"]] == [1, 2, 3]
    assert set(record["history"][0]["losses"]) == {"poly", "blend", "kl", "total"}
    assert set(record["alphas"]) == {"Tech", "Money"} and set(record["thresholds"]) == {"Tech", "Health", "Money"}
    assert record["best"]["validation"] == max(entry["validation"] for entry in record["history"])


def test_the_blends_are_the_mixtures_they_say(trained, make_spec):
    frame = pd.read_parquet(trained.dataset("topics"))
    texts, labels = frame["text"].tolist()[24:], read_json(trained.dataset_card("topics"))["labels"]
    scores = {
        name: blend(trained, make_spec, name).score(texts, labels) for name in ("learned", "heads", "half", "nli")
    }
    np.testing.assert_allclose(scores["half"], (scores["heads"] + scores["nli"]) / 2, atol=1e-6)
    for matrix in scores.values():
        np.testing.assert_array_equal(matrix[:, 1], scores["nli"][:, 1])  # Health has no head
    alpha = read_json(trained.model("hybrid", 1))["alphas"]["Tech"]
    np.testing.assert_allclose(
        scores["learned"][:, 0], alpha * scores["nli"][:, 0] + (1 - alpha) * scores["heads"][:, 0], atol=1e-6
    )
    nli = load.build(make_spec("nli", "topics", ("trained", "nli")), trained).score(texts, labels)
    np.testing.assert_allclose(scores["nli"], nli, atol=1e-5)


def test_cells_are_scored_from_the_store_without_a_forward_pass(trained, make_spec, monkeypatch):
    from hybridnli.encoder import NLIEncoder

    monkeypatch.setattr(NLIEncoder, "entailment", lambda *_: pytest.fail("the encoder ran on a pair"))
    spec = make_spec("hybridnli", "topics", ("hybrid", "hybrid"), {"blend": "learned"})
    score_job(trained.root, spec)
    card = read_json(trained.card("topics", "topics", "hybridnli-system", 1))
    assert card["seen"] == "yes" and card["dtype"] == "float32" and card["rows"] == {"validation": 10, "test": 10}


def test_hybrids_over_one_model_share_a_store(trained, monkeypatch):
    from hybridnli.encoder import NLIEncoder

    monkeypatch.setattr(NLIEncoder, "entailment", lambda *_: pytest.fail("the encoder ran on a pair"))
    train_hybrid(trained.root, SPEC | {"id": "hybrid-no-blend", "training": TRAINING | {"blend_weight": 0.0}})
    assert set(read_json(trained.model("hybrid-no-blend", 1))["alphas"].values()) == {0.5}
    assert len(list((trained.root / "features").iterdir())) == 1


def test_test_rows_do_not_reach_the_training(trained, make_spec, tmp_path):
    other = Layout(tmp_path / "run")
    shutil.copytree(trained.root, other.root, ignore=shutil.ignore_patterns("cells", "cache"))
    frame = pd.read_parquet(other.dataset("topics"))
    test = frame["split"] == "test"
    frame.loc[test, "gold"] = frame.loc[test, "gold"].to_numpy()[::-1]
    frame.to_parquet(other.dataset("topics"))
    card = read_json(other.dataset_card("topics"))
    write_json(other.dataset_card("topics"), card | {"rows_sha256": file_sha256(other.dataset("topics"))})
    train_hybrid(other.root, SPEC)
    before, after = (read_json(layout.model("hybrid", 1)) for layout in (trained, other))
    for fact in ("weights_sha256", "best", "history", "thresholds"):
        assert before[fact] == after[fact], fact
    spec = make_spec("hybridnli", "topics", ("hybrid", "hybrid"), {"blend": "learned"})
    cells = []
    for layout in (trained, other):
        score_job(layout.root, spec)
        place = ("topics", "topics", "hybridnli-system", 1)
        cells.append(open_cell(layout, place))
    assert not np.array_equal(cells[0].gold, cells[1].gold)
    first, second = (thresholded(cell, ["held-out"], Folds(2, 0, 1))[0] for cell in cells)
    np.testing.assert_array_equal(first.thresholds, second.thresholds)
    np.testing.assert_array_equal(first.predictions, second.predictions)


@pytest.mark.parametrize(("later", "never"), [(0.0, True), (-0.01, True), (0.01, False)])
def test_a_selection_that_never_moves_is_said(trained, monkeypatch, capsys, later, never):
    looks = itertools.count()
    monkeypatch.setitem(training.SELECTIONS, "mean_ap", lambda *_: 0.4 + later * next(looks))
    train_hybrid(trained.root, SPEC | {"id": "other"})
    record = read_json(trained.model("other", 1))
    assert record["selection_never_moved"] is never
    assert (NEVER_MOVED in capsys.readouterr().err) is never
    assert record["best"]["step"] == (1 if never else TRAINING["epochs"])


def test_heads_that_see_noise_under_a_metric_that_stands_still_are_said_to(trained):
    """At this rate no step moves a score across 0.5, as with the published recipe on a weak NLI model."""
    changes = {"selection": "macro_f1_at_0.5", "learning_rate": 1e-12}
    train_hybrid(trained.root, SPEC | {"id": "other", "training": TRAINING | changes})
    assert read_json(trained.model("other", 1))["selection_never_moved"]


def test_other_labels_are_refused(trained, make_spec):
    with pytest.raises(ValueError, match="not those of the trained heads"):
        blend(trained, make_spec, "learned").score(["a"], ["x", "y", "z"])


def test_truncated_texts_are_those_with_more_tokens_than_are_read(trained, make_spec):
    """Regression: a text that just fits counted, and none did if the NLI model's own limit is the smaller one."""
    labels = read_json(trained.dataset_card("topics"))["labels"]
    system = blend(trained, make_spec, "learned")  # reads 32 tokens, two of them special
    system.score(["markets " * words for words in (3, 30, 31)], labels)
    assert system.report()["truncated_texts"] == 1
    system.training = system.training | {"training": TRAINING | {"max_length": 128}}
    assert system.encoder.max_length == 64
    system.score(["markets " * words for words in (31, 62, 63, 90)], labels)
    assert system.report()["truncated_texts"] == 2


def test_an_unknown_label_without_a_head_is_named(trained):
    with pytest.raises(ValueError, match="nli_only: 'Helth'"):
        train_hybrid(trained.root, SPEC | {"nli_only": ["Helth"]})


def test_training_is_reproducible(trained, tmp_path):
    path = trained.checkpoint("hybrid", 1) / "multihead_v2.pt"
    before = path.read_bytes()
    train_hybrid(trained.root, SPEC)
    assert path.read_bytes() == before
    assert isinstance(torch.load(path, weights_only=True), dict)


def test_a_published_checkpoint_is_a_system_too(trained, make_spec):
    folder = source_folder(trained, "published-hybrid")
    folder.mkdir(parents=True)
    shutil.copy(trained.checkpoint("hybrid", 1) / "multihead_v2.pt", folder)
    finish_source(trained, "published-hybrid")
    texts, labels = ["markets rallied", "new chips"], read_json(trained.dataset_card("topics"))["labels"]
    spec = make_spec("hybridnli", "topics", ("source", "published-hybrid"), {"nli": "tiny-nli"})
    np.testing.assert_allclose(
        load.build(spec, trained).score(texts, labels),
        blend(trained, make_spec, "learned").score(texts, labels),
        atol=1e-6,
    )
    assert load.identity(spec, trained)["weights_sha256"]


def test_heads_over_another_nli_model_are_refused(trained, make_spec, tmp_path):
    other = Layout(tmp_path / "run")
    shutil.copytree(trained.root, other.root)
    record = read_json(other.model("hybrid", 1))
    write_json(other.model("hybrid", 1), record | {"nli_identity": "0"})
    with pytest.raises(UnknownSystemError, match="train it again"):
        blend(other, make_spec, "learned")
