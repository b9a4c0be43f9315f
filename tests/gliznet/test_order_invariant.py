"""Order-invariant mode: exact independence of label order, of chunking and of the other labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, DebertaV2Config, DistilBertConfig, RobertaConfig, RobertaModel

from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.order_invariant import allowed_pairs, check_supported, label_numbers, shared_positions
from gliznet.predictor import score_texts
from tests.factories import make_gliznet

KINDS = ["bert", "deberta", "modernbert"]
CONTEXTS = [{"label_context": "text"}, {"label_context": "none"}, {"label_context": "none", "label_frame": True}]
WORDS = ["sports", "business", "science", "politics", "very", "positive", "neutral", "comp", "sys", "mac", "misc"]


@pytest.fixture(scope="module")
def models():
    """One model per family and label context, cached."""
    made = {}
    for kind in KINDS:
        for i, context in enumerate(CONTEXTS):
            o = GliZNetOptions(max_length=64, order_invariant=True, head_init="scaled", label_reserve=26, **context)
            made[kind, i] = make_gliznet(kind, o)
    return made


@st.composite
def label_sets(draw: st.DrawFn) -> tuple[list[str], list[int]]:
    """Distinct labels of one to three words, and a permutation of them."""
    labels = draw(
        st.lists(
            st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join), min_size=2, max_size=8, unique=True
        )
    )
    return labels, draw(st.permutations(range(len(labels))))


@pytest.mark.parametrize("context", range(len(CONTEXTS)))
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6)
@given(label_sets())
def test_scores_depend_on_neither_order_nor_company(models, kind: str, context: int, case) -> None:
    model, tokenizer = models[kind, context]
    labels, order = case
    texts = ["the team won the cup", "shares fell " * 40, ""]
    scores = score_texts(model, tokenizer, texts, labels)
    moved = score_texts(model, tokenizer, texts, [labels[i] for i in order])
    alone = np.concatenate([score_texts(model, tokenizer, texts, [label]) for label in labels], axis=1)
    assert np.abs(moved - scores[:, order]).max() < 1e-5
    assert np.abs(alone - scores).max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_200_labels_in_ten_calls_or_one(models, kind: str) -> None:
    model, tokenizer = models[kind, 0]
    rng = np.random.default_rng(0)
    labels = sorted({" ".join(rng.choice(WORDS, 2)) + f" {rng.choice(WORDS)[0]}" for _ in range(900)})[:200]
    texts = ["the central bank raised interest rates", "cup " * 90]
    at_once = score_texts(model, tokenizer, texts, labels)
    calls = [score_texts(model, tokenizer, texts, labels[i : i + 20]) for i in range(0, 200, 20)]
    assert at_once.shape == (2, 200) and np.abs(at_once - np.concatenate(calls, axis=1)).max() < 1e-5
    # A single sequence with 80 labels, longer than max_length, gives the same scores.
    (row,) = tokenizer.encode_rows(texts[:1], [labels[:80]])
    assert len(row.input_ids) > 256
    with torch.inference_mode():
        single = model(**tokenizer.pad([row])).logits[0].numpy()
    assert np.abs(single - at_once[0, :80]).max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_label_context(models, kind: str) -> None:
    """With "none" the label's state does not see the text; with "text" it does; the text never sees labels."""
    for context, sees in ((0, True), (1, False), (2, False)):
        model, tokenizer = models[kind, context]
        vectors, states = [], []
        for text, label in (("the cup", "sports"), ("oil and bank", "sports"), ("the cup", "very neutral")):
            batch = tokenizer([text], [[label]])
            is_lab = batch["input_ids"] == tokenizer.lab_token_id
            with torch.inference_mode():
                H = model.encode(batch["input_ids"], batch["attention_mask"], batch["lmask"], is_lab)[0]
            vectors.append(H[is_lab[0]])
            states.append(H[: int((label_numbers(batch["lmask"], is_lab) == 0).sum())])
        assert torch.allclose(vectors[0], vectors[1], atol=1e-5) is not sees
        assert torch.allclose(states[0], states[2], atol=1e-5)


