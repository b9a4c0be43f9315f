"""NLI scores and token embeddings against the transformers pipeline and tokenizer."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

from hybridnli.encoder import NLIEncoder, entailment_columns, nli_scores, pair_scores
from hybridnli.pairs import SpecialTokens, tokenize
from tests.factories import DESCRIPTIONS, NEWS, label_maps, make_nli_model, nli_tokenizer

LONG = " ".join(NEWS)  # far over the 64 tokens of a pair
LABELS = list(DESCRIPTIONS.values())


def pipeline_scores(encoder, texts, labels):
    pipe = pipeline("zero-shot-classification", model=encoder.model, tokenizer=encoder.tokenizer, device="cpu")
    out = pipe(list(texts), candidate_labels=labels, multi_label=True, hypothesis_template=encoder.template)
    return np.array([[dict(zip(o["labels"], o["scores"], strict=True))[label] for label in labels] for o in out])


@pytest.mark.parametrize("kind", ["bert", "deberta"])
@pytest.mark.parametrize("names", [("entailment", "not_entailment"), ("not_entailment", "entailment")])
def test_scores_equal_the_pipeline_in_either_label_order(kind, names, tokenizer):
    encoder = NLIEncoder(make_nli_model(kind, names), tokenizer)
    texts = [*NEWS[:12], LONG]
    expected = pipeline_scores(encoder, texts, LABELS)
    for budget in (1, 150, 10_000):
        scores = nli_scores(encoder, texts, encoder.hypotheses(LABELS), token_budget=budget)
        assert scores.shape == (13, 3) and scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert expected.max() - expected.min() > 0.3  # the models distinguish texts


@pytest.mark.parametrize(
    "names", [("contradiction", "neutral", "entailment"), ("ENTAILMENT", "NEUTRAL", "CONTRADICTION")]
)
def test_three_classes_and_template_as_in_the_pipeline(names, tokenizer):
    encoder = NLIEncoder(make_nli_model(names=names), tokenizer, template="about {}")
    expected = pipeline_scores(encoder, NEWS[:6], LABELS)
    np.testing.assert_allclose(nli_scores(encoder, NEWS[:6], encoder.hypotheses(LABELS)), expected, atol=1e-5)


@pytest.fixture(scope="module")
def byte_tokenizer():
    """RoBERTa's conventions: byte-level pieces, `<s> A </s></s> B </s>`, no token types."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=350,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([*NEWS, *LABELS], trainer)
    raw.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, model_max_length=60, model_input_names=["input_ids", "attention_mask"], **names
    )


@pytest.mark.parametrize("kind", ["roberta", "bart"])
def test_other_architectures_equal_the_pipeline(kind, byte_tokenizer):
    shared = {"vocab_size": 350, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "max_position_embeddings": 64}
    names = ("contradiction", "neutral", "entailment")
    shared |= label_maps(names)
    torch.manual_seed(1)
    if kind == "roberta":
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        model = RobertaForSequenceClassification(RobertaConfig(initializer_range=0.3, **sizes, **shared))
    else:
        sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "init_std": 0.3}
        model = BartForSequenceClassification(BartConfig(**sizes, **heads, **shared))
    encoder = NLIEncoder(model.eval(), byte_tokenizer)
    texts = [*NEWS[:8], "café [MASK] \u4e2d", LONG]
    scores = nli_scores(encoder, texts, encoder.hypotheses(["about banks", "about health"]))
    expected = pipeline_scores(encoder, texts, ["about banks", "about health"])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert expected.max() - expected.min() > 0.1


def test_many_labels_and_an_empty_text(encoder):
    labels = NEWS[:20]
    scores = nli_scores(encoder, ["", NEWS[3]], encoder.hypotheses(labels))
    np.testing.assert_allclose(scores[1:], pipeline_scores(encoder, [NEWS[3]], labels), atol=1e-5)
    batch = encoder.tokenizer("", encoder.hypotheses(labels)[0], return_tensors="pt")
    expected = encoder.model(**batch).logits.softmax(-1)[0, 0]
    assert scores[0, 0] == pytest.approx(expected.item(), abs=1e-5)


def test_no_texts_and_no_hypotheses(encoder):
    assert nli_scores(encoder, [], ["x"]).shape == (0, 1)
    assert nli_scores(encoder, ["x"], []).shape == (1, 0)


