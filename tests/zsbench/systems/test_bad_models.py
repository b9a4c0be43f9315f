"""Untrusted model files with one fault each are refused by name, before loading, in every family with weights."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_run import MODELS, finish_source, source_folder, without_scores
from transformers import AutoModel

from gliznet.checkpoint_files import check_files
from gliznet.loading import check_complete
from hybridnli.encoder import NLIEncoder
from tests.factories import make_nli_model, nli_tokenizer
from zsbench.evaluation.scoring import score_job
from zsbench.store.layout import Layout
from zsbench.systems import UnknownSystemError, load

TENSOR = "layer.1.attention.self.query.weight"


def tensors(change: Callable[[dict, str], object]) -> Callable[[Path], None]:
    """A change to the stored tensors; the second argument is the name of one of them."""

    def apply(folder: Path) -> None:
        stored = load_file(folder / "model.safetensors")
        change(stored, next(name for name in stored if TENSOR in name))
        save_file(stored, folder / "model.safetensors", {"format": "pt"})

    return apply


def encoder_config(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """A change to the encoder's config, which families store in different places."""

    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(next((config[key] for key in ("backbone_config", "encoder_config") if key in config), config))
        (folder / "config.json").write_text(json.dumps(config))

    return apply


def sizes(**values: object) -> Callable[[Path], None]:
    return encoder_config(lambda config: config.update(values))


def without(key: str) -> Callable[[Path], None]:
    return encoder_config(lambda config: config.pop(key))


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def long_header(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + content[8:])


def offsets_beyond(folder: Path) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


FAULTS = {
    "pickled weights": (pickled, r"pickled weights \(pytorch_model.bin\), which are never read"),
    "remote code": (sizes(auto_map={"AutoModel": "x.Y"}), "auto_map=.*remote code"),
    "remote code of a tokenizer": (
        lambda folder: (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["x.Y", null]}}'),
        "tokenizer_config.json: auto_map=",
    ),
    "half a file": (cut, "model.safetensors is damaged"),
    "a header of 4 exabytes": (long_header, "model.safetensors is damaged"),
    "a tensor of 4 terabytes": (offsets_beyond, "model.safetensors is damaged"),
    "a missing tensor": (tensors(lambda stored, name: stored.pop(name)), f"missing: .*{TENSOR}"),
    "a tensor of another shape": (
        tensors(lambda stored, name: stored.update({name: torch.zeros(3, 3)})),
        rf"of another shape: .*{TENSOR} \(3, 3\) instead of \(32, 32\)",
    ),
    "weights that are no numbers": (
        tensors(lambda stored, name: stored[name][0].fill_(float("nan"))),
        f"NaN or infinite values in: .*{TENSOR}",
    ),
    "no config": (lambda folder: (folder / "config.json").write_text("{"), "config.json is damaged or not valid JSON"),
    "a list as config": (lambda folder: (folder / "config.json").write_text("[]"), "config.json contains a list"),
    "another hidden size": (sizes(hidden_size=64), r"of another shape: .* \(32,\) instead of \(64,\)"),
    "a config without a hidden size": (without("hidden_size"), r"of another shape: .* \(32,\) instead of \(768,\)"),
    "a layer too many": (sizes(num_hidden_layers=3), r"missing: .*layer\.2\.attention\.self\.query\.weight"),
}


@pytest.fixture
def copied(gliclass, reranker, tmp_path) -> Callable[[str], tuple[Layout, Path]]:
    """A run with the model of one family, and the model's folder."""

    def make(family: str) -> tuple[Layout, Path]:
        kind, name = MODELS[family]
        layout = Layout(tmp_path / "run")
        places = [
            (one.checkpoint(name, 1) if kind == "trained" else source_folder(one, name)) for one in (gliclass, layout)
        ]
        shutil.copytree(*places)
        return layout, places[1]

    return make


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_refused_by_name_and_at_once(copied, make_spec, family: str, fault: str) -> None:
    change, message = FAULTS[fault]
    layout, folder = copied(family)
    change(folder)
    started = time.process_time()
    with pytest.raises(UnknownSystemError, match=f"systems.{family}-system: (?s:.*){message}"):
        load.build(make_spec(family, model=MODELS[family]), layout)
    assert time.process_time() - started < 20  # processor time; nothing large was built first


