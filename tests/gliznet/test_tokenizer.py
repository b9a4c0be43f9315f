"""Sequences, truncation policies, chunks, and texts that spell out special tokens."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from gliznet.config import GliZNetConfig
from gliznet.options import GliZNetOptions
from gliznet.tokenizer import LAB, GliZNETTokenizer
from gliznet.truncation import SERVED, LabelBudgetError, keep_lengths, plan_chunks
from tests.factories import TOKENIZERS

CASES = settings(max_examples=30)
KINDS = ["bert", "deberta", "modernbert"]


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> GliZNETTokenizer:
    return GliZNETTokenizer(TOKENIZERS[request.param](), GliZNetOptions(max_length=128))


def test_layout(tokenizer: GliZNETTokenizer) -> None:
    b = tokenizer.backend
    (row,) = tokenizer.encode_rows(["the cup"], [["sports", "very positive"]])
    one, two = tokenizer.label_pieces(["sports", "very positive"])
    text = tokenizer.tokenize_texts(["the cup"])[0]
    lab = tokenizer.lab_token_id
    assert row.input_ids == [b.cls_token_id, *text, b.sep_token_id, *one, lab, *two, lab]
    assert row.lmask == [0] * (len(text) + 2) + [1] * len(one) + [0] + [2] * len(two) + [0]
    assert not row.text_cut and row.labels_cut == row.labels_lost == 0


def test_padding(tokenizer: GliZNETTokenizer) -> None:
    batch = tokenizer(["the cup", "shares " * 200], [["sports"], ["politics", "science"]])
    assert batch.input_ids.shape == batch.lmask.shape == batch.attention_mask.shape == (2, 128)
    short = int(batch.attention_mask[0].sum())
    assert (batch.input_ids[0, short:] == tokenizer.backend.pad_token_id).all() and not batch.lmask[0, short:].any()
    assert ((batch.input_ids == tokenizer.lab_token_id).sum(1) == torch.tensor([1, 2])).all()


INJECTIONS = ["[LAB]", "[SEP]", "[CLS]", "[PAD]", "[MASK]"]


@pytest.mark.parametrize("token", INJECTIONS)
@pytest.mark.parametrize("around", ["{}", "a {} b", "x{}y", "{0}{0} {0}", "[{}]"])
def test_special_tokens_in_text_stay_text(tokenizer: GliZNETTokenizer, token: str, around: str) -> None:
    string = around.format(token)
    (row,) = tokenizer.encode_rows([string], [[f"label {string}"]])
    specials = set(tokenizer.backend.convert_tokens_to_ids(INJECTIONS))
    found = [i for i in row.input_ids if i in specials]
    assert found == [tokenizer.backend.cls_token_id, tokenizer.backend.sep_token_id, tokenizer.lab_token_id]


def test_spelled_out_specials_are_read_letter_by_letter() -> None:
    tokenizer = GliZNETTokenizer(TOKENIZERS["modernbert"]())
    for token in INJECTIONS:
        (ids,) = tokenizer.tokenize_texts([f"a {token}"])
        assert tokenizer.backend.decode(ids) == f"a {token}"


def test_specials_of_the_models_own_vocabulary_are_a_real_danger() -> None:
    raw = TOKENIZERS["deberta"]()
    assert raw.sep_token_id in raw("a [SEP] b", add_special_tokens=False, split_special_tokens=True)["input_ids"]


def test_bad_labels_and_texts_are_named(tokenizer: GliZNETTokenizer) -> None:
    for bad in ("", "  ", "\n"):
        with pytest.raises(ValueError, match=r"labels\[1\]"):
            tokenizer(["text"], [["fine", bad]])
    with pytest.raises(ValueError, match="labels: is empty"):
        tokenizer(["text"], [[]])
    with pytest.raises(ValueError, match="label_sets: 1 for 2 texts"):
        tokenizer(["a", "b"], [["c"]])
    with pytest.raises(TypeError, match=r"texts\[1\]: is int"):
        tokenizer(["a", 3], [["c"], ["c"]])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="labels: 21.*max_labels=20"):
        tokenizer(["a"], [[f"label {i}" for i in range(21)]])


def test_empty_text_is_a_text(tokenizer: GliZNETTokenizer) -> None:
    (row,) = tokenizer.encode_rows([""], [["sports"]])
    assert row.input_ids[:2] == [tokenizer.backend.cls_token_id, tokenizer.backend.sep_token_id]


def test_long_text_leaves_long_labels_whole() -> None:
    """600 tokens of text with 20 long labels that share a prefix: all labels stay complete and distinct."""
    tokenizer = GliZNETTokenizer(TOKENIZERS["bert"](), GliZNetOptions(max_length=512))
    labels = [f"comp sys ibm pc hardware talk politics guns {word}" for word in "abcdefghiklmnoprstuv"]
    (row,) = tokenizer.encode_rows(["cup " * 600], [labels])
    pieces = [tuple(t for t, j in zip(row.input_ids, row.lmask, strict=True) if j == n) for n in range(1, 21)]
    assert len(row.input_ids) == 512 and row.text_cut and row.labels_cut == 0
    assert pieces == [tuple(ids) for ids in tokenizer.label_pieces(labels)] and len(set(pieces)) == 20


def test_reference_policy_makes_the_same_labels_look_alike() -> None:
    tokenizer = GliZNETTokenizer(TOKENIZERS["bert"](), GliZNetOptions(max_length=512, truncation="reference"))
    labels = [f"comp sys ibm pc hardware talk politics guns {word}" for word in "abcdefghiklmnoprstuv"]
    (row,) = tokenizer.encode_rows(["cup " * 600], [labels])
    pieces = {tuple(t for t, j in zip(row.input_ids, row.lmask, strict=True) if j == n) for n in range(1, 21)}
    assert len(pieces) == 1 and row.labels_cut == 20


def test_reference_policy_numbers() -> None:
    o = GliZNetOptions(truncation="reference", max_length=32, max_tokens_per_label=16, min_label_tokens=1)
    assert keep_lengths(10, [3, 3], o) == (10, [3, 3])  # fits
    assert keep_lengths(10, [20, 3], o) == (10, [14, 3])  # first cut to 16; 16+3 > 18 pieces; surplus 16: 1 + 16*16//19
    assert keep_lengths(40, [5, 5], o) == (26, [1, 1])  # text longer than everything: labels keep one piece
    assert keep_lengths(40, [5] * 20, o) == (16, [1] * 20)  # the text still gets min_text_tokens; the batch is cut hard


def test_the_published_pipeline_keeps_ten_tokens_of_a_text_and_two_of_each_label() -> None:
    """When nothing fits. The other two numbers of `SERVED` affect the scores of a published checkpoint."""
    o = GliZNetOptions(max_length=64, truncation="reference", **SERVED)
    assert keep_lengths(40, [5] * 18, o) == (10, [2] * 18)
    assert keep_lengths(40, [70], replace(o, max_length=512)) == (40, [64])


def test_reference_policy_counts_lost_labels() -> None:
    tokenizer = GliZNETTokenizer(TOKENIZERS["bert"](), GliZNetOptions(truncation="reference", max_length=32))
    (row,) = tokenizer.encode_rows(["cup " * 60], [[f"sports {i}" for i in range(20)]])
    assert len(row.input_ids) == 32 and row.labels_lost == 20 - row.input_ids.count(tokenizer.lab_token_id) > 0


def test_labels_that_do_not_fit_raise_with_numbers() -> None:
    tokenizer = GliZNETTokenizer(TOKENIZERS["bert"](), GliZNetOptions(max_length=64))
    labels = [" ".join(["sports"] * 5) + f" {i}" for i in range(10)]
    with pytest.raises(LabelBudgetError, match=r"10 labels need \d+ tokens.*max_length=64.*min_text_tokens=16"):
        tokenizer(["cup"], [labels])
    chunks = tokenizer.plan_chunks(labels)
    assert sorted(sum(chunks, [])) == list(range(10))
    for chunk in chunks:
        tokenizer(["cup " * 100], [[labels[i] for i in chunk]])
    with pytest.raises(LabelBudgetError, match="1 labels need"):
        tokenizer.plan_chunks(["sports " * 60])


@CASES
@given(st.lists(st.integers(1, 40), min_size=1, max_size=120), st.booleans(), st.integers(1, 30))
def test_chunks_hold_every_label_once_and_fit(lengths: list[int], invariant: bool, most: int) -> None:
    o = GliZNetOptions(max_length=128, order_invariant=invariant, label_reserve=41, max_labels=most)
    chunks = plan_chunks(lengths, o)
    assert sum(chunks, []) == list(range(len(lengths)))
    for chunk in chunks:
        text, kept = keep_lengths(10_000, [lengths[i] for i in chunk], o)
        assert kept == [lengths[i] for i in chunk] and text >= o.min_text_tokens
        if len(chunk) > 1:
            assert sum(kept) + len(kept) <= 64  # half is kept for the text
        if invariant:
            assert text == 128 - 2 - 41  # regardless of the labels
        else:
            assert len(chunk) <= most and 2 + text + sum(kept) + len(kept) <= 128


def test_order_invariant_label_longer_than_its_reserve_raises() -> None:
    o = GliZNetOptions(order_invariant=True, label_reserve=8)
    assert keep_lengths(9, [7], o) == (9, [7])
    with pytest.raises(LabelBudgetError, match="9 tokens.*label_reserve is 8"):
        keep_lengths(9, [8], o)


def test_label_frame() -> None:
    tokenizer = GliZNETTokenizer(TOKENIZERS["bert"](), GliZNetOptions(label_frame=True))
    (row,) = tokenizer.encode_rows(["cup"], [["sports"]])
    start = row.lmask.index(1)
    assert row.input_ids[start] == tokenizer.backend.cls_token_id and row.lmask[-1] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_keeps_policy_and_ids(kind: str, tmp_path: Path) -> None:
    options = GliZNetOptions(max_length=64, max_labels=3, truncation="reference", max_tokens_per_label=2)
    tokenizer = GliZNETTokenizer(TOKENIZERS[kind](), options)
    tokenizer.save_pretrained(tmp_path)
    again = GliZNETTokenizer.from_pretrained(tmp_path)
    assert again.options == options and len(again) == len(tokenizer)
    text, labels = ["a [LAB] cup"], [["very positive sports", "misc"]]
    assert torch.equal(again(text, labels).input_ids, tokenizer(text, labels).input_ids)
    assert AutoTokenizer.from_pretrained(tmp_path).convert_tokens_to_ids(LAB) == tokenizer.lab_token_id


def test_policy_comes_from_a_checkpoints_config(tmp_path: Path) -> None:
    GliZNETTokenizer(TOKENIZERS["bert"](), GliZNetOptions(max_length=64)).save_pretrained(tmp_path)
    (tmp_path / "gliznet_tokenizer.json").unlink()
    assert GliZNETTokenizer.from_pretrained(tmp_path).options == GliZNetOptions()
    GliZNetConfig(max_sequence_length=48).save_pretrained(tmp_path)
    assert GliZNETTokenizer.from_pretrained(tmp_path).options.max_length == 48


def test_unfit_backends_are_refused() -> None:
    backend = TOKENIZERS["bert"]()
    backend.sep_token = None
    with pytest.raises(ValueError, match="no sep_token_id"):
        GliZNETTokenizer(backend)
    with pytest.raises(ValueError, match="not a fast tokenizer"):
        GliZNETTokenizer(object())  # type: ignore[arg-type]


TEXT = st.text(max_size=40) | st.lists(st.sampled_from(["[LAB]", "[SEP]", "[CLS]", " ", "cup", "\x00", "😀"])).map(
    "".join
)
LABELS = st.lists(TEXT.filter(str.strip), min_size=1, max_size=5)


@example(text="[SEP] sports [LAB]", labels=["[LAB]", "a [SEP] b"])
@example(text="\u202e\x00", labels=["\x1c x", "x"])
@given(text=TEXT, labels=LABELS)
@settings(max_examples=40)
def test_every_label_stands_once_and_in_order(tokenizer: GliZNETTokenizer, text: str, labels: list[str]) -> None:
    try:
        (row,) = tokenizer.encode_rows([text], [labels])
    except LabelBudgetError:
        return  # named; a set of labels this long is split in chunks
    except ValueError as error:
        assert "gives no word piece" in str(error)
        return
    backend, lab = tokenizer.backend, tokenizer.lab_token_id
    ids, lmask = np.array(row.input_ids), np.array(row.lmask)
    assert (ids == lab).sum() == len(labels) and len(ids) == len(lmask) <= 128
    assert (ids == backend.cls_token_id).sum() == 1 and ids[0] == backend.cls_token_id
    text_end = int(np.flatnonzero(ids == backend.sep_token_id)[0])
    assert (lmask[: text_end + 1] == 0).all() and (lmask[ids == lab] == 0).all()
    for j, pieces in enumerate(tokenizer.label_pieces(labels), start=1):
        assert ids[lmask == j].tolist() == pieces
    assert row.labels_cut == row.labels_lost == 0
