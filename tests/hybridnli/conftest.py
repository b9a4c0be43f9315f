"""Tiny NLI models with random weights and a tokenizer trained on the spot; nothing is downloaded."""

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    PreTrainedTokenizerFast,
)

from hybridnli.encoder import NLIEncoder
from hybridnli.features import build_store

VOCABULARY = """
    markets rallied as banks reported earnings while doctors warned about rising disease rates new chips power
    artificial intelligence tools forests burn under changing climate trade policy shifts employment numbers and
    inflation worries economists health care costs rise software helps farmers protect rivers
"""
WORDS = VOCABULARY.split()
DESCRIPTIONS = {
    "Tech": "This text is about software and chips",
    "Health": "This text is about doctors and disease",
    "Money": "This text is about banks, trade and markets",
}
TEXTS = [" ".join(WORDS[(i * 7 + j * (i % 5 + 1)) % len(WORDS)] for j in range(3 + (i * 5) % 14)) for i in range(40)]
PIECES = 400


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer():
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    corpus = [*TEXTS, *DESCRIPTIONS.values(), "This example is {}. abcdefghijklmnopqrstuvwxyz"]
    raw.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=PIECES, special_tokens=special))
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, raw.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )


def _labels(names):
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


def make_bert(names=("entailment", "not_entailment"), seed=3, hidden=32):
    """A BERT with large random weights, so that scores spread over (0, 1)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=PIECES,
            hidden_size=hidden,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=64,
            initializer_range=0.3,
            **_labels(names),
        )
        return BertForSequenceClassification(config).eval()


def make_deberta(names=("not_entailment", "entailment"), seed=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = DebertaV2Config(
            vocab_size=PIECES,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=64,
            initializer_range=0.3,
            relative_attention=True,
            position_buckets=16,
            pos_att_type=["p2c", "c2p"],
            position_biased_input=False,
            share_att_key=True,
            norm_rel_ebd="layer_norm",
            type_vocab_size=0,
            **_labels(names),
        )
        return DebertaV2ForSequenceClassification(config).eval()


@pytest.fixture(scope="session")
def bert():
    return make_bert()


@pytest.fixture
def encoder(bert, tokenizer):
    return NLIEncoder(bert, tokenizer)


@pytest.fixture(scope="session")
def store(bert, tokenizer, tmp_path_factory):
    """A store of 40 texts and 3 labels, for tests that only read."""
    encoder = NLIEncoder(bert, tokenizer)
    return build_store(encoder, TEXTS, DESCRIPTIONS, tmp_path_factory.mktemp("store"), dtype="float32")


@pytest.fixture(scope="session")
def gold():
    """Labels (40, 3) that words decide, so that heads can learn them."""
    keys = ({"software", "chips", "tools"}, {"doctors", "disease", "health"}, {"banks", "trade", "markets"})
    rows = [[bool(words & key) for key in keys] for words in (set(text.split()) for text in TEXTS)]
    return torch.tensor(rows).numpy().astype("float32")


@pytest.fixture
def count_calls(monkeypatch):
    """`count_calls(encoder, fail_at=None)`: an object whose `calls` counts forward passes, failing at one of them."""

    class Counter:
        calls = 0

    def install(encoder, fail_at=None):
        counter, inner = Counter(), type(encoder.model.base_model).forward

        def forward(*args, **kwargs):
            counter.calls += 1
            if counter.calls == fail_at:
                raise KeyboardInterrupt("killed here")
            return inner(encoder.model.base_model, *args, **kwargs)

        monkeypatch.setattr(encoder.model.base_model, "forward", forward)
        return counter

    return install
