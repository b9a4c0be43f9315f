"""Training from the store: hyper-parameters, determinism, selection, ablations, and errors."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

import hybridnli.training as training
from hybridnli.training import HybridOptions, head_probabilities, train_heads
from tests.factories import DESCRIPTIONS

OPTIONS = HybridOptions(
    specialists=("Money", "Tech"), num_codes=4, proj_dim=16, learning_rate=3e-3, epochs=4, batch_size=8
)
TRAIN, VAL = np.arange(30), np.arange(30, 40)


def run(store, gold, seed=0, **changes):
    return train_heads(store, gold, TRAIN, VAL, options=replace(OPTIONS, **changes), seed=seed)


def test_defaults_are_the_published_recipe_except_for_what_chooses_the_epoch():
    published = {
        "learning_rate": 3e-4,
        "weight_decay": 1e-4,
        "epochs": 25,
        "batch_size": 16,
        "grad_clip": 1.0,
        "patience": 7,
    }
    published |= {"blend_weight": 1.0, "kl_weight": 0.3, "confidence": 0.75, "num_codes": 8, "proj_dim": 256}
    assert HybridOptions(**published, lr_floor=0.02, selection="mean_ap") == HybridOptions()


def test_history_and_learning(store, gold):
    seen = []
    options = replace(OPTIONS, epochs=12, patience=12)
    trained = train_heads(store, gold, TRAIN, VAL, options=options, seed=0, progress=seen.append)
    assert seen == trained.history
    losses = [record["loss"]["total"] for record in trained.history]
    assert losses[-1] < losses[0]
    for record in trained.history:
        assert list(record) == ["epoch", "lr", "loss", "alpha", "validation"]
        loss = record["loss"]
        assert loss["total"] == pytest.approx(loss["poly"] + loss["blend"] + 0.3 * loss["kl"], rel=1e-5)
        assert list(record["alpha"]) == ["Money", "Tech"]
        cosine = 0.02 + 0.98 * (1 + math.cos(math.pi * (record["epoch"] - 1) / 12)) / 2
        assert record["lr"] == pytest.approx(3e-3 * cosine)
    assert trained.history[-1]["alpha"]["Money"] != 0.5


def test_one_seed_gives_the_same_weights_and_leaves_the_global_generator_alone(store, gold):
    state = torch.get_rng_state()
    first, again, other = run(store, gold), run(store, gold), run(store, gold, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.history == again.history
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
    assert not torch.equal(first.model.poly_heads[0].codes.weight, other.model.poly_heads[0].codes.weight)


def test_v1_leaves_alpha_at_one_half(store, gold):
    trained = run(store, gold, blend_weight=0.0)
    assert all(set(record["alpha"].values()) == {0.5} for record in trained.history)
    assert "blend" not in trained.history[0]["loss"]
    assert trained.model.alphas.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("term", ["blend", "kl"])
def test_a_term_of_weight_zero_is_not_computed(store, gold, term):
    trained = run(store, gold, epochs=1, **{f"{term}_weight": 0.0})
    assert {"poly", "blend", "kl", "total"} - {*trained.history[0]["loss"]} == {term}


def test_best_weights_are_restored_and_patience_stops(store, gold, monkeypatch):
    values = iter([0.2, 0.5, 0.5, 0.4, 0.1, 0.9])
    states = []

    def fake(model, *args):
        states.append(copy.deepcopy(model.state_dict()))
        return next(values)

    monkeypatch.setattr(training, "_selected_by", fake)
    trained = run(store, gold, epochs=20, patience=3)
    assert len(trained.history) == 5 and trained.best_epoch == 2  # epoch 3 equals the best: no improvement
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, states[1][name])
    assert not torch.equal(states[1]["alpha_raw"], states[4]["alpha_raw"])


@pytest.mark.parametrize(
    ("selection", "measure"),
    [
        ("mean_ap", lambda gold, scores: average_precision_score(gold, scores, average="macro")),
        ("macro_f1_at_0.5", lambda gold, scores: f1_score(gold, scores >= 0.5, average="macro", zero_division=0)),
    ],
)
def test_the_epoch_is_chosen_by_the_named_metric_over_all_labels(store, gold, selection, measure):
    trained = run(store, gold, selection=selection)
    expected = measure(gold[VAL], trained.scores(store, VAL))
    assert trained.history[trained.best_epoch - 1]["validation"] == pytest.approx(expected)
    assert max(record["validation"] for record in trained.history) == pytest.approx(expected)


def test_scores_that_all_stay_below_one_half_are_chosen_by_their_order(store, gold):
    """With a weak NLI model, macro-F1 at 0.5 is the same in all epochs and selects the first; mean AP changes."""
    weak = replace(store, nli=np.full_like(store.nli, 0.01))
    published = run(weak, gold, selection="macro_f1_at_0.5", epochs=12)
    assert {record["validation"] for record in published.history} == {0.0} and published.best_epoch == 1
    values = [record["validation"] for record in run(weak, gold, epochs=12, patience=12).history]
    assert len(set(values)) > 1


def test_a_label_without_a_positive_validation_row_leaves_the_choice_to_the_others(store, gold):
    some = gold.copy()
    some[VAL, 0] = 0
    trained = run(store, some)
    assert trained.history[0]["validation"] > 0
    some[VAL] = 0
    with pytest.raises(ValueError, match="no validation row has a label"):
        run(store, some)


def test_scores_are_the_blend_of_the_stored_parts(store, gold):
    trained = run(store, gold)
    rows = [39, 0, 7]
    poly, scores = head_probabilities(trained.model, store, np.array(rows)), trained.scores(store, rows)
    assert poly.shape == (3, 2) and scores.shape == (3, 3)
    for i, row in enumerate(rows):
        assert scores[i, 1] == store.nli[row, 1]  # Health: NLI alone
        for s, column in enumerate((2, 0)):
            a = trained.model.alphas[s].item()
            assert scores[i, column] == pytest.approx(a * store.nli[row, column] + (1 - a) * poly[i, s])


def test_without_specialists_every_label_gets_a_head(store, gold):
    assert run(store, gold, epochs=1, specialists=None).model.labels.specialists == tuple(DESCRIPTIONS)


def test_non_finite_loss_names_the_rows(store, gold):
    nli = store.nli.copy()
    nli[13, 2] = np.nan
    with pytest.raises(FloatingPointError, match="not finite") as error:
        run(replace(store, nli=nli), gold)
    rows = [int(i) for i in str(error.value).split("rows [")[1].rstrip("]").split(",")]
    assert 13 in rows and len(rows) <= 8


@pytest.mark.parametrize(
    ("labels", "train", "val", "message"),
    [
        (np.zeros((40, 2)), TRAIN, VAL, r"\(40, 2\).*\(40, 3\)"),
        (np.full((40, 3), 2.0), TRAIN, VAL, r"\[0, 1\]"),
        (np.full((40, 3), np.nan), TRAIN, VAL, r"\[0, 1\]"),
        (np.zeros((40, 3)), [], VAL, "train_idx"),
        (np.zeros((40, 3)), TRAIN, [40], "val_idx"),
        (np.zeros((40, 3)), TRAIN, [29, 30], r"share 1 rows, first \[29\]"),
    ],
)
def test_bad_rows_and_labels(store, labels, train, val, message):
    with pytest.raises(ValueError, match=message):
        train_heads(store, labels, train, val, options=OPTIONS, seed=0)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0},
        {"epochs": 0},
        {"kl_weight": -1},
        {"confidence": 1.0},
        {"grad_clip": math.nan},
        {"selection": "macro_f1"},
    ],
)
def test_bad_options_name_the_field(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        HybridOptions(**change)


def test_unknown_specialist(store, gold):
    with pytest.raises(ValueError, match="Sports"):
        run(store, gold, specialists=("Sports",))
