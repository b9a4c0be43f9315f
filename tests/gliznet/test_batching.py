"""Token limits: tokens up to the limit have a position, the next one has none. Batches stay within a budget."""

import pytest
import torch
from transformers import (
    AutoModel,
    BartConfig,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from gliznet.batching import length_limit, position_limit

SIZES = {"vocab_size": 99, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
BART = {"vocab_size": 99, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
IDS = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
RELATIVE = {"position_biased_input": False, "relative_attention": True, "pos_att_type": "c2p"}
CONFIGS = {  # of 24 positions in the config; what a sequence may have
    "bert": (BertConfig(**SIZES, max_position_embeddings=24), 24),
    "roberta": (RobertaConfig(**SIZES, max_position_embeddings=24, pad_token_id=1), 22),
    "xlm-roberta": (XLMRobertaConfig(**SIZES, max_position_embeddings=24, pad_token_id=1), 22),
    "mpnet": (MPNetConfig(**SIZES, max_position_embeddings=24, pad_token_id=1), 22),
    "distilbert": (DistilBertConfig(vocab_size=99, dim=16, n_layers=1, n_heads=2, max_position_embeddings=24), 24),
    "bart": (BartConfig(**BART, decoder_ffn_dim=16, encoder_attention_heads=2, max_position_embeddings=24), 24),
    "deberta": (DebertaV2Config(**SIZES, max_position_embeddings=24, position_biased_input=True), 24),
    "deberta-v3": (DebertaV2Config(**SIZES, **RELATIVE, max_position_embeddings=24), None),
    "modernbert": (ModernBertConfig(**SIZES, **IDS, max_position_embeddings=24), None),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_limit_is_the_last_length_that_runs(kind: str) -> None:
    config, limit = CONFIGS[kind]
    model = AutoModel.from_config(config).eval()
    assert position_limit(model) == limit
    assert length_limit(model, int(1e30)) == (limit or 24)
    assert length_limit(model, None, 10, int(1e30)) == 10
    assert length_limit(model, 100) == (limit or 100)
    model(input_ids=torch.full((1, limit or 100), 7))
    if limit is not None:
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, limit + 1), 7))
