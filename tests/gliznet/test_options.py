"""Options are validated, and config.json is read and written with the published keys."""

import dataclasses
import doctest
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, BertConfig

import gliznet
from gliznet.config import PUBLISHED_KEYS, GliZNetConfig
from gliznet.options import BOUNDS, GliZNetOptions


def test_every_option_documents_itself() -> None:
    """Config keys and docs are generated from the fields' metadata."""
    for option in dataclasses.fields(GliZNetOptions):
        assert option.metadata["description"] and {*option.metadata} <= {"description", *BOUNDS}, option.name


def test_options_load_no_model_library() -> None:
    code = "import sys, gliznet.options; sys.exit(bool({'torch', 'transformers'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("first", ["gliznet", "transformers"])
def test_importing_gliznet_registers_it_with_transformers(first: str, tmp_path: Path) -> None:
    GliZNetConfig.from_options(GliZNetOptions(), BertConfig(), 5).save_pretrained(tmp_path)
    lines = ["import gliznet", "from transformers import AutoConfig, AutoModel"]
    lines = lines if first == "gliznet" else lines[::-1]
    lines += [
        f"config = AutoConfig.from_pretrained({str(tmp_path)!r})",
        "import torch",
        "torch.set_default_device('meta')",
    ]
    lines += ["print(type(AutoModel.from_config(config)).__name__, AutoConfig.for_model('gliznet').options.margin)"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.stdout == "GliZNetForSequenceClassification 0.5\n", done.stderr


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"margin": -1.0}, "margin: -1.0"),
        ({"head": "linear"}, "head: 'linear'.*'bilinear', 'cosine', 'dot'"),
        ({"dropout": 1.0}, "dropout: 1.0"),
        ({"max_labels": True}, "max_labels: True"),
        ({"max_labels": 2.5}, "max_labels: 2.5.*integer"),
        ({"margin": None}, "margin: None.*number"),
        ({"enrichment": 1}, "enrichment: 1.*True or False"),
        ({"focal_gamma": 0.0}, "focal_gamma: 0.0"),
        ({"softmax_weight": 0, "bce_weight": 0, "vicreg_weight": 0}, "at least one must be > 0"),
        ({"head": "cosine", "head_init": "identity"}, "head_init: 'identity' needs head='bilinear'"),
        ({"order_invariant": True, "enrichment": True}, "enrichment"),
        ({"order_invariant": True, "truncation": "reference"}, "truncation"),
        ({"label_context": "none"}, "order_invariant"),
        ({"label_frame": True, "truncation": "reference"}, "label_frame"),
        ({"max_length": 16}, "max_length: 16.*>= 20"),
    ],
)
def test_bad_options_are_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        GliZNetOptions(**changes)  # type: ignore[arg-type]


def test_every_option_survives_config_json(tmp_path: Path) -> None:
    changed = {
        "margin": 0.1, "softmax_weight": 1.0, "bce_weight": 0.8, "vicreg_weight": 0.1, "align_weight": 0.2,
        "focal_gamma": 1.85, "vicreg": "variance", "vicreg_scope": "batch-unit", "bce_mean": "sample",
        "samples_without_negatives": "drop", "text_repr": "mean", "label_repr": "mean", "head_init": "identity",
        "identity_scale": 10.0, "identity_offset": 0.1, "dropout": 0.2, "order_invariant": True,
        "label_context": "none", "label_frame": True, "lab_init": "sep", "max_length": 64, "max_labels": 5,
        "min_text_tokens": 4, "label_reserve": 8, "max_tokens_per_label": 3, "min_label_tokens": 2,
    }  # fmt: skip
    new = [f for f in dataclasses.fields(GliZNetOptions) if f.name not in changed and isinstance(f.default, float)]
    changed |= {f.name: f.default + 0.1 for f in new}  # weights of new terms are covered automatically
    options = GliZNetOptions(**changed)  # type: ignore[arg-type]
    unchanged = {f.name for f in dataclasses.fields(options) if getattr(options, f.name) == f.default}
    assert unchanged == {"head", "enrichment", "truncation"}
    GliZNetConfig.from_options(options, BertConfig(), 5).save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, GliZNetConfig) and loaded.options == options
    assert loaded.encoder_config.model_type == "bert" and loaded.lab_token_id == 5


def test_published_keys_are_read_and_written(tmp_path: Path) -> None:
    published = {
        "model_type": "gliznet", "backbone_model": "microsoft/deberta-v3-base", "dropout_rate": 0.2, "lab_token_id": 7,
        "backbone_config": {"model_type": "deberta-v2", "hidden_size": 8}, "bce_loss_weight": 0.25, "max_labels": 9,
        "supcon_loss_weight": 0.75, "label_repulsion_weight": 0.1, "supcon_margin": 0.3, "scoring_method": "cosine",
        "losses": ["softmax", "bce"],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(published))
    config = GliZNetConfig.from_pretrained(tmp_path)
    o = config.options
    assert (o.dropout, o.bce_weight, o.softmax_weight, o.margin, o.head, o.max_labels) == (
        0.2,
        0.25,
        0.75,
        0.3,
        "cosine",
        9,
    )
    assert o.vicreg_weight == 0  # not in `losses`
    config.save_pretrained(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert {key: written[key] for key in published if key not in ("backbone_config", "label_repulsion_weight")} == {
        key: value for key, value in published.items() if key not in ("backbone_config", "label_repulsion_weight")
    }
    assert set(PUBLISHED_KEYS.values()) <= set(written)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"auto_map": {"AutoModel": "x.y"}}, "auto_map"),
        ({"losses": ["hinge"]}, "hinge"),
        ({"supcon_margin": -1.0}, "margin: -1.0"),
    ],
)
def test_bad_config_is_refused(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        GliZNetConfig(**changes)


def test_encoder_config_is_refused_without_type_or_with_code() -> None:
    with pytest.raises(ValueError, match="model_type"):
        _ = GliZNetConfig(backbone_config={"hidden_size": 8}).encoder_config
    with pytest.raises(ValueError, match="auto_map"):
        _ = GliZNetConfig(backbone_config={"model_type": "bert", "auto_map": {"AutoModel": "x.y"}}).encoder_config


def test_disk_paths_stay_out(tmp_path: Path) -> None:
    backbone = BertConfig()
    backbone._name_or_path = "/secret/place"
    GliZNetConfig.from_options(GliZNetOptions(), backbone, 5).save_pretrained(tmp_path)
    assert "/secret/place" not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("name", [m.name for m in pkgutil.walk_packages(gliznet.__path__, "gliznet.")])
def test_docstring_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
