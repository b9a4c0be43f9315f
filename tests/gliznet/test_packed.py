"""Packed encoders against transformers' own: same states, gradients and scores for all lengths."""

import copy
import logging
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import (
    BertForSequenceClassification,
    CamembertConfig,
    CamembertModel,
    ElectraConfig,
    ElectraModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from gliznet.fast import packed
from gliznet.fast.encoders import use_fast_encoders, use_plain_encoders
from gliznet.fast.packed import PackedEncoder, can_prepack, first_token_only, is_packed, use_packed, use_padded
from tests.factories import make_encoder, make_gliznet, sharpen

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
}
KINDS = {
    "bert": lambda: make_encoder("bert"),
    "electra": lambda: sharpen(ElectraModel(ElectraConfig(**SIZES, embedding_size=16))),
    "roberta": lambda: sharpen(RobertaModel(RobertaConfig(**SIZES))),
    "xlm-roberta": lambda: sharpen(XLMRobertaModel(XLMRobertaConfig(**SIZES))),
    "camembert": lambda: sharpen(CamembertModel(CamembertConfig(**SIZES))),
}


def pair(kind: str) -> tuple[PreTrainedModel, PreTrainedModel]:
    """An encoder of transformers, and a packed copy."""
    torch.manual_seed(0)
    plain = KINDS[kind]().eval()
    fast = copy.deepcopy(plain)
    assert use_packed(fast) and is_packed(fast) and not is_packed(plain)
    return plain, fast


def batch(lengths: list[int], seed: int = 0, pad: int = 1) -> dict[str, torch.Tensor]:
    """Random tokens, padded on the right; the first half of each sequence is the same in all."""
    generator = torch.Generator().manual_seed(seed)
    T = max(lengths)
    ids = torch.randint(5, 200, (len(lengths), T), generator=generator)
    ids[:, : T // 2] = ids[0, : T // 2].clone()
    mask = torch.arange(T) < torch.tensor(lengths).unsqueeze(1)
    return {"input_ids": ids.masked_fill(~mask, pad), "attention_mask": mask.long()}


@pytest.mark.parametrize("kind", KINDS)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=7), seed=st.integers(0, 99))
@settings(max_examples=5)
def test_states_are_those_of_transformers(kind: str, lengths: list[int], seed: int) -> None:
    plain, fast = pair(kind)
    inputs = batch(lengths, seed)
    real = inputs["attention_mask"].bool()
    for guard in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with guard():
            wanted, found = plain(**inputs), fast(**inputs)
            assert torch.allclose(found.last_hidden_state[real], wanted.last_hidden_state[real], atol=1e-5)
            assert not found.last_hidden_state[~real].any()
            if kind != "electra":
                assert torch.allclose(found.pooler_output, wanted.pooler_output, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[7, 7, 7], [19, 3, 12, 1, 12, 18]])
def test_gradients_are_those_of_transformers(kind: str, lengths: list[int]) -> None:
    plain, fast = pair(kind)
    inputs = batch(lengths)
    real = inputs["attention_mask"].bool()
    found = []
    for model in (plain, fast):
        states = model(**inputs).last_hidden_state[real]
        (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    wanted, got = found
    largest = max(float(grad.abs().max()) for grad in wanted.values())
    assert wanted.keys() == got.keys()
    assert all(torch.allclose(got[name], wanted[name], atol=1e-5 * largest, rtol=1e-4) for name in wanted)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("hole", [False, True])
def test_pairs_of_tokens_may_be_masked(kind: str, hole: bool) -> None:
    """The order-invariant mask; a fully masked token in the middle must not count as padding at the end."""
    plain, fast = pair(kind)
    inputs = batch([15, 6, 14])
    real = inputs["attention_mask"].bool()
    pairs = (torch.rand(3, 15, 15) > 0.5) | torch.eye(15).bool()
    pairs = pairs & real.unsqueeze(1)
    if hole:
        pairs[..., 3] = False
    positions = torch.randint(2, 30, (3, 15))
    given = {"input_ids": inputs["input_ids"], "attention_mask": pairs.unsqueeze(1), "position_ids": positions}
    with torch.no_grad():
        wanted, found = plain(**given).last_hidden_state, fast(**given).last_hidden_state
    assert torch.allclose(found[real], wanted[real], atol=1e-5)


def test_token_types_and_no_mask() -> None:
    plain, fast = pair("bert")
    ids = torch.randint(5, 200, (4, 9))
    kinds = torch.randint(0, 2, (4, 9))
    with torch.no_grad():
        wanted = plain(ids, token_type_ids=kinds).last_hidden_state
        assert torch.allclose(fast(ids, token_type_ids=kinds).last_hidden_state, wanted, atol=1e-5)
        assert not torch.allclose(fast(ids).last_hidden_state, wanted, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[9], [12, 12], [4, 17, 1, 16]])
