"""Tiny encoders, tokenizers and configs with random weights, created in memory; nothing is downloaded.

Vocabularies are written by hand, because the trainers of the tokenizers library break ties at random.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2Model,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.tokenizer import GliZNETTokenizer

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,[]{}"
CORPUS = [
    "the team won the cup after extra time and the fans sang until morning",
    "shares fell as the central bank raised interest rates again this week",
    "a new phone with a better camera was shown at the fair in berlin",
    "politics of the middle east and the price of oil worry many countries",
    "sports business science politics very positive very negative neutral",
    "comp sys ibm pc hardware comp sys mac hardware talk politics guns misc",
]
WORDS = sorted({word for line in CORPUS for word in line.split()})
NEWS_TEXT = """
    markets rallied as banks reported earnings while doctors warned about rising disease rates new chips power
    artificial intelligence tools forests burn under changing climate trade policy shifts employment numbers and
    inflation worries economists health care costs rise software helps farmers protect rivers
"""
NEWS_WORDS = NEWS_TEXT.split()
NEWS = [
    " ".join(NEWS_WORDS[(i * 7 + j * (i % 5 + 1)) % len(NEWS_WORDS)] for j in range(3 + (i * 5) % 14))
    for i in range(40)
]
DESCRIPTIONS = {
    "Tech": "This text is about software and chips",
    "Health": "This text is about doctors and disease",
    "Money": "This text is about banks, trade and markets",
}
NLI_VOCABULARY = 200  # rows of the embeddings of NLI models


def fast_tokenizer(tokenizer: Tokenizer, **more: Any) -> PreTrainedTokenizerFast:
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, mask_token="[MASK]", **more)


def wordpiece(words: Iterable[str] = WORDS, **more: Any) -> PreTrainedTokenizerFast:
    """As BERT's: lower case, word pieces; `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`."""
    pieces = dict.fromkeys([*SPECIALS, *LETTERS, *(f"##{c}" for c in LETTERS), *words])
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    return fast_tokenizer(tokenizer, **more)


def unigram() -> PreTrainedTokenizerFast:
    """Like DeBERTa-v3's: the special tokens are also pieces of the vocabulary, so text could match them."""
    pieces = [(token, 0.0) for token in SPECIALS]
    pieces += [(f"▁{word}", -5.0) for word in WORDS if len(word) > 1]
    pieces += [(piece, -10.0) for piece in ("▁", *LETTERS, *LETTERS.upper()[:26])]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return fast_tokenizer(tokenizer)


def bpe() -> PreTrainedTokenizerFast:
    """Like ModernBERT's: byte-level BPE; words of the corpus are one or a few tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        spaced = f"Ġ{word}"
        merges |= {(spaced[:i], spaced[i]): None for i in range(1, len(spaced))}
    pieces = [*SPECIALS, *alphabet, *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return fast_tokenizer(tokenizer)


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bert": wordpiece,
    "deberta": unigram,
    "modernbert": bpe,
}


def bert_config(**changes: Any) -> BertConfig:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    return BertConfig(**{"vocab_size": 1024, "max_position_embeddings": 256, **sizes, **changes})


def deberta_config(**changes: Any) -> DebertaV2Config:
    """Like DeBERTa-v3's: relative positions only."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    relative = {"relative_attention": True, "position_buckets": 8, "position_biased_input": False}
    style = {"norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
    return DebertaV2Config(
        **{"vocab_size": 1024, "max_position_embeddings": 64, **sizes, **relative, **style, **changes}
    )


def modernbert_config(**changes: Any) -> ModernBertConfig:
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
    ids = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    return ModernBertConfig(**{"vocab_size": 1024, "local_attention": 8, **sizes, **ids, **changes})


def sharpen(model: Any, factor: float = 4) -> Any:
    """Larger weight matrices, so that states and scores differ a lot between tokens; in eval mode."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(factor)
    return model.eval()


def make_encoder(kind: str, **changes: Any) -> PreTrainedModel:
    """A random encoder of two layers (ModernBERT: three)."""
    encoders = {
        "bert": (BertModel, bert_config),
        "deberta": (DebertaV2Model, deberta_config),
        "modernbert": (ModernBertModel, modernbert_config),
    }
    model, config = encoders[kind]
    return sharpen(model(config(**changes)))


def make_gliznet(
    kind: str = "bert", options: GliZNetOptions | None = None, seed: int = 0
) -> tuple[GliZNetForSequenceClassification, GliZNETTokenizer]:
    """A model in eval mode and its tokenizer."""
    torch.manual_seed(seed)
    tokenizer = GliZNETTokenizer(TOKENIZERS[kind](), options or GliZNetOptions(max_length=128))
    return GliZNetForSequenceClassification.from_backbone(make_encoder(kind), tokenizer).eval(), tokenizer


def nli_tokenizer() -> PreTrainedTokenizerFast:
    words = {*NEWS_WORDS, "example", *(word for text in DESCRIPTIONS.values() for word in text.lower().split())}
    return wordpiece(sorted(word.strip(",") for word in words), model_max_length=64)


def label_maps(names: Iterable[str]) -> dict[str, Any]:
    """`id2label` and `label2id` of a config."""
    names = list(names)
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


def make_nli_model(
    kind: str = "bert", names: Iterable[str] = ("entailment", "not_entailment"), seed: int = 1
) -> BertForSequenceClassification | DebertaV2ForSequenceClassification:
    """An NLI model with large random weights, so that scores spread over (0, 1)."""
    sizes = {"vocab_size": NLI_VOCABULARY, "num_attention_heads": 2, "max_position_embeddings": 64}
    common: dict[str, Any] = {**sizes, "initializer_range": 0.3, **label_maps(names)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "bert":
            return BertForSequenceClassification(bert_config(**common)).eval()
        return DebertaV2ForSequenceClassification(deberta_config(**common, position_buckets=16)).eval()


def news_gold() -> np.ndarray:
    """Labels (40, 3) of NEWS, float32; they follow from single words, so that heads can learn them."""
    keys = ({"software", "chips", "tools"}, {"doctors", "disease", "health"}, {"banks", "trade", "markets"})
    return np.array([[bool({*text.split()} & key) for key in keys] for text in NEWS], dtype=np.float32)