@settings(max_examples=25)
@given(data=st.data())
def test_pairs_joined_by_ids_equal_the_tokenizer(tokenizer, data):
    words = st.lists(st.sampled_from([*NEWS[0].split(), "zzz", "[SEP]", "é"]), max_size=30).map(" ".join)
    texts = data.draw(st.lists(words, min_size=1, max_size=4))
    hypotheses = data.draw(st.lists(words.filter(bool), min_size=len(texts), max_size=len(texts)))
    special, limit = SpecialTokens.of(tokenizer, 2), 40
    pairs = []
    for text, hypothesis in zip(tokenize(tokenizer, texts, 64), tokenize(tokenizer, hypotheses, 64), strict=True):
        hypothesis = hypothesis[:20]
        pairs.append((text[: limit - special.count - len(hypothesis)], hypothesis))
    ours = special.batch(pairs)
    for i, (text, (kept, hypothesis)) in enumerate(zip(texts, pairs, strict=True)):
        expected = tokenizer.backend_tokenizer.post_process(
            _truncated(tokenizer, text, len(kept)), _truncated(tokenizer, hypotheses[i], len(hypothesis))
        )
        length = len(expected.ids)
        assert ours["input_ids"][i, :length].tolist() == expected.ids
        assert ours["token_type_ids"][i, :length].tolist() == expected.type_ids
        assert ours["attention_mask"][i].sum() == length
        assert (ours["input_ids"][i, length:] == tokenizer.pad_token_id).all()


def _truncated(tokenizer, text, length):
    encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    encoding.truncate(length)
    return encoding


def test_token_embeddings_equal_the_model(encoder):
    texts = [NEWS[1], LONG, ""]
    H, mask = encoder.embed_ids(encoder.tokenize(texts), max_length=20)
    batch = encoder.tokenizer(texts, padding=True, truncation=True, max_length=20, return_tensors="pt")
    with torch.no_grad():
        expected = encoder.model.bert(**batch).last_hidden_state
    assert torch.equal(mask, batch["attention_mask"].bool()) and mask.sum(1).tolist()[1:] == [20, 2]
    torch.testing.assert_close(H[mask], expected[mask], atol=1e-5, rtol=1e-5)


def test_label_embeddings_are_masked_means_of_64_tokens(bert, tokenizer):
    encoder = NLIEncoder(bert, tokenizer)
    embeddings = encoder.describe([*LABELS, LONG])
    for description, embedding in zip([*LABELS, LONG], embeddings, strict=True):
        batch = tokenizer(description, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            expected = bert.bert(**batch).last_hidden_state[0].mean(dim=0)
        torch.testing.assert_close(embedding, expected, atol=1e-5, rtol=1e-5)


def test_bfloat16_is_close_and_the_weights_stay(bert, tokenizer):
    exact, rough = NLIEncoder(bert, tokenizer), NLIEncoder(bert, tokenizer, dtype="bfloat16")
    hypotheses = exact.hypotheses(LABELS)
    difference = nli_scores(exact, NEWS, hypotheses) - nli_scores(rough, NEWS, hypotheses)
    assert 0 < np.abs(difference).max() < 0.2
    assert next(bert.parameters()).dtype == torch.float32
    assert exact.identity != rough.identity


def test_identity_follows_the_weights(tokenizer, tmp_path):
    first, same, other = (NLIEncoder(make_nli_model(seed=seed), tokenizer) for seed in (1, 1, 4))
    assert first.identity == same.identity != other.identity
    first.model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = NLIEncoder(tmp_path, device="cpu")
    assert loaded.identity == first.identity
    found, expected = (nli_scores(one, NEWS[:3], LABELS) for one in (loaded, first))
    np.testing.assert_allclose(found, expected, atol=1e-6)  # only the loaded model has the fast encoder


def test_identity_does_not_depend_on_earlier_calls(bert):
    """Regression: truncation is a state of the tokenizer, so features were computed twice."""
    fresh, used = (NLIEncoder(bert, nli_tokenizer()) for _ in range(2))
    used.tokenize(NEWS[:1])
    used.tokenizer(NEWS[:2], padding=True)
    assert fresh.identity == used.identity


@pytest.mark.parametrize(
    ("label2id", "expected"),
    [
        ({"entailment": 0, "not_entailment": 1}, (0, 1)),
        ({"not_entailment": 0, "entailment": 1}, (1, 0)),
        ({"contradiction": 0, "entailment": 1, "neutral": 2}, (1, 0)),
        ({"neutral": 0, "entailment": 1, "contradiction": 2}, (1, 2)),
        ({"Entailment": 0, "other": 1, "third": 2}, (0, 2)),
        ({"first": 0, "other": 1, "ENTAIL": 2}, (2, 0)),
    ],
)
def test_entailment_columns(label2id, expected):
    assert entailment_columns(label2id) == expected


@pytest.mark.parametrize("label2id", [{"LABEL_0": 0, "LABEL_1": 1}, {"entailment": 0}, {"entail": 0, "entailment": 1}])
def test_no_entailment_label_names_the_map(label2id):
    with pytest.raises(ValueError, match="|".join(label2id)):
        entailment_columns(label2id)


def test_bad_arguments(bert, tokenizer, encoder):
    with pytest.raises(ValueError, match="LABEL_0"):
        NLIEncoder(make_nli_model(names=("LABEL_0", "LABEL_1")), tokenizer)
    with pytest.raises(ValueError, match="template: 'no place'"):
        NLIEncoder(bert, tokenizer, "no place")
    with pytest.raises(ValueError, match="dtype: 'int8'"):
        NLIEncoder(bert, tokenizer, dtype="int8")
    with pytest.raises(ValueError, match="tokenizer: is None"):
        NLIEncoder(bert)
    with pytest.raises(ValueError, match="hypothesis 1 .*max_length=64"):
        nli_scores(encoder, ["text"], ["short", LONG])
    with pytest.raises(ValueError, match="max_length: 1 "):
        encoder.embed_ids(encoder.tokenize(["a"]), 1)


def test_non_finite_scores_name_the_text(tokenizer):
    encoder = NLIEncoder(make_nli_model(), tokenizer)
    with torch.no_grad():
        encoder.model.classifier.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"texts \[0, 1\]"):
        nli_scores(encoder, NEWS[:2], LABELS)


