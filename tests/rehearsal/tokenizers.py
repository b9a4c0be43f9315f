"""Tiny tokenizers in the published file layouts, trained on `texts` (`words.corpus`).

Files that older versions of transformers wrote next to `tokenizer.json` (added_tokens.json, special_tokens_map.json)
are also written if the published repository has them.
"""

import io
import json
import re
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    BartTokenizer,
    BertTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
)

PIECES = 2000
BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}

BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # in the order of the published ids


def write_spm(folder: Path, texts: list[str]) -> None:
    """DeBERTa-v3 as originally published: spm.model and a two-line config; no tokenizer.json."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="unigram",
        vocab_size=PIECES,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
        minloglevel=2,
    )
    (folder / "spm.model").write_bytes(model.getvalue())
    _write(folder / "tokenizer_config.json", {"do_lower_case": False, "vocab_type": "spm"})


def write_deberta(folder: Path, texts: list[str], added: tuple[str, ...] = ()) -> PreTrainedTokenizerBase:
    """DeBERTa-v3 as in fine-tuned checkpoints: spm.model, tokenizer.json and their sidecars.

    Args:
        folder: where the files go.
        texts: what it is trained on.
        added: special tokens that the checkpoint added.
    """
    write_spm(folder, texts)
    _write(folder / "config.json", {"model_type": "deberta-v2"})  # for AutoTokenizer; replaced by the model
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=512)
    tokenizer.add_tokens(list(added), special_tokens=True)
    tokenizer.save_pretrained(folder)
    _write(folder / "special_tokens_map.json", BERT_TOKENS | {"bos_token": "[CLS]", "eos_token": "[SEP]"})
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in ("[MASK]", *added)}
    _write(folder / "added_tokens.json", ids)
    return tokenizer


def write_roberta(folder: Path, texts: list[str], bart: bool = False) -> PreTrainedTokenizerBase:
    """RoBERTa's (or BART's) byte-level BPE: vocab.json and merges.txt next to tokenizer.json."""
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    parts = json.loads(_byte_level(texts, specials).to_str())["model"]
    vocab, merges = parts["vocab"], [tuple(pair) for pair in parts["merges"]]
    kind, limit = (BartTokenizer, 1024) if bart else (RobertaTokenizer, 512)
    tokenizer = kind(vocab=vocab, merges=merges, model_max_length=limit)  # type: ignore[arg-type]
    tokenizer.save_pretrained(folder)
    _write(folder / "vocab.json", vocab)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    return tokenizer


def write_modernbert(folder: Path, texts: list[str], added: tuple[str, ...]) -> PreTrainedTokenizerBase:
    """ModernBERT: byte-level BPE with BERT's special tokens; only tokenizer.json."""
    raw = _byte_level(texts, list(BERT_SPECIALS))
    pair = [(name, raw.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=pair
    )
    names = ["input_ids", "attention_mask"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, model_max_length=8192, model_input_names=names, **BERT_TOKENS
    )
    tokenizer.add_tokens(list(added), special_tokens=True)
    tokenizer.save_pretrained(folder)
    _write(folder / "special_tokens_map.json", BERT_TOKENS)
    return tokenizer


def write_bert(folder: Path, texts: list[str]) -> PreTrainedTokenizerBase:
    """BERT's word pieces: vocab.txt next to tokenizer.json."""
    # Not trained, because the trainer breaks ties differently in every process, and replicas must be reproducible.
    words = sorted({word for line in texts for word in re.findall(r"\w+|[^\w\s]", line.lower())})
    letters = sorted({letter for word in words for letter in word})
    pieces = dict.fromkeys([*BERT_SPECIALS, *letters, *(f"##{letter}" for letter in letters), *words])
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = BertTokenizer(vocab=vocab, do_lower_case=True, model_max_length=512)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    _write(folder / "special_tokens_map.json", BERT_TOKENS)
    return tokenizer


def _byte_level(texts: list[str], specials: list[str]) -> Tokenizer:
    """A byte-level BPE tokenizer whose first ids are the special tokens."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=PIECES, special_tokens=specials, initial_alphabet=alphabet, show_progress=False),
    )
    return raw


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
