"""The DeBERTa fast path against transformers' own module: same outputs, same gradients, same state dict.

B batch, T tokens.
"""

import copy
import pickle
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import DebertaV2Model

from gliznet.fast.deberta import has_fast_attention, use_fast_attention, use_plain_attention
from gliznet.fast.relative_positions import PositionBias, position_bias
from gliznet.options import GliZNetOptions
from gliznet.order_invariant import encode_order_invariant
from gliznet.predictor import score_texts
from tests.factories import deberta_config, make_encoder, make_gliznet, sharpen

VOCABULARY = 50
Pair = tuple[DebertaV2Model, DebertaV2Model]


def make_pair(buckets: int, share: bool, kinds: tuple[str, ...], dropout: float = 0.0, conv: int = 0) -> Pair:
    """transformers' model and a copy with fast attention, with weights that make attention sharp and biases matter."""
    torch.manual_seed(0)
    config = deberta_config(
        vocab_size=VOCABULARY,
        hidden_size=24,
        num_attention_heads=3,
        intermediate_size=32,
        position_buckets=buckets,
        max_position_embeddings=48,
        share_att_key=share,
        pos_att_type=list(kinds),
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        conv_kernel_size=conv,
    )
    model = sharpen(DebertaV2Model(config), 8)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn_like(weight) * 0.3)
    fast = copy.deepcopy(model)
    assert use_fast_attention(fast)
    return model, fast


CASES = list(product((16, -1), (True, False), (("p2c", "c2p"), ("c2p",), ("p2c",))))
MODELS: dict[tuple[int, bool, tuple[str, ...]], Pair] = {}


def pair(case: tuple[int, bool, tuple[str, ...]]) -> Pair:
    """The models of a case, cached."""
    if case not in MODELS:
        MODELS[case] = make_pair(*case)
    return MODELS[case]


def inputs(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random ids and attention mask for rows of these lengths, (B, T) each."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, VOCABULARY, (len(lengths), max(lengths)), generator=generator)
    return ids, (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)).long()


def states(model: DebertaV2Model, ids: Tensor, mask: Tensor) -> Tensor:
    """Last hidden states (N, D) of all tokens but padding."""
    return model(ids, mask).last_hidden_state[mask.bool()].float()


