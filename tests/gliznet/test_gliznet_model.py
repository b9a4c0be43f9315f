"""The whole model: equations from hidden states, padding, batching, targets, gradients, saving, refusing."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, BertConfig, BertModel

from gliznet.config import GliZNetConfig, GliZNetOptions
from gliznet.model import GliZNetForSequenceClassification
from gliznet.tokenizer import GliZNETTokenizer

KINDS = ["bert", "deberta", "modernbert"]
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


@pytest.mark.parametrize("kind", KINDS)
def test_reference_logits_are_the_equations(build, kind: str, texts: list[str]) -> None:
    model, tokenizer = build(kind, options())
    batch = tokenizer(texts, SETS)
    logits = model(**batch.inputs()).logits
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
def test_padding_and_batching_change_nothing(build, kind: str, changes: dict[str, object], texts: list[str]) -> None:
    model, tokenizer = build(kind, options(**changes))
    rows = tokenizer.encode_rows(texts, SETS)
    together = model(**tokenizer.pad(rows).inputs()).logits
    padded = model(**tokenizer.pad(rows, multiple=80).inputs()).logits
    assert torch.allclose(together, padded, atol=1e-5)
    for i, row in enumerate(rows):
        alone = model(**tokenizer.pad([row]).inputs()).logits[0]
        assert torch.allclose(together[i, : len(alone)], alone, atol=1e-5)


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_step_moves_every_parameter(build, kind: str, changes: dict[str, object], texts: list[str]) -> None:
    model, tokenizer = build(kind, options(**changes))
    model.train()
    targets = torch.tensor([[1.0, -100, -100], [1, 0, 0], [0, 1, -100], [1, 1, -100]])
    output = model(**tokenizer(texts, SETS).inputs(), labels=targets)
    output.loss.backward()
    assert output.logits.dtype == torch.float32 and torch.isfinite(output.loss)
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_losses_by_name_and_dense_targets(build, texts: list[str]) -> None:
    model, tokenizer = build("bert", options(vicreg_weight=0.0))
    batch = tokenizer(texts, SETS).inputs()
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


def test_head_is_float32_under_autocast_and_in_bf16(build, texts: list[str], tmp_path: Path) -> None:
    model, tokenizer = build("bert", options())
    batch = tokenizer(texts, SETS).inputs()
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
    # All of it in bf16, as readers of the published card do: the head's weights are rounded, its arithmetic is not.
    rounded = half.to(torch.bfloat16)
    weight = rounded.aggregator.scoring.bilinear.weight
    hook = rounded.aggregator.register_forward_hook(lambda _m, args, out: seen.extend([args[0].dtype, out[0].dtype]))
    low = rounded(**batch).logits
    hook.remove()
    assert weight.dtype == torch.bfloat16 and seen[2:] == [torch.float32, torch.float32]
    assert (low - exact)[present].abs().max() < 0.1 * exact[present].std() + 0.1


@pytest.mark.parametrize("changes", VARIANTS)
def test_save_and_load(build, changes: dict[str, object], texts: list[str], tmp_path: Path) -> None:
    model, tokenizer = build("bert", options(**changes))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = GliZNetForSequenceClassification.from_pretrained(tmp_path)
    assert again.options == model.options and not again.training
    batch = GliZNETTokenizer.from_pretrained(tmp_path)(texts, SETS)
    assert torch.equal(again(**batch.inputs()).logits, model(**tokenizer(texts, SETS).inputs()).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_classes(build, kind: str, texts: list[str], tmp_path: Path) -> None:
    model, tokenizer = build(kind, options())
    model.save_pretrained(tmp_path)
    batch = tokenizer(texts, SETS).inputs()
    assert isinstance(AutoConfig.from_pretrained(tmp_path), GliZNetConfig)
    for auto in (AutoModel, AutoModelForSequenceClassification):
        loaded = auto.from_pretrained(tmp_path)
        assert isinstance(loaded, GliZNetForSequenceClassification)
        assert torch.equal(loaded(**batch).logits, model(**batch).logits)


def test_published_format(build, texts: list[str], tmp_path: Path) -> None:
    """A checkpoint with exactly the keys and tensors of the published one."""
    model, tokenizer = build("deberta", options(max_length=512))
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
    batch = tokenizer(texts, SETS).inputs()
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)


@pytest.fixture
def checkpoint(build, tmp_path: Path) -> Path:
    model, _ = build("bert", options())
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


def test_from_backbone_folder(backends, encoder_of, tmp_path: Path) -> None:
    """[LAB] takes a free row if the matrix has one, a new one if not; what the encoder knew stays."""
    backend = backends["bert"]()
    for rows, grown in ((len(backend) + 10, len(backend) + 10), (len(backend), len(backend) + 1)):
        encoder = encoder_of("bert", vocabulary=rows)
        encoder.save_pretrained(tmp_path)
        tokenizer = GliZNETTokenizer(backends["bert"](), options(lab_init="sep"))
        model = GliZNetForSequenceClassification.from_backbone(tmp_path, tokenizer)
        table = model.get_input_embeddings().weight
        assert table.shape[0] == grown == model.config.backbone_config["vocab_size"]
        assert torch.equal(table[: len(backend)], encoder.get_input_embeddings().weight[: len(backend)])
        assert torch.equal(table[tokenizer.lab_token_id], table[backend.sep_token_id])
        assert all(p.device.type == "cpu" for p in model.parameters())


def test_from_backbone_refuses(backends, tmp_path: Path) -> None:
    tokenizer = GliZNETTokenizer(backends["bert"](), options(max_length=512))
    small = BertConfig(vocab_size=400, hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=16)
    small.max_position_embeddings = 64
    encoder = BertModel(small)
    with pytest.raises(ValueError, match="max_length=512.*64 positions"):
        GliZNetForSequenceClassification.from_backbone(encoder, tokenizer)
    encoder.save_pretrained(tmp_path)
    edit(tmp_path, lambda w: w.pop("encoder.layer.0.output.dense.weight"))
    with pytest.raises(ValueError, match="missing: .*encoder.layer.0.output.dense.weight"):
        GliZNetForSequenceClassification.from_backbone(tmp_path, tokenizer)


def test_attention_implementation_reaches_the_encoder(checkpoint: Path) -> None:
    for name in ("eager", "sdpa"):
        model = GliZNetForSequenceClassification.from_pretrained(checkpoint, attn_implementation=name)
        assert model.backbone.config._attn_implementation == name


def test_same_config_builds_twice(build) -> None:
    """Choosing an attention implementation for one model must not change what the next one gets."""
    model, _ = build("deberta", options())
    for _ in range(2):
        GliZNetForSequenceClassification(model.config)