@pytest.mark.parametrize("family", MODELS)
def test_whole_models_pass(copied, make_spec, family: str) -> None:
    layout, folder = copied(family)
    check_files(folder)
    assert load.build(make_spec(family, model=MODELS[family]), layout).score(["a"], ["b", "c"]).shape == (1, 2)


def halve(stored: dict, name: str) -> None:
    stored |= {key: weight.bfloat16() for key, weight in stored.items()}


@pytest.mark.parametrize("family", MODELS)
def test_fp32_is_float32_also_for_a_checkpoint_in_half_precision(copied, make_spec, family: str) -> None:
    layout, folder = copied(family)
    tensors(halve)(folder)
    sizes(dtype="bfloat16")(folder)  # of the encoder, which some families configure on its own
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    system = load.build(make_spec(family, model=MODELS[family]), layout)
    assert {weight.dtype for weight in system.network.parameters()} == {torch.float32}
    assert system.score(["a"], ["b", "c"]).shape == (1, 2)


def test_a_gliznet_names_tensors_it_has_no_place_for(copied, make_spec) -> None:
    layout, folder = copied("gliznet")
    tensors(lambda stored, name: stored.update(strange=torch.zeros(2)))(folder)
    with pytest.raises(UnknownSystemError, match="unexpected: strange"):
        load.build(make_spec("gliznet", model=MODELS["gliznet"]), layout)


def test_code_in_a_sentence_transformers_folder_does_not_run(copied, make_spec, tmp_path) -> None:
    layout, folder = copied("biencoder")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "own_module.Own"
    (folder / "own_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: ...\n")
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnknownSystemError, match=r"own_module\.Own"):
        load.build(make_spec("biencoder", model=MODELS["biencoder"]), layout)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_a_module_of_a_sentence_encoder_is_refused(copied, make_spec) -> None:
    layout, folder = copied("biencoder")
    (folder / "2_Dense").mkdir()
    torch.save({"linear.weight": torch.zeros(2, 2)}, folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(UnknownSystemError, match="2_Dense has pickled weights"):
        load.build(make_spec("biencoder", model=MODELS["biencoder"]), layout)


def test_a_backbone_to_train_is_held_to_the_same(copied) -> None:
    _, folder = copied("nli")
    check_complete(AutoModel, folder)  # a classifier's encoder is complete, with or without pooler
    tensors(lambda stored, name: stored.pop(name))(folder)
    with pytest.raises(ValueError, match=f"missing: .*{TENSOR}"):
        check_complete(AutoModel, folder)


@pytest.mark.parametrize("kind", ["bert", "deberta"])
def test_only_a_plain_encoder_may_lack_its_pooler(tmp_path, kind: str) -> None:
    """Regression: DeBERTa's classifiers call theirs `pooler`, too, and were filled with random numbers."""
    model = make_nli_model(kind)
    model.save_pretrained(tmp_path)
    stored = {k: v for k, v in load_file(tmp_path / "model.safetensors").items() if "pooler." not in k}
    save_file(stored, tmp_path / "model.safetensors", {"format": "pt"})
    check_complete(AutoModel, tmp_path)
    for load_it in (lambda: check_complete(type(model), tmp_path), lambda: NLIEncoder(tmp_path, nli_tokenizer())):
        with pytest.raises(ValueError, match=r"missing: .*pooler\.dense\.weight"):
            load_it()


def test_scores_that_are_no_numbers_stop_the_cell_with_its_name(run, make_spec, tmp_path, monkeypatch) -> None:
    """Finite weights can give non-finite scores: 1e38 times 1e38."""
    layout = Layout(tmp_path / "run")
    shutil.copytree(run.root, layout.root, ignore=shutil.ignore_patterns("cells", "cache", "features"))
    tensors(lambda stored, name: stored[next(k for k in stored if k.startswith("classifier.w"))].fill_(3e38))(
        source_folder(layout, "tiny-nli")
    )
    finish_source(layout, "tiny-nli")
    spec = make_spec("nli", model=MODELS["nli"])
    score_job(layout.root, spec)
    assert "'nli-system' (seed 1) on dataset 'news'" in without_scores(layout, spec)["reason"]
