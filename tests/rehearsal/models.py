"""Replicas of model repositories: published architecture, file layout and label map; tiny, with random weights.

D hidden size, L labels.
"""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    BartConfig,
    BartForSequenceClassification,
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DebertaV2ForSequenceClassification,
    DebertaV2Model,
    ModernBertConfig,
    PretrainedConfig,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from tests import published_layouts
from tests.rehearsal import tokenizers

D = 32
SIZE: dict[str, Any] = {"hidden_size": D, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
TWO_WAY: dict[str, Any] = {
    "id2label": {0: "entailment", 1: "not_entailment"},
    "label2id": {"entailment": 0, "not_entailment": 1},
}
THREE_WAY: dict[str, Any] = {
    "id2label": {0: "contradiction", 1: "neutral", 2: "entailment"},
    "label2id": {"contradiction": 0, "neutral": 1, "entailment": 2},
}
GLICLASS_TOKENS = ("<<LABEL>>", "<<SEP>>")


def deberta_config(vocab_size: int, **more: Any) -> DebertaV2Config:
    """DeBERTa-v3's settings at a small size."""
    return DebertaV2Config(  # type: ignore[call-arg]  # some switches are read from the config without being declared
        vocab_size=vocab_size,
        **SIZE,
        max_position_embeddings=512,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        max_relative_positions=-1,
        position_biased_input=False,
        type_vocab_size=0,
        layer_norm_eps=1e-7,
        initializer_range=0.1,
        pad_token_id=0,
        **more,
    )


def write_deberta_base(folder: Path, texts: list[str]) -> None:
    """microsoft/deberta-v3-base: half-precision weights as a pickle only, spm.model, no tokenizer.json."""
    tokenizers.write_spm(folder, texts)
    config = deberta_config(tokenizers.PIECES + 100)  # like the published one: more rows than the tokenizer has tokens
    state = DebertaV2ForMaskedLM(config).half().state_dict()
    torch.save(
        {name: tensor for name, tensor in state.items() if name.startswith("deberta.")}, folder / "pytorch_model.bin"
    )
    config.to_json_file(folder / "config.json")


def write_deberta_nli(folder: Path, texts: list[str]) -> None:
    """MoritzLaurer/deberta-v3-*-zeroshot-v2.0: two classes, half precision."""
    tokenizer = tokenizers.write_deberta(folder, texts)
    DebertaV2ForSequenceClassification(deberta_config(len(tokenizer), **TWO_WAY)).half().save_pretrained(folder)


def write_roberta_nli(folder: Path, texts: list[str]) -> None:
    """MoritzLaurer/roberta-large-zeroshot-v2.0-c: two classes."""
    tokenizer = tokenizers.write_roberta(folder, texts)
    config = RobertaConfig(
        vocab_size=len(tokenizer), **SIZE, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1,
        bos_token_id=0, eos_token_id=2, initializer_range=0.1, **TWO_WAY,
    )  # fmt: skip
    RobertaForSequenceClassification(config).half().save_pretrained(folder)


def write_bart_nli(folder: Path, texts: list[str]) -> None:
    """facebook/bart-large-mnli: encoder and decoder, three classes."""
    tokenizer = tokenizers.write_roberta(folder, texts, bart=True)
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=D, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=1024,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, init_std=0.1, **THREE_WAY,
    )  # fmt: skip
    BartForSequenceClassification(config).save_pretrained(folder)


def write_e5(folder: Path, texts: list[str]) -> None:
    """intfloat/e5-large-v2: an old sentence-transformers layout (old module names, no folder for Normalize)."""
    tokenizer = tokenizers.write_bert(folder, texts)
    config = BertConfig(vocab_size=len(tokenizer), **SIZE, max_position_embeddings=512, initializer_range=0.1)
    BertModel(config).save_pretrained(folder)
    types = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(types.items())
    ]
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    pooling = {"word_embedding_dimension": D} | {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in modes}
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write(folder / "1_Pooling" / "config.json", pooling)


def write_reranker(folder: Path, texts: list[str]) -> None:
    """mixedbread-ai/mxbai-rerank-base-v1: DeBERTa-v3 with one output per pair."""
    tokenizer = tokenizers.write_deberta(folder, texts)
    config = deberta_config(len(tokenizer), num_labels=1)
    DebertaV2ForSequenceClassification(config).half().save_pretrained(folder)


def write_gliclass_deberta(folder: Path, texts: list[str]) -> None:
    """knowledgator/gliclass-{large,base}-v3.0: DeBERTa-v3, scores from an MLP."""
    tokenizer = tokenizers.write_deberta(folder, texts, added=GLICLASS_TOKENS)
    _write_gliclass(folder, deberta_config(len(tokenizer)), len(tokenizer), tokenizer, "mlp")


