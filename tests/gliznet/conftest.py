"""Tiny encoders and tokenizers, built on the spot: random weights, vocabularies trained on a few lines."""

from collections.abc import Callable

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from gliznet.config import GliZNetOptions
from gliznet.model import GliZNetForSequenceClassification
from gliznet.tokenizer import GliZNETTokenizer

torch.set_num_threads(1)

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CORPUS = [
    "the team won the cup after extra time and the fans sang until morning",
    "shares fell as the central bank raised interest rates again this week",
    "a new phone with a better camera was shown at the fair in berlin",
    "politics of the middle east and the price of oil worry many countries",
    "sports business science politics very positive very negative neutral",
    "comp sys ibm pc hardware comp sys mac hardware talk politics guns misc",
]
KINDS = ("bert", "deberta", "modernbert")


def _fast(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


# The vocabularies are laid out by hand: the trainers of the tokenizers library break ties at random.
WORDS = sorted({word for line in CORPUS for word in line.split()})
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,[]"


def wordpiece() -> PreTrainedTokenizerFast:
    """As BERT's: lower case, word pieces."""
    pieces = [*SPECIALS, *LETTERS, *(f"##{c}" for c in LETTERS), *(w for w in WORDS if len(w) > 1)]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _fast(tokenizer)


def unigram() -> PreTrainedTokenizerFast:
    """As DeBERTa-v3's: the special tokens are also pieces of the model's vocabulary, so text could match them."""
    pieces = [(token, 0.0) for token in SPECIALS]
    pieces += [(f"▁{word}", -5.0) for word in WORDS if len(word) > 1]
    pieces += [(piece, -10.0) for piece in ("▁", *LETTERS, *LETTERS.upper()[:26])]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _fast(tokenizer)


def bpe() -> PreTrainedTokenizerFast:
    """As ModernBERT's: byte-level pairs; the words of the corpus are one or a few tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        spaced = f"Ġ{word}"
        merges |= {(spaced[:i], spaced[i]): None for i in range(1, len(spaced))}
    pieces = [*SPECIALS, *alphabet, *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _fast(tokenizer)


BACKENDS = {"bert": wordpiece, "deberta": unigram, "modernbert": bpe}


def make_encoder(kind: str, vocabulary: int = 1024, hidden: int = 32) -> PreTrainedModel:
    """A random two-layer encoder whose states differ a lot between tokens."""
    shape = {"vocab_size": vocabulary, "hidden_size": hidden, "num_attention_heads": 4, "intermediate_size": 48}
    encoder: PreTrainedModel
    if kind == "bert":
        encoder = BertModel(BertConfig(**shape, num_hidden_layers=2, max_position_embeddings=256))
    elif kind == "deberta":
        relative = {"relative_attention": True, "position_buckets": 8, "max_position_embeddings": 64}
        style = {"norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": ["p2c", "c2p"]}
        plain = {"position_biased_input": False, "type_vocab_size": 0}
        encoder = DebertaV2Model(DebertaV2Config(**shape, num_hidden_layers=2, **relative, **style, **plain))
    else:
        ids = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
        encoder = ModernBertModel(ModernBertConfig(**shape, **ids, num_hidden_layers=3, local_attention=8))
    with torch.no_grad():
        for weight in encoder.parameters():
            if weight.dim() > 1:
                weight.mul_(4)
    return encoder.eval()


def make_model(
    kind: str = "bert", options: GliZNetOptions | None = None, seed: int = 0
) -> tuple[GliZNetForSequenceClassification, GliZNETTokenizer]:
    """A model in eval mode and its tokenizer."""
    torch.manual_seed(seed)
    tokenizer = GliZNETTokenizer(BACKENDS[kind](), options or GliZNetOptions(max_length=128))
    return GliZNetForSequenceClassification.from_backbone(make_encoder(kind), tokenizer).eval(), tokenizer


@pytest.fixture(scope="session")
def build() -> Callable[..., tuple[GliZNetForSequenceClassification, GliZNETTokenizer]]:
    """`make_model` for tests."""
    return make_model


@pytest.fixture(scope="session")
def backends() -> dict[str, Callable[[], PreTrainedTokenizerFast]]:
    """Makers of tokenizers by encoder family."""
    return BACKENDS


@pytest.fixture(scope="session")
def encoder_of() -> Callable[..., PreTrainedModel]:
    """`make_encoder` for tests."""
    return make_encoder


@pytest.fixture
def texts() -> list[str]:
    """Texts of very different lengths."""
    return ["cup", CORPUS[0], " ".join(CORPUS[:3]), CORPUS[3]]


@pytest.fixture
def labels() -> list[str]:
    """Five labels of one to four words."""
    return ["sports", "very positive", "politics misc", "comp sys mac hardware", "science"]
