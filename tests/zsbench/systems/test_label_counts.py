"""Quality and cost for increasing numbers of labels: what is counted, what is skipped, and slopes with intervals."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress
from tiny_run import WORDS, bert_config, make_tokenizer, score_spec
from transformers import BertModel

from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.predictor import ScoringReport, score_texts
from gliznet.tokenizer import GliZNETTokenizer
from zsbench.evaluation.label_counts import count_labels, counting, label_list, measure_count
from zsbench.evaluation.label_slopes import accuracy_slope, gather_label_counts, line_slope
from zsbench.store.provenance import read_json

POOL = [f"thing number {i}" if i % 2 else f"word{i} climate" for i in range(60)]
STATISTICS = {"seed": 1, "level": 0.95}


def spec_of(family, model, **more):
    settings = {"template": "This is {}."} if family == "nli" else {}
    spec = score_spec(family, model=model, settings=settings)
    spec |= {"kind": family, "datasets": ["more"], "counts": [2, 4, 8, 16], "rows": 6, "tokens": 4000, "rows_seed": 1}
    return spec | {"pool": POOL, "training_sets": []} | more


def counts_of(run, spec):
    count_labels(run.root, spec)
    record = read_json(run.label_counts(spec["system"]))
    return record, record["sets"].get("more", {}).get("counts", [])


def test_distractors_share_no_word_with_the_own_labels_and_lists_are_nested():
    own = ["bad", "good service"]
    long = label_list(own, [*POOL, "Service desk", "BAD"], 40, seed=3)
    assert long[:2] == own and len(long) == len(set(long)) == 40
    assert not {"Service desk", "BAD"} & set(long)
    assert label_list(own, POOL, 10, seed=3) == label_list(own, POOL, 40, seed=3)[:10]
    assert label_list(own, POOL, 10, seed=3) != label_list(own, POOL, 10, seed=4)


def test_a_pair_per_label_one_pass_for_all_and_labels_read_once(run):
    _, nli = counts_of(run, spec_of("nli", ["source", "tiny-nli"]))
    assert [one["sequences"] for one in nli] == [2, 4, 8, 16]
    _, joint = counts_of(run, spec_of("gliznet", ["trained", "gliznet-full"]))
    assert [one["sequences"] for one in joint][:2] == [1, 1] and joint[-1]["sequences"] > 1  # chunks
    assert joint[1]["tokens"] > joint[0]["tokens"]
    _, apart = counts_of(run, spec_of("biencoder", ["source", "tiny-embedder"]))
    assert len({one["tokens"] for one in apart}) == 1  # a further text costs the same as with two labels
    assert apart[-1]["first_tokens"] > apart[-1]["tokens"]
    assert {one["sequences"] for one in apart} == {1}  # even though a packed encoder embeds each distinct token once


def test_tokens_are_those_of_the_sequences(run):
    """Against a manual count: `[CLS] text [SEP] label [SEP]` for each pair."""
    from transformers import AutoTokenizer

    from zsbench.systems import load

    spec = spec_of("nli", ["source", "tiny-nli"])
    system = load.build(spec, run)
    texts, labels = ["markets rallied", "doctors warned about rates", "trade policy"], ["chips", "climate policy"]
    found = measure_count(system, texts, labels, ["a", "b", "c"], cached=False)
    tokenizer = AutoTokenizer.from_pretrained(run.fetched("tiny-nli").parent / "files")
    by_hand = [len(tokenizer(text, f"This is {label}.")["input_ids"]) for text in texts for label in labels]
    assert found["read"] == sum(by_hand)
    assert found["tokens"] == pytest.approx(sum(by_hand[2:]) / 2)


@pytest.mark.parametrize("options", [{}, {"order_invariant": True}, {"order_invariant": True, "label_context": "none"}])
def test_what_gliznet_reads_is_what_its_own_report_says(options):
    """Also if texts and labels are encoded separately, using only the word embeddings."""
    tokenizer = GliZNETTokenizer(
        make_tokenizer(), GliZNetOptions(max_length=64, max_labels=8, min_text_tokens=8, **options)
    )
    model = GliZNetForSequenceClassification.from_backbone(BertModel(bert_config()), tokenizer, tokenizer.options)
    holder, report = SimpleNamespace(model=model.eval(), tokenizer=tokenizer), ScoringReport()
    labels = [f"{word} policy" for word in WORDS]
    with counting(holder) as read:
        score_texts(model, tokenizer, ["markets rallied", "doctors warned about rates"], labels, report=report)
    assert read is not None and read.tokens == report.real_tokens > 0


def test_a_bi_encoder_reads_its_texts_and_each_label_once(run):
    from zsbench.systems import load

    system = load.build(spec_of("biencoder", ["source", "tiny-embedder"]), run)
    texts, labels = (
        ["markets rallied as banks reported", "doctors warned doctors"],
        ["chips", "climate policy", "chips"],
    )
    with counting(system) as read:
        system.score(texts, labels)
    ids = system.model.tokenizer([*texts, *dict.fromkeys(labels)])["input_ids"]
    assert read is not None and (read.tokens, read.sequences) == (sum(map(len, ids)), 4)


def test_what_is_over_the_budget_is_left_out_and_said(run):
    spec = spec_of("nli", ["source", "tiny-nli"], tokens=1500)
    record, counts = counts_of(run, spec)
    assert [bool(one["skipped"]) for one in counts] == [False, False, False, True]
    gather_label_counts(run.root, {"label_counts": {spec["system"]: "nli"}, "statistics": STATISTICS})
    frame = pd.read_parquet(run.root / "analysis" / "label_counts.parquet")
    assert frame["labels"].tolist() == [2, 4, 8, 16]
    assert frame["accuracy"].notna().tolist() == [True, True, True, False]
    assert "1,500" in frame["skipped"].iloc[-1]
    slopes = pd.read_parquet(run.root / "analysis" / "label_slopes.parquet").set_index("metric")
    assert slopes.loc["tokens", "most"] == 8 and slopes.loc["tokens", "low"] > 0


def test_a_system_that_cannot_be_loaded_says_why(run):
    spec = spec_of("nli", ["source", "tiny-embedder"], system="broken")
    record, counts = counts_of(run, spec)
    assert not counts and record["reason"]
    gather_label_counts(run.root, {"label_counts": {"broken": "nli"}, "statistics": STATISTICS})
    assert pd.read_parquet(run.root / "analysis" / "label_counts.parquet")["skipped"].tolist() == [record["reason"]]


def test_the_slope_of_accuracy_is_least_squares_and_its_interval_covers():
    counts, rng = np.array([2, 10, 50, 200, 1000]), np.random.default_rng(0)
    chances = 0.9 - 0.15 * np.log10(counts)
    right = rng.random((30, 5)) < chances
    value, low, high = accuracy_slope(counts, [right], 0.95, seed=1)
    assert value == pytest.approx(linregress(np.log10(counts), right.mean(axis=0)).slope) and low < value < high
    truth, held = linregress(np.log10(counts), chances).slope, 0
    for repeat in range(300):
        skill = rng.normal(0, 0.1, size=(40, 1))  # answers to one text are correlated
        drawn = rng.random((40, 5)) < np.clip(chances + skill, 0, 1)
        _, low, high = accuracy_slope(counts, [drawn], 0.95, seed=repeat)
        held += low <= truth <= high
    assert 0.90 <= held / 300 <= 0.98


def test_the_slope_of_a_cost_covers_and_is_0_where_nothing_changes():
    counts, rng, held = np.array([2, 10, 50, 200, 1000]), np.random.default_rng(0), 0
    assert line_slope(counts, np.full(5, 13.6), 0.95) == (0.0, 0.0, 0.0)
    for _ in range(400):
        _, low, high = line_slope(counts, 20 + 5 * counts + rng.normal(0, 30, size=5), 0.95)
        held += low <= 5 <= high
    assert 0.92 <= held / 400 <= 0.98
