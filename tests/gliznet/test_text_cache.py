"""Texts and labels encoded separately: same states as in one sequence, each text once, work linear in labels."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    CamembertConfig,
    CamembertModel,
    DebertaV2Model,
    ElectraConfig,
    ElectraModel,
    ErnieConfig,
    ErnieModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from gliznet import predictor
from gliznet.fast.text_cache import can_cache_texts, encode_labels
from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.order_invariant import SUPPORTED
from gliznet.predictor import ScoringReport, score_texts
from gliznet.tokenizer import GliZNETTokenizer
from gliznet.truncation import LabelBudgetError
from tests.factories import TOKENIZERS, deberta_config, make_gliznet, sharpen

TEXTS = ["the team won the cup", "shares fell " * 40, "", "a new phone"]
WORDS = ["sports", "business", "science", "politics", "very", "positive", "neutral", "comp", "sys", "mac", "misc"]
LABELS = [f"{a} {b}" for a in WORDS for b in WORDS[:7]] + WORDS  # 88, of one to three pieces
CONTEXTS = [{"label_context": "text"}, {"label_context": "none"}, {"label_context": "none", "label_frame": True}]
HEADS = [{"head_init": "scaled"}, {"text_repr": "mean", "label_repr": "mean", "head_init": "identity"}]
SHAPE = {"vocab_size": 1024, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
OTHERS = {
    "roberta": (RobertaModel, RobertaConfig),
    "xlm-roberta": (XLMRobertaModel, XLMRobertaConfig),
    "camembert": (CamembertModel, CamembertConfig),
    "ernie": (ErnieModel, ErnieConfig),
    "electra": (ElectraModel, ElectraConfig),
}
DEBERTAS = [  # switches of published DeBERTa-v2 and v3 models
    {"position_buckets": -1, "share_att_key": False, "pos_att_type": ["p2c", "c2p"]},
    {"position_buckets": 8, "share_att_key": True, "pos_att_type": ["c2p"]},
    {"position_buckets": 8, "share_att_key": False, "pos_att_type": ["p2c"], "position_biased_input": True},
]


def options(**changes) -> GliZNetOptions:
    return GliZNetOptions(**({"max_length": 64, "order_invariant": True, "label_reserve": 26} | changes))


def both(model, tokenizer, texts, labels, monkeypatch, **settings) -> tuple[np.ndarray, np.ndarray]:
    """Scores of texts and labels encoded separately, and of joint sequences."""
    with monkeypatch.context() as patch:
        patch.setattr(predictor, "_use_text_cache", lambda *_: True)
        apart = score_texts(model, tokenizer, texts, labels, **settings)
        patch.setattr(predictor, "_use_text_cache", lambda *_: False)
        return apart, score_texts(model, tokenizer, texts, labels, **settings)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("kind", ["bert", "deberta", "modernbert"])
def test_scores_are_those_of_joint_sequences(monkeypatch, kind: str, context: dict, head: dict) -> None:
    model, tokenizer = make_gliznet(kind, options(**context, **head))
    apart, joint = both(model, tokenizer, TEXTS, LABELS, monkeypatch)
    assert np.abs(apart - joint).max() < 1e-5 and np.ptp(joint) > 0.1
    low, _ = both(model, tokenizer, TEXTS, LABELS[:30], monkeypatch, autocast_dtype="bf16")
    assert np.abs(low - joint[:, :30]).max() < 0.2 * joint.std() + 0.1


def encoder_test(encoder, tokenizer, monkeypatch) -> None:
    model = GliZNetForSequenceClassification.from_backbone(sharpen(encoder), tokenizer)
    assert can_cache_texts(model.backbone)
    apart, joint = both(model, tokenizer, TEXTS, LABELS[:20], monkeypatch)
    assert np.abs(apart - joint).max() < 1e-5 and np.ptp(joint) > 0.1


@pytest.mark.parametrize("kind", OTHERS)
def test_all_supported_families(monkeypatch, kind: str) -> None:
    assert {*OTHERS, "bert", "deberta-v2", "modernbert"} == set(SUPPORTED)
    torch.manual_seed(0)
    made, config = OTHERS[kind]
    width = {"embedding_size": 16} if kind == "electra" else {}  # with a projection, as Electra-small has
    encoder = made(config(**SHAPE, num_hidden_layers=2, max_position_embeddings=80, pad_token_id=0, **width))
    encoder_test(encoder, GliZNETTokenizer(TOKENIZERS["bert"](), options(head_init="scaled")), monkeypatch)


@pytest.mark.parametrize("switches", DEBERTAS)
def test_every_kind_of_relative_position(monkeypatch, switches: dict) -> None:
    torch.manual_seed(0)
    encoder_test(
        DebertaV2Model(deberta_config(norm_rel_ebd="none", **switches)),
        GliZNETTokenizer(TOKENIZERS["deberta"](), options(head_init="scaled")),
        monkeypatch,
    )


def test_an_encoder_whose_layers_are_not_known_takes_joint_sequences() -> None:
    plain = {"position_biased_input": True, "max_position_embeddings": 300}
    encoder = DebertaV2Model(deberta_config(relative_attention=False, **plain)).eval()
    tokenizer = GliZNETTokenizer(TOKENIZERS["deberta"](), options(head_init="scaled"))
    model = GliZNetForSequenceClassification.from_backbone(encoder, tokenizer)
    assert not can_cache_texts(model.backbone)
    assert np.isfinite(score_texts(model, tokenizer, TEXTS, LABELS)).all()
    with pytest.raises(ValueError, match="'deberta-v2' cannot encode texts and labels apart"):
        encode_labels(model.backbone, None, torch.ones(1, 1, 2).long(), torch.ones(1, 1, 2).bool(), model.options)


@pytest.mark.parametrize("kind", ["bert", "deberta"])
def test_the_text_is_encoded_once_and_work_grows_linearly(kind: str) -> None:
    """Tokens that pass the first layer, and floating-point operations of everything, for 32, 64, ... 256 labels."""
    model, tokenizer = make_gliznet(kind, options(head_init="scaled"))
    model.requires_grad_(False)  # the counter cannot follow gradients in inference mode
    labels = [" ".join(words) for words in product(WORDS, repeat=3)][:256]
    assert {len(ids) for ids in tokenizer.label_pieces(labels)} == {3}
    text = ["the central bank raised interest rates again this week"]
    score_texts(model, tokenizer, text, labels)  # fills what is cached between passes
    tokens, counts = [], {}
    layer = model.backbone.encoder.layer[0].output.LayerNorm
    hook = layer.register_forward_hook(lambda _module, inputs, _output: tokens.append(inputs[0].shape[:-1].numel()))
    for n in (32, 64, 128, 256):
        tokens.clear()
        with FlopCounterMode(display=False) as flops:
            score_texts(model, tokenizer, text, labels[:n])
        counts[n] = sum(tokens), flops.get_total_flops()
    hook.remove()
    assert {n: seen for n, (seen, _) in counts.items()} == {n: 11 + 4 * n for n in counts}, "the text once"
    work = {n: total for n, (_, total) in counts.items()}
    assert work[256] - work[128] == pytest.approx(2 * (work[128] - work[64]), rel=1e-3)
    assert work[128] - work[64] == pytest.approx(2 * (work[64] - work[32]), rel=1e-3)


def test_labels_that_see_no_text_are_encoded_once_in_all() -> None:
    model, tokenizer = make_gliznet("bert", options(label_context="none"))
    report = ScoringReport()
    score_texts(model, tokenizer, TEXTS, LABELS, report=report)
    texts = sum(min(len(ids), 62) + 2 for ids in tokenizer.tokenize_texts(TEXTS))
    assert report.real_tokens == texts + sum(len(ids) + 1 for ids in tokenizer.label_pieces(LABELS))
    assert report.truncated_texts == 1 and report.padded_tokens >= report.real_tokens


@pytest.mark.parametrize("budget", [1, 150, 4096])
def test_batches_and_progress(budget: int) -> None:
    model, tokenizer = make_gliznet("bert", options(head_init="scaled"))
    exact = np.concatenate([score_texts(model, tokenizer, [text], LABELS) for text in TEXTS])
    steps: list[tuple[int, int]] = []
    model.train()
    found = score_texts(model, tokenizer, TEXTS, LABELS, token_budget=budget, progress=lambda *step: steps.append(step))
    assert model.training and steps[-1] == (4, 4)
    model.eval()
    assert np.abs(found - exact).max() < 1e-5
    with pytest.raises(LabelBudgetError, match="label_reserve is 26"):
        score_texts(model, tokenizer, TEXTS, [*LABELS, "cup " * 30])