def test_the_first_token_alone(kind: str, lengths: list[int]) -> None:
    plain, fast = pair(kind)
    inputs = batch(lengths)
    with torch.no_grad(), first_token_only(fast):
        found = fast(**inputs).last_hidden_state
    with torch.no_grad():
        wanted = plain(**inputs).last_hidden_state[:, :1]
        assert fast(**inputs).last_hidden_state.shape[1] == max(lengths)  # outside the context, all tokens again
    assert found.shape == wanted.shape and torch.allclose(found, wanted, atol=1e-5)


def test_a_changed_weight_is_seen() -> None:
    plain, fast = pair("bert")
    inputs = batch([5, 8])
    with torch.no_grad():
        before = fast(**inputs).last_hidden_state
        for model in (plain, fast):
            model.encoder.layer[1].intermediate.dense.weight.mul_(1.5)  # type: ignore[union-attr]
        after = fast(**inputs).last_hidden_state
        assert not torch.allclose(before, after, atol=1e-3)
        real = inputs["attention_mask"].bool()
        assert torch.allclose(after[real], plain(**inputs).last_hidden_state[real], atol=1e-5)


def test_bf16_is_as_near_as_autocast_is() -> None:
    plain, fast = pair("bert")
    inputs = batch([5, 14, 13])
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        exact = plain(**inputs).last_hidden_state[real]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            wanted, found = (model(**inputs).last_hidden_state[real].float() for model in (plain, fast))
    assert (found - exact).norm() <= 1.2 * (wanted - exact).norm() and not torch.equal(found, exact)


def test_what_is_not_packed_goes_to_transformers() -> None:
    plain, fast = pair("bert")
    inputs = batch([5, 8])
    with torch.no_grad():
        found = fast(**inputs, output_hidden_states=True)
        wanted = plain(**inputs, output_hidden_states=True)
        assert torch.equal(found.hidden_states[1], wanted.hidden_states[1])
        assert torch.equal(fast(**inputs, return_dict=False)[0], wanted.last_hidden_state)


@pytest.mark.parametrize("kind", ["bert", "deberta"])
def test_private_operations_have_a_gate(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If PyTorch lacks them, or they give wrong results, its public product is used, with the same numbers."""
    plain = make_encoder(kind)
    fast = copy.deepcopy(plain)
    assert use_fast_encoders(fast)
    inputs = batch([5, 8])

    def count(*args: Any) -> Any:
        calls.append(1)
        return original(*args)

    calls: list[int] = []
    original = packed.packed_linear
    if can_prepack(torch.float32):
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(packed, "packed_linear", count)
            fast(**inputs)
        assert len(calls) == 4 * plain.config.num_hidden_layers  # all products of a layer
        fast.train().eval()

    def absent(*args: Any) -> Any:
        raise NotImplementedError("no such operation")

    for broken in (absent, lambda x, weight, bias: x @ torch.zeros(x.shape[1], len(bias))):
        can_prepack.cache_clear()
        monkeypatch.setattr(packed, "packed_linear", broken)
        assert not can_prepack(torch.float32)
        with torch.no_grad():
            found = fast(**inputs).last_hidden_state[inputs["attention_mask"].bool()]
            wanted = plain(**inputs).last_hidden_state[inputs["attention_mask"].bool()]
        assert torch.allclose(found, wanted, atol=1e-5)
    can_prepack.cache_clear()


def test_one_switch_and_one_log_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("GLIZNET_FAST", "0")
    assert not use_fast_encoders(make_encoder("bert")) and not use_fast_encoders(make_encoder("deberta"))
    monkeypatch.delenv("GLIZNET_FAST")
    with caplog.at_level(logging.INFO, "gliznet"):
        assert use_fast_encoders(make_encoder("bert")) and use_fast_encoders(make_encoder("deberta"))
        assert not caplog.records
        assert not use_fast_encoders(make_encoder("modernbert"))
        assert "ModernBertModel" in caplog.text


def test_it_can_be_undone_copied_and_saved(tmp_path: Any) -> None:
    fast = BertForSequenceClassification(make_encoder("bert").config)
    kind = type(fast.bert)
    before = list(fast.state_dict())
    assert use_packed(fast) and use_packed(fast) and isinstance(copy.deepcopy(fast).bert, PackedEncoder)
    assert list(fast.state_dict()) == before
    fast.bert.save_pretrained(tmp_path)
    assert kind.from_pretrained(tmp_path).config.architectures == ["BertModel"]
    use_padded(fast)
    assert type(fast.bert) is kind
    assert not use_packed(nn.Linear(2, 2))


@pytest.mark.parametrize("mode", ["joint", "order-invariant"])
def test_gliznet_uses_it(mode: str, texts: list[str], labels: list[str]) -> None:
    from gliznet.options import GliZNetOptions
    from gliznet.predictor import score_texts

    options = GliZNetOptions(max_length=128, order_invariant=mode == "order-invariant")
    model, tokenizer = make_gliznet("bert", options)
    assert is_packed(model.backbone)
    found = score_texts(model, tokenizer, texts, labels)
    use_plain_encoders(model)
    assert not is_packed(model.backbone)
    wanted = score_texts(model, tokenizer, texts, labels)
    assert torch.allclose(torch.as_tensor(found), torch.as_tensor(wanted), atol=1e-5)
