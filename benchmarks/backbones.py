"""Backbones for a speed run. Their weights are random, because speed does not depend on them."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertModel, DebertaV2Config, DebertaV2Model


def deberta_twin(backbone: Path, out: Path, seed: int) -> Path:
    """Write a random DeBERTa-v3 of the same size and with the same tokenizer as the backbone; returns `out`."""
    own = AutoConfig.from_pretrained(backbone, trust_remote_code=False)
    torch.manual_seed(seed)
    config = DebertaV2Config(  # type: ignore[call-arg]  # some of its keys are not declared
        vocab_size=own.vocab_size,
        hidden_size=own.hidden_size,
        num_hidden_layers=own.num_hidden_layers,
        num_attention_heads=own.num_attention_heads,
        intermediate_size=own.intermediate_size,
        max_position_embeddings=512,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        pad_token_id=own.pad_token_id,
    )
    DebertaV2Model(config).save_pretrained(out)
    AutoTokenizer.from_pretrained(backbone, trust_remote_code=False).save_pretrained(out)
    return out


def tiny_bert(backbone: Path, out: Path) -> Path:
    """Write a random one-layer BERT with the backbone's tokenizer; returns `out`."""
    own = AutoConfig.from_pretrained(backbone, trust_remote_code=False)
    config = BertConfig(
        vocab_size=own.vocab_size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=own.pad_token_id,
    )
    BertModel(config).save_pretrained(out)
    AutoTokenizer.from_pretrained(backbone, trust_remote_code=False).save_pretrained(out)
    return out
