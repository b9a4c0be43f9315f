"""Checkpoints in the published layouts of eras D to G load and score as their equations; others are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoTokenizer

from gliznet.config import GliZNetConfig
from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.predictor import score_texts
from gliznet.tokenizer import GliZNETTokenizer
from tests.factories import TOKENIZERS, make_encoder, make_gliznet
from tests.published_layouts import ERAS, gliznet_logits, write_gliznet

LABELS = ["sports", "very positive", "politics misc"]


@pytest.fixture
def written(request: pytest.FixtureRequest, tmp_path: Path):
    """(era, folder, encoder, tokenizer, own tensors)."""
    era, head = request.param
    torch.manual_seed(3)
    encoder, tokenizer = make_encoder("deberta"), TOKENIZERS["deberta"]()
    return era, tmp_path, encoder, tokenizer, write_gliznet(tmp_path, encoder, tokenizer, era, head)


EVERY = [("D", "bilinear"), ("D", "cosine"), ("E", "bilinear"), ("E", "cosine"), ("F", "bilinear"), ("G", "bilinear")]
every_era = pytest.mark.parametrize("written", EVERY, indirect=True, ids=lambda value: "-".join(value))


@every_era
def test_an_independently_written_checkpoint_gives_the_logits_of_its_equations(written, texts: list[str]) -> None:
    _, folder, encoder, tokenizer, own = written
    model, ours = GliZNetForSequenceClassification.from_pretrained(folder), GliZNETTokenizer.from_pretrained(folder)
    for labels in (LABELS, LABELS[::-1]):
        expected = [gliznet_logits(encoder, tokenizer, own, text, labels) for text in texts]
        np.testing.assert_allclose(score_texts(model, ours, texts, labels), expected, rtol=1e-4, atol=1e-4)
    by_auto = AutoModel.from_pretrained(folder)
    assert by_auto.options == model.options
    batch = ours(texts, [LABELS] * len(texts))
    assert torch.equal(by_auto(**batch).logits, model(**batch).logits)


@every_era
def test_the_keys_of_every_era_become_switches(written) -> None:
    era, folder, *_ = written
    options = GliZNetForSequenceClassification.from_pretrained(folder).options
    expected = {"softmax_weight": ERAS[era]["supcon_loss_weight"], "margin": ERAS[era]["supcon_margin"]}
    expected |= {"vicreg_weight": ERAS[era]["label_repulsion_weight"], "enrichment": era in ("F", "G")}
    expected |= {"align_weight": 0.2 if era == "G" else 0.0, "focal_gamma": None if era == "D" else 1.85}
    expected["bce_weight"] = ERAS[era]["bce_loss_weight" if era == "D" else "focal_loss_weight"]
    expected["text_repr"] = "attention" if era == "D" else "attention-normalized"
    expected["samples_without_negatives"] = "count" if era == "D" else "drop"
    assert {name: getattr(options, name) for name in expected} == expected


@every_era
def test_what_is_saved_again_is_the_published_layout(written, tmp_path: Path) -> None:
    """Same tensors and names, same config keys, and a tokenizer that the published code can read."""
    era, folder, *_ = written
    model = GliZNetForSequenceClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path / "again")
    GliZNETTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "again")
    before, after = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "again"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert {name: config[name] for name in ERAS[era]} == ERAS[era]
    assert GliZNetForSequenceClassification.from_pretrained(tmp_path / "again").options == model.options


def test_the_tokenizer_carries_the_limit_and_lab_as_an_additional_special_token(tmp_path: Path) -> None:
    _, tokenizer = make_gliznet("deberta", GliZNetOptions(max_length=512))
    tokenizer.save_pretrained(tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    assert read.model_max_length == 512 and "[LAB]" in read.extra_special_tokens
    size = len(read)
    read.add_special_tokens({"additional_special_tokens": ["[LAB]"]})  # what the published code does if it is missing
    assert len(read) == size and read.convert_tokens_to_ids("[LAB]") == tokenizer.lab_token_id


def test_a_special_token_of_the_backbones_tokenizer_stays_one() -> None:
    backend = TOKENIZERS["bert"]()
    backend.add_special_tokens({"additional_special_tokens": ["[OTHER]"]})
    tokenizer = GliZNETTokenizer(backend, GliZNetOptions(max_length=128))
    assert {"[OTHER]", "[LAB]"} <= set(tokenizer.backend.extra_special_tokens)
    assert len(GliZNETTokenizer(tokenizer.backend, tokenizer.options)) == len(tokenizer)  # idempotent


def add(folder: Path, **tensors: torch.Tensor) -> None:
    weights = load_file(folder / "model.safetensors")
    renamed = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    save_file(weights | renamed, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("tensor", "era"),
    [
        ("aggregator__similarity_head__logit_scale", "era B"),
        ("loss_fn__bce_scale", "era B"),
        ("aggregator__attention_temperature", "era C"),
        ("aggregator__cls_lab_attn__in_proj_weight", "between C and D"),
        ("aggregator__context__fuse__weight", "after G"),
    ],
)
@pytest.mark.parametrize("written", [("D", "bilinear")], indirect=True)
def test_another_era_is_refused_by_its_name_and_its_tensors(written, tensor: str, era: str) -> None:
    folder = written[1]
    add(folder, **{tensor: torch.ones(2, 2)})
    name = tensor.replace("__", ".")
    for load in (GliZNetForSequenceClassification, AutoModel):
        with pytest.raises(ValueError, match=rf"(?s){era}.*{name}"):
            load.from_pretrained(folder)


@pytest.mark.parametrize("written", [("D", "bilinear")], indirect=True)
def test_a_version_after_g_without_tensors_of_its_own_is_not_taken_for_era_d(written) -> None:
    folder = written[1]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"enrich_labels": False}))
    with pytest.raises(ValueError, match="after G"):
        GliZNetForSequenceClassification.from_pretrained(folder)


def test_era_a_is_named(tmp_path: Path) -> None:
    encoder = make_encoder("bert")
    encoder.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"similarity_metric": "dot"}))
    with pytest.raises(ValueError, match=r"era A.*embeddings"):
        GliZNetForSequenceClassification.from_pretrained(tmp_path)


@pytest.mark.parametrize("written", [("F", "bilinear")], indirect=True)
def test_enrichment_is_read_from_the_tensors(written) -> None:
    folder = written[1]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "enrich_labels"}))
    assert GliZNetForSequenceClassification.from_pretrained(folder).options.enrichment


@pytest.mark.parametrize("written", [("E", "bilinear")], indirect=True)
def test_a_damaged_checkpoint_names_its_era_and_tensor(written) -> None:
    folder = written[1]
    add(folder, aggregator__surplus=torch.ones(1))
    with pytest.raises(ValueError, match=r"era E.*unexpected: aggregator\.surplus"):
        GliZNetForSequenceClassification.from_pretrained(folder)


@pytest.mark.parametrize("written", [("E", "bilinear")], indirect=True)
def test_a_checkpoint_that_says_another_text_vector_is_not_reinterpreted(written) -> None:
    folder = written[1]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"text_repr": "attention"}))
    with pytest.raises(ValueError, match=r"unexpected: aggregator\.attn_temperature"):
        GliZNetForSequenceClassification.from_pretrained(folder)


@pytest.mark.parametrize("focal", [None, 1.85])
def test_a_config_says_the_weights_of_every_term_again(focal: float | None, tmp_path: Path) -> None:
    options = GliZNetOptions(focal_gamma=focal, bce_weight=0.7, align_weight=0.2, vicreg_weight=0.0)
    encoder = make_encoder("bert").config
    GliZNetConfig.from_options(options, encoder, 7).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["losses"] == ["softmax", "focal" if focal else "bce", "alignment"]
    assert ("focal_loss_weight" in stored, "bce_loss_weight" in stored) == (bool(focal), not focal)
    assert AutoConfig.from_pretrained(tmp_path).options == options