@given(
    case=st.sampled_from(CASES),
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=6),
    padding=st.sampled_from(["right", "left", "inside"]),
    gradients=st.booleans(),
)
@settings(max_examples=60)
def test_outputs_are_transformers_own(
    case: tuple[int, bool, tuple[str, ...]], lengths: list[int], padding: str, gradients: bool
) -> None:
    model, fast = pair(case)
    ids, mask = inputs(lengths)
    if padding == "left":
        mask = mask.flip(1)
    elif padding == "inside":
        mask[0, 1 : lengths[0] : 3] = 0
    with torch.set_grad_enabled(gradients):
        expected, found = model(ids, mask, output_hidden_states=True), fast(ids, mask, output_hidden_states=True)
    for one, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(one[mask.bool()], other[mask.bool()], atol=2e-5, rtol=0)
    if padding == "right" and not gradients:
        assert not found.last_hidden_state[~mask.bool()].any()  # it is not computed


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lengths", [[1], [9, 5], [40, 17, 3], [150]])
def test_gradients_are_transformers_own(case: tuple[int, bool, tuple[str, ...]], lengths: list[int]) -> None:
    model, fast = pair(case)
    ids, mask = inputs(lengths)
    weight = torch.randn(*ids.shape, 24, generator=torch.Generator().manual_seed(1)) * mask.unsqueeze(-1)
    gradients = []
    for one in (model.train(), fast.train()):
        one.zero_grad()
        (one(ids, mask).last_hidden_state * weight).sum().backward()
        gradients.append({name: weight.grad for name, weight in one.named_parameters()})
        one.eval()
    scale = max(float(gradient.abs().max()) for gradient in gradients[0].values() if gradient is not None)
    for name, expected in gradients[0].items():
        found = gradients[1][name]
        assert (found is None) == (expected is None), name
        if expected is not None:
            torch.testing.assert_close(found, expected, atol=1e-5 * scale, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("T", [1, 2, 5, 9])
@pytest.mark.parametrize("kinds", [(True, True), (True, False), (False, True)])
def test_gradcheck(T: int, kinds: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gliznet.fast.relative_positions.WHOLE", 4)
    monkeypatch.setattr("gliznet.fast.relative_positions.BLOCK", 3)  # the last block is shorter
    generator = torch.Generator().manual_seed(T)

    def tensor(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    tables = [tensor(2, 2 * (T + 1) - 1, 2) if kind else None for kind in kinds]  # one distance more than needed
    assert torch.autograd.gradcheck(PositionBias.apply, (tensor(2, 2, T, 2), tensor(2, 2, T, 2), *tables))


@pytest.mark.parametrize(("T", "block"), [(1, 64), (2, 1), (7, 3), (7, 64), (130, 64), (129, 64)])
def test_position_bias_is_its_definition(T: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gliznet.fast.relative_positions.BLOCK", block)
    monkeypatch.setattr("gliznet.fast.relative_positions.WHOLE", min(block, 128))
    M = T + 2
    q, k = torch.randn(2, 3, T, 4), torch.randn(2, 3, T, 4)
    keys, queries = torch.randn(3, 2 * M - 1, 4), torch.randn(3, 2 * M - 1, 4)
    distance = torch.arange(T).unsqueeze(1) - torch.arange(T)  # (T, T), i - j
    by_pair_keys, by_pair_queries = keys.flip(1)[:, distance + M - 1], queries[:, distance + M - 1]  # (H, T, T, d)
    expected = torch.einsum("bhid,hijd->bhij", q, by_pair_keys) + torch.einsum("bhjd,hijd->bhij", k, by_pair_queries)
    torch.testing.assert_close(position_bias(q, k, keys, queries), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("context", ["text", "none"])
@pytest.mark.parametrize("gradients", [False, True])
def test_positions_of_any_form(case: tuple[int, bool, tuple[str, ...]], context: str, gradients: bool) -> None:
    model, fast = pair(case)
    ids = torch.tensor([[1, 5, 6, 7, 2, 8, 9, 3, 8, 3, 0], [1, 5, 2, 8, 3, 8, 3, 9, 9, 9, 3]])
    mask, lmask = (ids > 0).long(), torch.tensor([[0] * 5 + [1, 1, 0, 2, 0, 0], [0] * 3 + [1, 0, 2, 0, 3, 3, 3, 0]])
    options = GliZNetOptions(order_invariant=True, label_context=context)  # type: ignore[arg-type]
    with torch.set_grad_enabled(gradients):
        expected, found = (encode_order_invariant(one, ids, mask, lmask, ids == 3, options) for one in (model, fast))
    real = mask.bool()
    torch.testing.assert_close(found[real], expected[real], atol=2e-5, rtol=0)


@pytest.mark.parametrize("case", CASES[:3])
def test_bf16_is_as_close_as_transformers_own(case: tuple[int, bool, tuple[str, ...]]) -> None:
    model, fast = pair(case)
    ids, mask = inputs([140, 33])
    with torch.inference_mode():
        exact = states(model, ids, mask)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            reference, found = (states(one, ids, mask) for one in (model, fast))
    assert (found - exact).square().mean() <= 1.5 * (reference - exact).square().mean()
    with torch.inference_mode():  # bf16 values in the cache must not leak into a float32 pass
        torch.testing.assert_close(states(fast, ids, mask), exact, atol=2e-5, rtol=0)


def test_what_is_cached_follows_the_weights() -> None:
    model, fast = make_pair(16, False, ("p2c", "c2p"))
    ids, mask = inputs([20, 12])

    def check() -> None:
        with torch.inference_mode():
            expected, found = states(model, ids, mask), states(fast, ids, mask)
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)

    check()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("encoder."):
                weight.add_(torch.randn_like(weight) * 0.1)
                fast.get_parameter(name).copy_(weight)
                check()
    optimizers = [torch.optim.AdamW(one.parameters(), lr=0.1, fused=True) for one in (model, fast)]
    for one, optimizer in zip((model, fast), optimizers, strict=True):
        one(ids, mask).last_hidden_state.square().sum().backward()  # eval mode: nothing was dropped by train()
        optimizer.step()
    fast.load_state_dict(model.state_dict())
    check()
    for weight in fast.parameters():  # a write that does not change PyTorch's version counter
        weight.data.mul_(2)
    for weight in model.parameters():
        weight.data.mul_(2)
    fast.train().eval()
    check()
    assert torch.equal(fast.double()(ids, mask).last_hidden_state, fast(ids, mask).last_hidden_state)


def test_what_is_cached_is_never_saved_or_copied() -> None:
    _, fast = make_pair(16, True, ("p2c", "c2p"))
    ids, mask = inputs([20])
    names = set(fast.state_dict())
    with torch.inference_mode():
        expected = fast(ids, mask).last_hidden_state
    assert set(fast.state_dict()) == names
    for copied in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert not any("_cache" in vars(module) for module in copied.modules())
        with torch.inference_mode():
            assert torch.equal(copied(ids, mask).last_hidden_state, expected)


def test_weights_without_a_version_are_never_cached() -> None:
    with torch.inference_mode():
        model, fast = make_pair(16, True, ("p2c", "c2p"))
        ids, mask = inputs([9])
        for _ in range(2):
            found = fast(ids, mask).last_hidden_state
            torch.testing.assert_close(found, model(ids, mask).last_hidden_state, atol=1e-4, rtol=0)
            for weight in (*model.parameters(), *fast.parameters()):
                weight.mul_(1.1)


def test_dropout_is_applied_in_training() -> None:
    _, fast = make_pair(16, True, ("p2c", "c2p"), dropout=0.5)
    ids, mask = inputs([9])
    with torch.no_grad():
        fast.train()
        assert not torch.equal(fast(ids, mask).last_hidden_state, fast(ids, mask).last_hidden_state)


def test_attentions_convolution_and_checkpointing() -> None:
    model, fast = make_pair(16, True, ("p2c", "c2p"), conv=3)
    ids, mask = inputs([12, 7])
    with torch.inference_mode():
        expected, found = (one(ids, mask, output_attentions=True) for one in (model, fast))
        plain = fast(ids, mask).last_hidden_state
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state, atol=2e-5, rtol=0)
    torch.testing.assert_close(plain, expected.last_hidden_state, atol=2e-5, rtol=0)
    for one, other in zip(found.attentions, expected.attentions, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    fast.train()
    plain = fast(ids, mask).last_hidden_state
    fast.gradient_checkpointing_enable()
    checkpointed = fast(ids, mask).last_hidden_state
    torch.testing.assert_close(checkpointed, plain)
    checkpointed.square().sum().backward()


def test_other_encoders_are_left_alone() -> None:
    assert not use_fast_attention(make_encoder("bert"))
    plain = DebertaV2Model(deberta_config(relative_attention=False))
    assert not use_fast_attention(plain)
    _, fast = make_pair(16, True, ("c2p",))
    assert use_fast_attention(fast)  # a second time
    use_plain_attention(fast)
    for module, name in (
        (plain.encoder, "encoder"),
        (plain.encoder.layer[0].attention.self, "encoder.layer.0.attention.self"),
    ):
        assert type(fast.get_submodule(name)) is type(module)


@pytest.mark.slow
def test_ten_thousand_decisions_are_the_same() -> None:
    labels = ["sports", "oil", "misc", "science", "bank", "very cup", "team", "fair east", "oil bank", "east"]
    fast, tokenizer = make_gliznet("deberta", GliZNetOptions(max_length=256, head_init="scaled"))
    assert has_fast_attention(fast.backbone.encoder)
    plain = copy.deepcopy(fast)
    use_plain_attention(plain)
    draws = np.random.default_rng(1)
    words = np.array(" ".join(labels).split())
    lengths = np.clip(draws.lognormal(3.2, 0.9, 10_000), 1, 200).astype(int)  # most within a block, some over several
    texts = [" ".join(draws.choice(words, length)) for length in lengths]
    a, b = (np.asarray(score_texts(model, tokenizer, texts, labels)) for model in (fast, plain))
    assert a.shape == (10_000, 10) and a.std(0).min() > 0.01, "scores that differ between texts"
    assert np.abs(a - b).max() <= 1e-4
    assert (a.argmax(1) == b.argmax(1)).all()