def state_of(model):
    """Everything that a scorer might change in a model: weights, classes, modes, requires_grad."""
    kinds = [(name, type(module), module.training) for name, module in model.named_modules()]
    return kinds, [(name, p.requires_grad, p.data_ptr()) for name, p in model.named_parameters()]


@pytest.mark.parametrize("kind", ["bert", "deberta"])
def test_a_model_that_is_passed_in_stays_as_it_is(kind, tokenizer):
    """The model may be in training, so its classes, modes, gradients and weights must not change."""
    model = make_nli_model(kind).train()
    model.dropout.eval()
    before, expected = state_of(model), copy.deepcopy(model).eval()
    encoder = NLIEncoder(model, tokenizer)
    scores = nli_scores(encoder, NEWS[:5], LABELS)
    H, _ = encoder.embed_ids(encoder.tokenize(NEWS[:2]), 20)
    assert state_of(model) == before
    np.testing.assert_array_equal(scores, nli_scores(NLIEncoder(expected, tokenizer), NEWS[:5], LABELS))
    assert not H.requires_grad


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_text_with_its_own_hypotheses(dtype, tokenizer, count_passes):
    encoder = NLIEncoder(make_nli_model(), tokenizer, dtype=dtype)
    lists = [[NEWS[(i * 3 + j) % 9] for j in range(i % 4)] for i in range(12)]
    expected = [nli_scores(encoder, [text], own)[0] for text, own in zip(NEWS, lists, strict=False)]
    passes = count_passes(encoder)
    scores = pair_scores(encoder, NEWS[:12], lists, token_budget=400)
    assert len(passes) < 6  # 18 pairs of about 50 tokens
    assert [len(row) for row in scores] == [i % 4 for i in range(12)]
    tolerance = 1e-5 if dtype == "float32" else 0.05
    for one, other in zip(scores, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)
    assert pair_scores(encoder, [], []) == [] and pair_scores(encoder, ["a"], [[]])[0].shape == (0,)
    with pytest.raises(ValueError, match="hypothesis_lists: 1 for 2 texts"):
        pair_scores(encoder, ["a", "b"], [["x"]])


def test_texts_may_be_an_array(encoder):
    """Regression: arrays have no truth value."""
    hypotheses = encoder.hypotheses(LABELS)
    scores = nli_scores(encoder, np.array(NEWS[:3]), np.array(hypotheses))
    np.testing.assert_array_equal(scores, nli_scores(encoder, NEWS[:3], hypotheses))
