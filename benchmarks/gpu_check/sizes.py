"""Sizes of the measurements, and their encoders, with random weights and a newly built tokenizer."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from benchmarks.backbones import deberta_twin
from zsbench.data.authored_sets import HARDSET, TOPICS, read_authored

SEED = 1
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,'-_&/()!?:;\""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a check.

    Attributes:
        shapes: name -> keywords of a `BertConfig` for the encoders of the speed measurements; a name with "deberta"
            gives a DeBERTa.
        curve_shape: the small encoder of the loss curves, without dropout.
        curve_steps, curve_batch: optimiser steps, and texts per step.
        texts, mean_tokens, labels: number of texts, mean length in tokens, and number of labels to score.
        pair_texts: number of texts for ways of scoring with a pass per label.
        train_steps, train_batch: optimiser steps per round, and texts per step.
        repeats: number of interleaved rounds.
        token_budget: padded tokens per batch.
        batch: texts per batch of the other packages' pipelines.
        product: rows of the square matrices whose product gives the ceiling.
    """

    shapes: dict[str, dict[str, int]]
    curve_shape: dict[str, int]
    curve_steps: int
    curve_batch: int
    texts: int
    mean_tokens: int
    labels: int
    pair_texts: int
    train_steps: int
    train_batch: int
    repeats: int
    token_budget: int
    batch: int
    product: int


def _shape(vocabulary: int, hidden: int, layers: int, heads: int, intermediate: int) -> dict[str, int]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
    }


GPU = Sizes(
    shapes={
        "MiniLM (6 x 384)": _shape(30522, 384, 6, 12, 1536),
        "DeBERTa-v3-base (12 x 768)": _shape(128100, 768, 12, 12, 3072),
    },
    curve_shape=_shape(6000, 64, 2, 4, 128),
    curve_steps=12,
    curve_batch=16,
    texts=1024,
    mean_tokens=100,
    labels=10,
    pair_texts=128,
    train_steps=10,
    train_batch=32,
    repeats=3,
    token_budget=32768,
    batch=32,
    product=8192,
)
DRY_RUN = Sizes(
    shapes={"deberta (1 x 16)": _shape(1200, 16, 1, 2, 16)},
    curve_shape=_shape(1200, 16, 1, 2, 16),
    curve_steps=4,
    curve_batch=4,
    texts=8,
    mean_tokens=20,
    labels=3,
    pair_texts=2,
    train_steps=1,
    train_batch=4,
    repeats=1,
    token_budget=1024,
    batch=4,
    product=64,
)


def write_encoders(folder: Path, sizes: Sizes) -> dict[str, Path]:
    """Write the encoders that do not exist yet; returns their folders by shape, and "curve"."""
    wanted: dict[str, tuple[dict[str, int], dict[str, float]]] = {
        name: (shape, {}) for name, shape in sizes.shapes.items()
    }
    wanted["curve"] = (sizes.curve_shape, {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    found = {}
    for number, (name, (shape, more)) in enumerate(wanted.items()):
        found[name] = folder / str(number)
        if (found[name] / "model.safetensors").is_file():
            continue
        config = BertConfig(**shape, **more, pad_token_id=0)  # type: ignore[arg-type]
        target = folder / "bert" if "deberta" in name.lower() else found[name]
        _tokenizer(shape["vocab_size"] - 20).save_pretrained(target)  # families add their own tokens
        if "deberta" in name.lower():
            config.save_pretrained(target)
            deberta_twin(target, found[name], SEED)
        else:
            torch.manual_seed(SEED)
            BertModel(config).save_pretrained(target)
    return found


def _tokenizer(pieces: int) -> PreTrainedTokenizerFast:
    """A tokenizer with at most `pieces` word pieces: letters, then the most frequent words of the authored sets."""
    normalizer, split = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    texts = [row["text"] for name in (HARDSET, TOPICS) for row in read_authored(name)]
    words = Counter(
        word for text in texts for word, _ in split.pre_tokenize_str(normalizer.normalize_str(text)) if len(word) > 1
    )
    first = [*SPECIALS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    ranked = sorted(words, key=lambda word: (-words[word], word))
    vocabulary = {piece: i for i, piece in enumerate([*first, *ranked][:pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, split
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    names: dict[str, Any] = {f"{name.strip('[]').lower()}_token": name for name in SPECIALS}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
