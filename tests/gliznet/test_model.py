"""The model: head equations, forward pass, padding, targets, gradients; saving, loading, refusing."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from gliznet.config import GliZNetConfig
from gliznet.model import (
    GliZNetForSequenceClassification,
    LabelAggregator,
    LabelScorer,
    attend,
    lab_positions,
)
from gliznet.options import GliZNetOptions
from gliznet.tokenizer import GliZNETTokenizer
from tests.factories import TOKENIZERS, make_encoder, make_gliznet

KINDS = ["bert", "deberta", "modernbert"]
TEXT_REPRS = ["attention", "attention-normalized", "cls", "mean"]
VARIANTS = [
    {},
    {"text_repr": "attention-normalized", "enrichment": True, "focal_gamma": 1.85, "vicreg_scope": "batch-unit"},
    {"text_repr": "cls", "label_repr": "mean", "head": "cosine", "vicreg": "variance"},
    {"text_repr": "mean", "head": "dot", "align_weight": 0.2, "vicreg_scope": "sample-unit"},
    {"text_repr": "mean", "label_repr": "mean", "head_init": "identity", "order_invariant": True},
    {"head_init": "scaled", "order_invariant": True, "label_context": "none", "label_frame": True, "lab_init": "sep"},
]
SETS = [["sports"], ["very positive", "science", "misc"], ["politics misc", "cup"], ["sports", "oil"]]


def options(**changes: object) -> GliZNetOptions:
    return GliZNetOptions(**({"max_length": 96} | changes))  # type: ignore[arg-type]


def aggregator(hidden: int = 8, **changes: object) -> LabelAggregator:
    torch.manual_seed(0)
    return LabelAggregator(hidden, GliZNetOptions(**changes)).eval()  # type: ignore[arg-type]


def sample(B: int = 2, K: int = 3, T: int = 11, D: int = 8) -> tuple[torch.Tensor, ...]:
    """States, lmask, text mask and [LAB] positions of B sequences `CLS t t t SEP p LAB p LAB p LAB`."""
    H = torch.randn(B, T, D, generator=torch.Generator().manual_seed(1))
    lmask = torch.tensor([0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0]).expand(B, T)
    text_mask = (torch.arange(T) < 5).expand(B, T)
    position, present = lab_positions((torch.arange(T) >= 5).expand(B, T) & (lmask == 0), K)
    return H, lmask, text_mask, position, present


def test_attention_of_the_specification() -> None:
    H = torch.tensor([[[1.0, 0], [0, 1], [1, 1], [9, 9]]])
    text_mask = torch.tensor([[True, True, True, False]])
    t = attend(torch.tensor([[[2.0, 0]]]), H, text_mask, 2**-0.5)
    assert t[0, 0].tolist() == pytest.approx([0.891617, 0.554192], abs=1e-6)


@pytest.mark.parametrize("text_repr", TEXT_REPRS)
@pytest.mark.parametrize("label_repr", ["lab", "mean"])
@pytest.mark.parametrize("head", ["bilinear", "cosine", "dot"])
def test_scores_are_the_equations(text_repr: str, label_repr: str, head: str) -> None:
    model = aggregator(text_repr=text_repr, label_repr=label_repr, head=head)
    H, lmask, text_mask, position, present = sample()
    logits, _, _ = model(H, lmask, text_mask, position, present)
    D = H.shape[-1]
    for b in range(2):
        h = H[b].double().numpy()
        if text_repr == "attention-normalized":
            h = h / np.linalg.norm(h, axis=1, keepdims=True)
        text = h[:5]
        for j in range(3):
            e = h[6 + 2 * j] if label_repr == "lab" else h[5 + 2 * j]
            scale = math.sqrt(D) if text_repr == "attention-normalized" else 1 / math.sqrt(D)
            a = np.exp(text @ e * scale)
            t = {"cls": text[0], "mean": text.mean(0)}.get(text_repr, (a / a.sum()) @ text)
            if head == "bilinear":
                W = model.scoring.bilinear.weight[0].detach().double().numpy()
                expected = t @ W @ e + model.scoring.bilinear.bias.item()
            elif head == "cosine":
                expected = t @ e / np.linalg.norm(t) / np.linalg.norm(e) / 0.07
            else:
                expected = t @ e / math.sqrt(D)
            assert logits[b, j].item() == pytest.approx(expected, abs=1e-5)


@settings(max_examples=20)
@given(st.permutations(range(3)), st.sampled_from(TEXT_REPRS), st.booleans())
def test_permuting_labels_permutes_scores(order: list[int], text_repr: str, enrichment: bool) -> None:
    """Given the hidden states, nothing above the encoder depends on the order of labels."""
    model = aggregator(text_repr=text_repr, enrichment=enrichment)
    H, lmask, text_mask, position, present = sample()
    logits, _, _ = model(H, lmask, text_mask, position, present)
    moved, _, _ = model(H, lmask, text_mask, position[:, order], present)
    assert torch.allclose(moved, logits[:, order], atol=1e-5)


def test_reference_head_has_its_parameters_and_range() -> None:
    model = aggregator(64)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {
        "scoring.bilinear.weight": (1, 64, 64),
        "scoring.bilinear.bias": (1,),
    }
    assert model.scoring.bilinear.weight.abs().max() <= 64**-0.5


@pytest.mark.parametrize(("head_init", "low", "high"), [("default", 4.0, 5.5), ("scaled", 0.9, 1.1)])
def test_spread_of_first_logits(head_init: str, low: float, high: float) -> None:
    """Unit-variance states: D/sqrt(3D) = 4.6 at D = 64 by default, 1 when scaled."""
    torch.manual_seed(0)
    spread = [
        LabelScorer(64, GliZNetOptions(head_init=head_init))(torch.randn(1, 500, 64), torch.randn(1, 500, 64)).std()  # type: ignore[arg-type]
        for _ in range(5)
    ]
    assert low < torch.stack(spread).mean() < high


def test_identity_head_starts_as_a_scaled_cosine_and_learns() -> None:
    scorer = LabelScorer(16, GliZNetOptions(head_init="identity", identity_scale=20.0, identity_offset=0.25))
    t, e = torch.randn(2, 3, 16), 7 * torch.randn(2, 3, 16)
    cos = torch.nn.functional.cosine_similarity(t, e, dim=-1)
    score = scorer(t, e)
    assert torch.allclose(score, 20 * (cos - 0.25), atol=1e-4)
    score.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in scorer.parameters())


def test_scale_is_clamped() -> None:
    scorer = LabelScorer(4, GliZNetOptions(head="cosine"))
    with torch.no_grad():
        scorer.logit_scale.fill_(50.0)
    same = torch.ones(1, 1, 4)
    assert scorer(same, same).item() == pytest.approx(100.0, rel=1e-5)


@pytest.mark.parametrize("head", ["cosine", "dot", "bilinear"])
def test_empty_mean_gives_a_finite_score(head: str) -> None:
    """A padded label column has no pieces; its (unused) score and gradient must not be NaN."""
    model = aggregator(label_repr="mean", head=head)
    H, lmask, text_mask, position, present = sample()
    H = H.clone().requires_grad_()
    logits, _, _ = model(H, lmask.clamp(max=2), text_mask, position, present)
    logits.sum().backward()
    assert torch.isfinite(logits).all() and torch.isfinite(H.grad).all()


def test_lab_positions() -> None:
    is_lab = torch.tensor([[0, 0, 1, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]).bool()
    position, present = lab_positions(is_lab, 3)
    assert position.tolist() == [[2, 4, 0], [3, 0, 0], [0, 0, 0]]
    assert present.tolist() == [[True, True, False], [True, False, False], [False] * 3]
    # On a GPU the number of [LAB] tokens is not checked: those beyond K must not overwrite the last column.
    assert lab_positions(is_lab, 1)[0].tolist() == [[2], [3], [0]]


def test_dropout_touches_label_vectors_only() -> None:
    model = aggregator(text_repr="mean", dropout=0.5).train()
    H, lmask, text_mask, position, present = sample()
    _, text, label = model(H, lmask, text_mask, position, present)
    assert torch.allclose(text[:, 0], H[:, :5].mean(1), atol=1e-6)
    raw = H.gather(1, position.unsqueeze(-1).expand(-1, -1, 8))
    assert ((label == 0) | torch.isclose(label, 2 * raw)).all() and (label == 0).any()


def test_enrichment_needs_eight_heads() -> None:
    with pytest.raises(ValueError, match="enrichment: hidden size 12"):
        LabelAggregator(12, GliZNetOptions(enrichment=True))


@pytest.mark.parametrize("kind", KINDS)
def test_reference_logits_are_the_equations(kind: str, texts: list[str]) -> None:
    model, tokenizer = make_gliznet(kind, options())
    batch = tokenizer(texts, SETS)
    logits = model(**batch).logits
    H = model.backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    W, c = model.aggregator.scoring.bilinear.weight[0], model.aggregator.scoring.bilinear.bias
    for b, labels in enumerate(SETS):
        is_lab = batch.input_ids[b] == tokenizer.lab_token_id
        text = H[b][(batch.lmask[b] == 0) & (batch.attention_mask[b] == 1) & ~is_lab]
        for j, position in enumerate(is_lab.nonzero().flatten().tolist()):
            e = H[b, position]
            a = torch.softmax(text @ e / e.numel() ** 0.5, dim=0)
            assert logits[b, j].item() == pytest.approx((a @ text @ W @ e + c).item(), abs=1e-4)
        assert (logits[b, len(labels) :] == float("-inf")).all()


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_batching_change_nothing(kind: str, changes: dict[str, object], texts: list[str]) -> None:
    model, tokenizer = make_gliznet(kind, options(**changes))
    rows = tokenizer.encode_rows(texts, SETS)
    batch = tokenizer.pad(rows)
    together = model(**batch).logits
    padded = model(**{name: torch.nn.functional.pad(tensor, (0, 16)) for name, tensor in batch.items()}).logits
    assert torch.allclose(together, padded, atol=1e-5)
    for i, row in enumerate(rows):
        alone = model(**tokenizer.pad([row])).logits[0]
        assert torch.allclose(together[i, : len(alone)], alone, atol=1e-5)


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_step_moves_every_parameter(kind: str, changes: dict[str, object], texts: list[str]) -> None:
    model, tokenizer = make_gliznet(kind, options(**changes))
    model.train()
    targets = torch.tensor([[1.0, -100, -100], [1, 0, 0], [0, 1, -100], [1, 1, -100]])
    output = model(**tokenizer(texts, SETS), labels=targets)
    output.loss.backward()
    assert output.logits.dtype == torch.float32 and torch.isfinite(output.loss)
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_losses_by_name_and_dense_targets(texts: list[str]) -> None:
    model, tokenizer = make_gliznet("bert", options(vicreg_weight=0.0))
    batch = tokenizer(texts, SETS)
    targets = torch.tensor([[1.0, -100, -100], [1, 0, 0], [0, 1, -100], [1, 1, -100]])
    output = model(**batch, labels=targets)
    assert set(output.losses) == {"softmax", "bce"}
    assert output.loss.item() == pytest.approx(
        0.5 * output.losses["softmax"].item() + 0.5 * output.losses["bce"].item()
    )
    wide = model(**batch, labels=torch.nn.functional.pad(targets, (0, 17), value=-100))  # static shape of 20 labels
    assert wide.logits.shape == (4, 20) and wide.loss.item() == pytest.approx(output.loss.item(), abs=1e-6)
    with pytest.raises(ValueError, match="3 \\[LAB\\] tokens.*2 columns"):
        model(**batch, labels=targets[:, :2])


def test_head_is_float32_under_autocast_and_in_bf16(texts: list[str], tmp_path: Path) -> None:
    model, tokenizer = make_gliznet("bert", options())
    batch = tokenizer(texts, SETS)
    exact = model(**batch).logits
    seen: list[torch.dtype] = []
    hook = model.aggregator.register_forward_hook(lambda _m, args, out: seen.extend([args[0].dtype, out[0].dtype]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = model(**batch).logits
    hook.remove()
    assert seen == [torch.float32, torch.float32] and cast.dtype == torch.float32
    present = torch.isfinite(exact)
    assert (cast - exact)[present].abs().max() < 0.1 * exact[present].std() + 0.1
    model.save_pretrained(tmp_path)
    half = GliZNetForSequenceClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.backbone.dtype == torch.bfloat16 and half.aggregator.scoring.bilinear.weight.dtype == torch.float32
    assert half(**batch).logits.dtype == torch.float32
    # The whole model in bf16, as in the published card: the head's weights are rounded, its arithmetic is not.
    rounded = half.to(torch.bfloat16)
    weight = rounded.aggregator.scoring.bilinear.weight
    hook = rounded.aggregator.register_forward_hook(lambda _m, args, out: seen.extend([args[0].dtype, out[0].dtype]))
    low = rounded(**batch).logits
    hook.remove()
    assert weight.dtype == torch.bfloat16 and seen[2:] == [torch.float32, torch.float32]
    assert (low - exact)[present].abs().max() < 0.1 * exact[present].std() + 0.1


@pytest.mark.parametrize("changes", VARIANTS)
def test_save_and_load(changes: dict[str, object], texts: list[str], tmp_path: Path) -> None:
    model, tokenizer = make_gliznet("bert", options(**changes))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = GliZNetForSequenceClassification.from_pretrained(tmp_path)
    assert again.options == model.options and not again.training
    batch = GliZNETTokenizer.from_pretrained(tmp_path)(texts, SETS)
    assert torch.equal(again(**batch).logits, model(**tokenizer(texts, SETS)).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_classes(kind: str, texts: list[str], tmp_path: Path) -> None:
    model, tokenizer = make_gliznet(kind, options())
    model.save_pretrained(tmp_path)
    batch = tokenizer(texts, SETS)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), GliZNetConfig)
    for auto in (AutoModel, AutoModelForSequenceClassification):
        loaded = auto.from_pretrained(tmp_path)
        assert isinstance(loaded, GliZNetForSequenceClassification)
        assert torch.equal(loaded(**batch).logits, model(**batch).logits)


def test_published_format(texts: list[str], tmp_path: Path) -> None:
    """A checkpoint with exactly the keys and tensors of the published one."""
    model, tokenizer = make_gliznet("deberta", options(max_length=512))
    weights = {name: p.detach().clone() for name, p in model.state_dict().items()}
    assert {name for name in weights if not name.startswith("backbone.")} == {
        "aggregator.scoring.bilinear.weight",
        "aggregator.scoring.bilinear.bias",
    }
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    published = {
        "model_type": "gliznet", "backbone_model": "microsoft/deberta-v3-base", "dropout_rate": 0.1,
        "backbone_config": model.config.backbone_config, "lab_token_id": tokenizer.lab_token_id, "max_labels": 20,
        "bce_loss_weight": 0.5, "supcon_loss_weight": 0.5, "label_repulsion_weight": 0.05, "supcon_margin": 0.5,
        "scoring_method": "bilinear", "losses": ["softmax", "repulsion", "bce"],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(published))
    loaded = GliZNetForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.options == GliZNetOptions()
    batch = tokenizer(texts, SETS)
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model, _ = make_gliznet("bert", options())
    model.save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def edit(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_other_eras_are_refused_by_name(checkpoint: Path) -> None:
    edit(checkpoint, lambda w: w.update({"aggregator.temperature": torch.ones(1)}))
    with pytest.raises(ValueError, match="unexpected: aggregator.temperature"):
        GliZNetForSequenceClassification.from_pretrained(checkpoint)


def test_missing_and_misshapen_tensors_are_named(checkpoint: Path) -> None:
    edit(checkpoint, lambda w: w.pop("aggregator.scoring.bilinear.bias"))
    with pytest.raises(ValueError, match="missing: aggregator.scoring.bilinear.bias"):
        AutoModel.from_pretrained(checkpoint)
    edit(checkpoint, lambda w: w.update({"aggregator.scoring.bilinear.bias": torch.ones(3)}))
    with pytest.raises(ValueError, match="shape: aggregator.scoring.bilinear.bias \\(3,\\) instead of \\(1,\\)"):
        GliZNetForSequenceClassification.from_pretrained(checkpoint)


def test_plain_encoder_is_not_a_checkpoint(checkpoint: Path) -> None:
    def strip(weights: dict[str, torch.Tensor]) -> None:
        for name in list(weights):
            value = weights.pop(name)
            if name.startswith("backbone."):
                weights[name.removeprefix("backbone.")] = value

    edit(checkpoint, strip)
    with pytest.raises(ValueError, match="missing: aggregator"):
        GliZNetForSequenceClassification.from_pretrained(checkpoint)


def test_nan_weights_are_named(checkpoint: Path) -> None:
    edit(checkpoint, lambda w: w["aggregator.scoring.bilinear.weight"].fill_(float("nan")))
    with pytest.raises(ValueError, match="NaN or infinite values in: aggregator.scoring.bilinear.weight"):
        GliZNetForSequenceClassification.from_pretrained(checkpoint)


def test_pickles_and_remote_code_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="trust_remote_code"):
        GliZNetForSequenceClassification.from_pretrained(checkpoint, trust_remote_code=True)
    with pytest.raises(ValueError, match="safetensors only"):
        GliZNetForSequenceClassification.from_pretrained(checkpoint, use_safetensors=False)
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling.Evil"}}))
    with pytest.raises(ValueError, match="auto_map"):
        GliZNetForSequenceClassification.from_pretrained(checkpoint)
    (checkpoint / "config.json").write_text(json.dumps(config))
    torch.save(load_file(checkpoint / "model.safetensors"), checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="pickled weights \\(pytorch_model.bin\\)"):
        GliZNetForSequenceClassification.from_pretrained(checkpoint)
    shutil.rmtree(checkpoint)


def test_from_backbone_folder(tmp_path: Path) -> None:
    """[LAB] gets a free embedding row if there is one, otherwise a new one; pretrained rows are unchanged."""
    backend = TOKENIZERS["bert"]()
    for rows, grown in ((len(backend) + 10, len(backend) + 10), (len(backend), len(backend) + 1)):
        encoder = make_encoder("bert", vocab_size=rows)
        encoder.save_pretrained(tmp_path)
        tokenizer = GliZNETTokenizer(TOKENIZERS["bert"](), options(lab_init="sep"))
        model = GliZNetForSequenceClassification.from_backbone(tmp_path, tokenizer)
        table = model.get_input_embeddings().weight
        assert table.shape[0] == grown == model.config.backbone_config["vocab_size"]
        assert torch.equal(table[: len(backend)], encoder.get_input_embeddings().weight[: len(backend)])
        assert torch.equal(table[tokenizer.lab_token_id], table[backend.sep_token_id])
        assert all(p.device.type == "cpu" for p in model.parameters())


def test_from_backbone_refuses(tmp_path: Path) -> None:
    tokenizer = GliZNETTokenizer(TOKENIZERS["bert"](), options(max_length=512))
    encoder = make_encoder("bert", max_position_embeddings=64)
    with pytest.raises(ValueError, match="max_length: 512.*64 positions"):
        GliZNetForSequenceClassification.from_backbone(encoder, tokenizer)
    encoder.save_pretrained(tmp_path)
    edit(tmp_path, lambda w: w.pop("encoder.layer.0.output.dense.weight"))
    with pytest.raises(ValueError, match="missing: .*encoder.layer.0.output.dense.weight"):
        GliZNetForSequenceClassification.from_backbone(tmp_path, tokenizer)


def test_attention_implementation_reaches_the_encoder(checkpoint: Path) -> None:
    for name in ("eager", "sdpa"):
        model = GliZNetForSequenceClassification.from_pretrained(checkpoint, attn_implementation=name)
        assert model.backbone.config._attn_implementation == name


def test_same_config_builds_twice() -> None:
    """Choosing an attention implementation for one model must not affect the next one."""
    model, _ = make_gliznet("deberta", options())
    for _ in range(2):
        GliZNetForSequenceClassification(model.config)
