"""Texts longer than the model's positions are truncated, even if the tokenizer's limit is missing or too large."""

import numpy as np
import pytest
import torch
from gliclass import GLiClassModel, GLiClassModelConfig
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tiny_run import NLI_LABELS, finish_source, make_tokenizer, source_folder
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    RobertaConfig,
)

from zsbench.store.layout import Layout
from zsbench.systems import load

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
IDS = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
CONFIGS = {
    "roberta": lambda **more: RobertaConfig(**SIZES, max_position_embeddings=34, pad_token_id=1, **more),
    "bert": lambda **more: BertConfig(**SIZES, max_position_embeddings=32, **more),
    "deberta": lambda **more: DebertaV2Config(**SIZES, max_position_embeddings=32, **more),
    "modernbert": lambda **more: ModernBertConfig(**SIZES, **IDS, max_position_embeddings=32, **more),
}


def save(family: str, kind: str, stated: int, folder, tokenizer=None) -> None:
    """Save a tiny model of a family with a kind of encoder; its tokenizer states a limit."""
    tokenizer = tokenizer or make_tokenizer()
    if kind == "roberta":
        swap = {"pad_token": "[UNK]", "unk_token": "[PAD]"}  # its padding is id 1
        for name, token in swap.items():
            setattr(tokenizer, name, token)
    tokenizer.model_max_length = stated
    if family == "gliclass":
        tokenizer.add_tokens(["<<LABEL>>", "<<SEP>>"], special_tokens=True)
    size = {"vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    if family == "nli":
        names = {"label2id": NLI_LABELS, "id2label": {i: name for name, i in NLI_LABELS.items()}}
        AutoModelForSequenceClassification.from_config(CONFIGS[kind](**size, **names)).save_pretrained(folder)
    elif family == "reranker":
        AutoModelForSequenceClassification.from_config(CONFIGS[kind](**size, num_labels=1)).save_pretrained(folder)
    elif family == "biencoder":
        plain = folder.with_name("plain")
        AutoModel.from_config(CONFIGS[kind](**size)).save_pretrained(plain)
        tokenizer.save_pretrained(plain)
        transformer = Transformer(str(plain))
        transformer.tokenizer.model_max_length = stated
        SentenceTransformer(modules=[transformer, Pooling(16)], device="cpu").save(str(folder))
    else:
        ids = {"class": "<<LABEL>>", "text": "<<SEP>>"}
        config = GLiClassModelConfig(
            encoder_config=CONFIGS[kind](**size).to_dict(),
            encoder_model=kind,
            **{f"{one}_token_index": tokenizer.convert_tokens_to_ids(token) for one, token in ids.items()},
            **size,
            hidden_size=16,
            pooling_strategy="first",
            prompt_first=True,
            problem_type="multi_label_classification",
        )
        GLiClassModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("stated", [int(1e30), 512])
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("family", ["nli", "reranker", "biencoder", "gliclass"])
def test_a_long_text_is_cut_to_the_models_positions(family, kind, stated, tmp_path, make_spec) -> None:
    layout = Layout(tmp_path / "run")
    save(family, kind, stated, source_folder(layout, "tiny"))
    finish_source(layout, "tiny")
    template = {"template": "{}"} if family == "nli" else {}
    system = load.build(make_spec(family, model=["source", "tiny"], settings=template), layout)
    scores = system.score(["markets rallied " * 100, "money"], ["tech", "money"])
    assert np.isfinite(scores).all()
    assert kind in ("deberta", "modernbert") or system.report()["truncated_texts"] == 1