@pytest.mark.parametrize("kind", [*KINDS, "roberta"])
def test_text_states_are_those_of_the_text_alone(kind: str) -> None:
    """The encoder sees a text as in its pretraining, at the same positions."""
    o = GliZNetOptions(max_length=64, order_invariant=True, label_reserve=26)
    model, tokenizer = make_gliznet("bert" if kind == "roberta" else kind, o)
    if kind == "roberta":
        shape = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48, "num_hidden_layers": 2}
        encoder = RobertaModel(RobertaConfig(vocab_size=1024, max_position_embeddings=80, pad_token_id=0, **shape))
        model = GliZNetForSequenceClassification.from_backbone(encoder.eval(), tokenizer).eval()
    batch = tokenizer(["the team won the cup"], [["sports", "very neutral"]])
    is_lab = batch["input_ids"] == tokenizer.lab_token_id
    n = int((label_numbers(batch["lmask"], is_lab) == 0).sum())
    with torch.inference_mode():
        H = model.encode(batch["input_ids"], batch["attention_mask"], batch["lmask"], is_lab)
        alone = model.backbone(batch["input_ids"][:, :n], attention_mask=torch.ones(1, n)).last_hidden_state
    assert torch.allclose(H[:, :n], alone, atol=1e-5)


def test_framed_label_is_encoded_as_a_text() -> None:
    """Warm start: before training, the score is scale * (cosine of two mean-pooled sentences - offset)."""
    o = GliZNetOptions(
        max_length=64, order_invariant=True, label_context="none", label_frame=True, lab_init="sep",
        text_repr="mean", label_repr="mean", head_init="identity",
    )  # fmt: skip
    for kind in ("bert", "modernbert", "deberta"):
        model, tokenizer = make_gliznet(kind, o)
        texts, labels = ["the team won the cup", "oil"], ["very positive", "sports", "central bank politics"]

        def sentence(text: str, model=model, tokenizer=tokenizer) -> torch.Tensor:
            b = tokenizer.backend
            ids = torch.tensor([[b.cls_token_id, *tokenizer.tokenize_texts([text])[0], b.sep_token_id]])
            with torch.inference_mode():
                return model.backbone(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].mean(0)

        cos = torch.stack(
            [torch.stack([torch.cosine_similarity(sentence(t), sentence(c), 0) for c in labels]) for t in texts]
        )
        assert np.abs(score_texts(model, tokenizer, texts, labels) - 20 * (cos - 0.25).numpy()).max() < 1e-4


def test_positions_and_pairs() -> None:
    """CLS t SEP a LAB b b LAB PAD."""
    lmask = torch.tensor([[0, 0, 0, 1, 0, 2, 2, 0, 0]])
    is_lab = torch.tensor([[0, 0, 0, 0, 1, 0, 0, 1, 0]]).bool()
    attention = torch.tensor([[1, 1, 1, 1, 1, 1, 1, 1, 0]])
    segment = label_numbers(lmask, is_lab)
    assert segment.tolist() == [[0, 0, 0, 1, 1, 2, 2, 2, 0]]
    assert shared_positions(segment, is_lab, attention, None)[0, :8].tolist() == [0, 1, 2, 3, 4, 3, 4, 5]
    assert shared_positions(segment, is_lab, attention, 1)[0, :8].tolist() == [0, 1, 2, 1, 2, 1, 2, 3]
    pairs = allowed_pairs(segment, attention, "text")[0].int().tolist()
    assert pairs[1] == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert pairs[4] == [1, 1, 1, 1, 1, 0, 0, 0, 0]
    assert pairs[6] == [1, 1, 1, 0, 0, 1, 1, 1, 0]
    assert allowed_pairs(segment, attention, "none")[0, 6].int().tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0]


def test_unproven_encoders_are_refused() -> None:
    with pytest.raises(ValueError, match="'distilbert'.*bert, electra"):
        check_supported(DistilBertConfig())
    with pytest.raises(ValueError, match="conv_kernel_size=3"):
        check_supported(DebertaV2Config(conv_kernel_size=3))
    config = BertConfig()
    config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="flash_attention_2"):
        check_supported(config)


def test_eager_and_sdpa_agree() -> None:
    o = GliZNetOptions(max_length=64, order_invariant=True, head_init="scaled")
    for kind in ("bert", "modernbert"):
        model, tokenizer = make_gliznet(kind, o)
        sdpa = score_texts(model, tokenizer, ["the cup", "oil"], WORDS)
        model.backbone.set_attn_implementation("eager")
        assert np.abs(score_texts(model, tokenizer, ["the cup", "oil"], WORDS) - sdpa).max() < 1e-5
