"""A results folder with a tiny BERT encoder and a small training set, created for the tests."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertModel

from tests.factories import SPECIALS, bert_config, fast_tokenizer
from zsbench.data.training_sets import with_shown_labels
from zsbench.store.integrity import listing
from zsbench.store.layout import Layout
from zsbench.store.provenance import file_sha256, write_json

COLOURS, THINGS = ["red", "green", "blue", "cold", "warm"], ["cat", "dog", "bird", "sun", "rain", "train"]
WORDS = [*COLOURS, *THINGS, "ship", "bread", "soup", "song", "book"]
RECIPE = {
    "backbone": "tiny",
    "training_set": "colours",
    "steps": 8,
    "effective_batch": 8,
    "per_device_batch": 8,
    "learning_rate": 1e-3,
    "head_learning_rate": 1e-2,
    "weight_decay": 0.01,
    "warmup_ratio": 0.25,
    "max_grad_norm": 1.0,
    "max_labels": 8,
    "label_draw": "stratified",
    "max_length": 64,
    "evaluate_every": 2,
    "patience": 10,
    "selection": "mean_ap",
    "precision": "fp32",
    "strategy": "single",
    "gpus": 1,
}


def save_tiny_encoder(folder: Path) -> None:
    """A two-layer BERT with a word-piece tokenizer over `WORDS`."""
    # Not trained: a trainer's vocabulary comes in another order each time, and so would every test's numbers.
    vocabulary = {piece: i for i, piece in enumerate([*SPECIALS, *sorted(WORDS)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast_tokenizer(tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(bert_config(vocab_size=256, max_position_embeddings=96)).save_pretrained(folder)


def finish_backbone(layout: Layout) -> None:
    """Write the manifest for the current files of the backbone."""
    write_json(layout.fetched("tiny"), {"files": listing(layout.fetched("tiny").parent / "files")})


def rows() -> pd.DataFrame:
    """48 texts of three words; the words are the true labels, three others the false ones."""
    table = []
    for i in range(48):
        true = [WORDS[(i * k + k) % len(WORDS)] for k in (1, 3, 5)]
        false = [word for word in WORDS if word not in true][i % 5 : i % 5 + 3]
        table.append(
            {
                "split": "validation" if i % 6 == 0 else "train",
                "text": " ".join(true),
                "labels": sorted(set(true)),
                "not_labels": false,
            }
        )
    return pd.DataFrame(table)


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """Reset accelerate's per-process state, because the next test may use another precision."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A run with the backbone fetched and the training set prepared."""
    layout = Layout(tmp_path / "results" / "tiny")
    save_tiny_encoder(layout.fetched("tiny").parent / "files")
    finish_backbone(layout)
    path = layout.training_set("colours")
    path.parent.mkdir(parents=True)
    with_shown_labels(rows()).to_parquet(path, index=False)
    write_json(path.with_name("card.json"), {"rows_sha256": file_sha256(path)})
    return layout


@pytest.fixture
def recipe() -> dict:
    return dict(RECIPE)
