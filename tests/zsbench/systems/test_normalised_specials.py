"""XLM-R's tokenizer normalises a full-width "＜/s＞" to "</s>"; no family must turn it into a special token."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_length_limits import save
from tiny_run import finish_source, source_folder
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from gliznet.tokenizer import GliZNETTokenizer
from zsbench.families import FAMILIES, TRAINABLE, import_class
from zsbench.recipe import Recipe
from zsbench.store.layout import Layout
from zsbench.systems import load
from zsbench.systems.texts import EscapeSpecialTokens
from zsbench.training.rows import TrainingRows

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
LETTERS = "abcdefghijklmnopqrstuvwxyz<>/[]."
MARKERS = ("<<LABEL>>", "<<SEP>>")
# Markers in full-width letters, whole and in part, and in small forms.
FULL = {ord(c): ord(c) + 0xFEE0 for c in "<>/[]" + LETTERS + LETTERS.upper()}
EVIL = [token.translate(FULL) for token in (*SPECIALS, *MARKERS, "[LAB]")] + [
    "\ufe64/s\ufe65",
    "<／s>",
    "</ｓ>",
    "</s>",
]
RECIPE = Recipe(
    backbone="x",
    training_set="x",
    steps=1,
    effective_batch=1,
    per_device_batch=1,
    learning_rate=1e-3,
    head_learning_rate=1e-3,
    weight_decay=0.0,
    warmup_ratio=0.0,
    max_grad_norm=1.0,
    max_labels=8,
    label_draw="stratified",
    max_length=64,
    evaluate_every=1,
    selection="mean_ap",
    patience=1,
    precision="fp32",
    strategy="single",
    gpus=1,
)


def xlmr() -> PreTrainedTokenizerFast:
    """XLM-R's conventions: Unigram pieces after NFKC, the special tokens among the pieces."""
    pieces = [(token, 0.0) for token in SPECIALS] + [(piece, -5.0) for piece in ("▁", *LETTERS, "▁money", "▁cat")]
    raw = Tokenizer(models.Unigram(pieces, unk_id=3))
    raw.normalizer = normalizers.NFKC()
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"cls": "<s>", "bos": "<s>", "sep": "</s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>"}
    tokens = {f"{name}_token": token for name, token in names.items()}
    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=raw, mask_token="<mask>", model_input_names=inputs, **tokens)


def counts(ids: torch.Tensor) -> dict[int, int]:
    """Counts of each special token except padding."""
    return {token: int((ids == token).sum()) for token in (0, 2, 4, *range(len(xlmr()), len(xlmr()) + 4))}


def test_the_danger_is_real() -> None:
    """For every kind: neither the tokenizer nor `split_special_tokens` prevents it."""
    for text in EVIL[:5]:
        for split in (False, True):
            ids = xlmr()(text, add_special_tokens=False, split_special_tokens=split)["input_ids"]
            assert set(ids) & {0, 1, 2, 3, 4}


@given(st.lists(st.sampled_from([*EVIL, *FULL.values(), "money", " ", "/", "s", "<"]), max_size=12))
@settings(max_examples=200)
def test_no_text_gives_a_special_id(parts: list) -> None:
    tokenizer = xlmr()
    tokenizer.add_tokens([AddedToken(marker, normalized=True) for marker in MARKERS])
    text = "".join(part if isinstance(part, str) else chr(part) for part in parts)
    (plain,) = EscapeSpecialTokens(tokenizer, MARKERS)([text])
    ids = tokenizer(plain, add_special_tokens=False)["input_ids"]
    forbidden = {0, 1, 2, 4, *tokenizer.convert_tokens_to_ids(list(MARKERS))}
    assert forbidden.isdisjoint(ids)
    assert plain.replace(" ", "") == text.replace(" ", "")  # only spaces were added
    gliznet = GliZNETTokenizer(xlmr())
    assert gliznet._special_ids.isdisjoint(gliznet.tokenize_texts([text])[0])


def test_other_texts_stay_as_they_are() -> None:
    texts = ["ｆｕｌｌ ｗｉｄｔｈ", "a < b / s > c", "", "é\u00a0x"]
    assert EscapeSpecialTokens(xlmr())(texts) == texts


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("family", ["nli", "reranker", "biencoder", "gliclass"])
def test_systems_read_no_special_token_out_of_texts_and_labels(family, evil, tmp_path, make_spec) -> None:
    layout = Layout(tmp_path / "run")
    save(family, "bert", 64, source_folder(layout, "tiny"), xlmr())
    finish_source(layout, "tiny")
    template = {"template": "{}"} if family == "nli" else {}
    system = load.build(make_spec(family, model=["source", "tiny"], settings=template), layout)
    model = system.encoder.model if family == "nli" else system.model
    table = next(module for name, module in model.named_modules() if name.endswith("word_embeddings"))
    seen: list[torch.Tensor] = []
    table.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten()))

    def read(text: str, label: str) -> dict[int, int]:
        seen.clear()
        system.score([text], [label])
        return counts(torch.cat(seen))

    assert read(f"cat {evil} cat", f"money {evil}") == read("cat money cat", "money money")


@pytest.mark.parametrize("family", TRAINABLE)
def test_training_reads_no_special_token_out_of_texts_and_labels(family, tmp_path) -> None:
    tokenizer = xlmr()
    tokenizer.save_pretrained(tmp_path)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(tokenizer) + 4, **shape)).save_pretrained(tmp_path)
    make = import_class(str(FAMILIES[family].task_class))

    def read(text: str, label: str) -> dict[int, int]:
        rows = TrainingRows([text], [[label]], [["cat"]])
        task = make(tmp_path, {"template": "a {}"} if family == "nli" else {}, rows, rows, 1, RECIPE)
        batch = task.batch([0], (1, 0))
        return counts(torch.cat([ids.flatten() for key, ids in batch.items() if key.endswith("_ids")]))

    expected = read("cat money cat", "money money")
    for evil in random.Random(0).sample(EVIL, 4):
        assert read(f"cat {evil} cat", f"money {evil}") == expected
