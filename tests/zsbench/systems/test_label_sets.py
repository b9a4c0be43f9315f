"""The check of label sets before training agrees with scoring after it."""

import shutil

import pandas as pd
import pytest
from tiny_run import TOPICS, finish_model, source_folder, without_scores, write_dataset

from zsbench.evaluation.label_sets import check_label_sets, refusals
from zsbench.evaluation.scoring import score_job
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.systems import LabelSetError, load

LONG = "markets rallied as banks reported rising earnings "
SETS = {
    "intents": [f"intent {i}" for i in range(77)],
    "one long label": ["money", LONG * 12],
    "long labels": [f"{LONG}{i}" for i in range(12)],
}
REFUSED = {"gliznet": {"one long label"}, "gliclass": {"one long label", "long labels"}}


@pytest.fixture(scope="module")
def layout(run, gliclass, tmp_path_factory) -> Layout:
    """A run with a GLiClass that was trained with `max_length: 64`."""
    copy = Layout(tmp_path_factory.mktemp("label-sets") / "run")
    shutil.copytree(run.root, copy.root, ignore=shutil.ignore_patterns("cells", "cache", "features"))
    folder = copy.checkpoint("gliclass", 1)
    shutil.copytree(source_folder(copy, "gliclass-first"), folder)
    path = folder / "tokenizer_config.json"
    path.write_text(path.read_text().replace('"model_max_length": 1000000000', '"model_max_length": 64'))
    finish_model(copy, "gliclass")
    return copy


def spec_of(family: str) -> dict:
    options = {"max_length": 64, "max_labels": 20} | ({"min_text_tokens": 8} if family == "gliznet" else {})
    model = {"family": family, "suites": ["gliclass"], "backbone": "tiny-nli", "options": options}
    return {"models": {"it": model}, "datasets": {"gliclass": SETS}}


@pytest.mark.parametrize("family", REFUSED)
def test_what_is_refused_before_training_is_refused_by_the_scorer(layout, make_spec, family):
    said = {dataset: reason for _, dataset, reason in refusals(layout, spec_of(family))}
    assert set(said) == REFUSED[family]
    model = ("trained", "gliznet-full" if family == "gliznet" else "gliclass")
    system = load.build(make_spec(family, model=model), layout)
    for name, labels in SETS.items():
        if name in said:
            with pytest.raises(LabelSetError) as refused:
                system.score(["a"], labels)
            assert said[name] in str(refused.value)
        else:
            assert system.score(["a"], labels).shape == (1, len(labels))


def test_they_are_printed_and_kept_and_the_cells_are_not_applicable(layout, make_spec, capsys):
    check_label_sets(layout.root, spec_of("gliclass"))
    assert "cannot handle the labels of long labels" in capsys.readouterr().err
    stored = read_json(layout.root / "analysis" / "label_sets.json")["refused"]
    assert {entry["dataset"] for entry in stored} == REFUSED["gliclass"]
    rows = pd.DataFrame({"split": "test", "text": ["a", "b"], "gold": [[0], [1]]})
    write_dataset(layout, "long", rows, "single", SETS["long labels"], SETS["long labels"])
    spec = make_spec("gliclass", model=("trained", "gliclass"), datasets=["long", "more"])
    score_job(layout.root, spec)
    card = without_scores(layout, spec, "long")
    assert card["status"] == "not-applicable" and "labels do not fit into the 64 tokens" in card["reason"]
    assert read_json(layout.card("gliclass", "more", spec["system"], 1))["status"] == "ok"
    assert not layout.failures(spec["system"], 1).exists()


def test_a_backbone_that_is_not_fetched_yet_says_nothing(tmp_path):
    assert not list(refusals(Layout(tmp_path), spec_of("gliznet")))


def test_a_hybrid_takes_the_labels_it_is_trained_for(tmp_path):
    own = list(TOPICS.values())
    model = {"family": "hybridnli", "suites": ["topics"], "labels": own}
    spec = {"models": {"hybrid": model}, "datasets": {"topics": {"mine": own, "other": own[::-1]}}}
    assert [found[:2] for found in refusals(Layout(tmp_path), spec)] == [("hybrid", "other")]