def write_gliclass_modern(folder: Path, texts: list[str]) -> None:
    """knowledgator/gliclass-{modern-*,edge}-v3.0: ModernBERT, scores from a product."""
    tokenizer = tokenizers.write_modernbert(folder, texts, added=GLICLASS_TOKENS)
    config = ModernBertConfig(
        vocab_size=len(tokenizer), **SIZE, max_position_embeddings=1024, pad_token_id=tokenizer.pad_token_id,
        cls_token_id=tokenizer.cls_token_id, sep_token_id=tokenizer.sep_token_id, bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id, initializer_range=0.1,
    )  # fmt: skip
    _write_gliclass(folder, config, len(tokenizer), tokenizer, "simple")


def _write_gliclass(
    folder: Path, encoder: PretrainedConfig, vocab_size: int, tokenizer: tokenizers.PreTrainedTokenizerBase, scorer: str
) -> None:
    from gliclass import GLiClassModel, GLiClassModelConfig

    config = GLiClassModelConfig(
        encoder_config=encoder.to_dict(),
        encoder_model="replica",
        class_token_index=tokenizer.convert_tokens_to_ids(GLICLASS_TOKENS[0]),
        text_token_index=tokenizer.convert_tokens_to_ids(GLICLASS_TOKENS[1]),
        vocab_size=vocab_size,
        hidden_size=D,
        scorer_type=scorer,
        scorer_mlp_hidden_size=D,
        pooling_strategy="first",
        class_token_pooling="first",
        prompt_first=True,
        problem_type="multi_label_classification",
        initializer_range=0.1,
    )
    GLiClassModel(config).save_pretrained(folder)


def write_gliznet(folder: Path, texts: list[str]) -> None:
    """alexneakameni/gliznet-deberta-v3-base, era D: written without this project's code."""
    tokenizer = tokenizers.write_deberta(folder, texts)
    encoder = DebertaV2Model(deberta_config(len(tokenizer) + 100))  # [LAB] gets an existing row
    published_layouts.write_gliznet(folder, encoder, tokenizer)


def write_hybrid(folder: Path, nli: Path, descriptions: dict[str, str]) -> None:
    """tdnathmlenthusiast/hybrid-nli-polyencoder: multihead_v2.pt in the notebook's format, for the replica NLI model.

    Args:
        folder: the repository's folder.
        nli: folder of the replica NLI model.
        descriptions: label name -> description, in column order; Health has no head, as published.
    """
    seed_by(folder)
    encoder, tokenizer = AutoModel.from_pretrained(nli, dtype=torch.float32), AutoTokenizer.from_pretrained(nli)
    heads = [name for name in descriptions if name != "Health"]
    thresholds = dict.fromkeys(descriptions, 0.5)
    published_layouts.write_hybrid(folder / "multihead_v2.pt", encoder, tokenizer, descriptions, heads, thresholds)


WRITERS: dict[str, Callable[[Path, list[str]], None]] = {  # repository -> writer of its folder
    "microsoft/deberta-v3-base": write_deberta_base,
    "MoritzLaurer/deberta-v3-base-zeroshot-v2.0": write_deberta_nli,
    "MoritzLaurer/deberta-v3-large-zeroshot-v2.0": write_deberta_nli,
    "MoritzLaurer/roberta-large-zeroshot-v2.0-c": write_roberta_nli,
    "facebook/bart-large-mnli": write_bart_nli,
    "intfloat/e5-large-v2": write_e5,
    "mixedbread-ai/mxbai-rerank-base-v1": write_reranker,
    "knowledgator/gliclass-large-v3.0": write_gliclass_deberta,
    "knowledgator/gliclass-base-v3.0": write_gliclass_deberta,
    "knowledgator/gliclass-modern-large-v3.0": write_gliclass_modern,
    "knowledgator/gliclass-modern-base-v3.0": write_gliclass_modern,
    "knowledgator/gliclass-edge-v3.0": write_gliclass_modern,
    "alexneakameni/gliznet-deberta-v3-base": write_gliznet,
}


def seed_by(folder: Path) -> None:
    """Seed from the repository's name: replicas differ from each other, and each is reproducible."""
    torch.manual_seed(zlib.crc32("/".join(folder.parts[-2:]).encode()))


def write_model(repo: str, folder: Path, texts: list[str]) -> None:
    """Write the replica of a model repository.

    Args:
        repo: `owner/name`.
        folder: folder for its files.
        texts: what its tokenizer is trained on.

    Raises:
        KeyError: no replica of this repository is known.
    """
    seed_by(folder)
    WRITERS[repo](folder, texts)


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
