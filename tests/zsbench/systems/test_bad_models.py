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
from gliznet.loading import check_same
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


def sizes(**values: object) -> Callable[[Path], None]:
    """Entries of the encoder's config, which families store in different places."""

    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        for key in ("backbone_config", "encoder_config"):
            if key in config:
                config[key] |= values
                break
        else:
            config |= values
        (folder / "config.json").write_text(json.dumps(config))

    return apply


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
    "hidden size": (sizes(hidden_size=10**9), "hidden_size=1000000000 is not allowed; at most"),
    "layers": (sizes(num_hidden_layers=10**6), "num_hidden_layers=1000000 is not allowed; at most .* tensors"),
    "vocabulary": (sizes(vocab_size=10**12), "vocab_size=1000000000000 is not allowed; at most"),
    "inner size": (sizes(intermediate_size=10**9), "intermediate_size=1000000000 is not allowed"),
    "positions": (sizes(max_position_embeddings=10**10), "max_position_embeddings=10000000000 is not allowed"),
    "labels": (sizes(num_labels=10**9), "num_labels=1000000000 is not allowed; at most 65536"),
    "heads": (sizes(num_attention_heads=10**9), "num_attention_heads=1000000000 is not allowed"),
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


def test_a_limit_on_layers_is_no_number_of_layers(copied) -> None:
    """Qwen's configs give the first layer with a window, even if there are fewer layers."""
    _, folder = copied("nli")
    sizes(max_window_layers=10**4)(folder)
    check_files(folder)


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
    check_same(AutoModel, folder)  # a classifier's encoder is complete, with or without pooler
    tensors(lambda stored, name: stored.pop(name))(folder)
    with pytest.raises(ValueError, match=f"missing: .*{TENSOR}"):
        check_same(AutoModel, folder)


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


@pytest.mark.parametrize(
    ("entries", "rows", "allowed"),
    [
        ({"rope_theta": 1e7}, 8, True),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e7}}, 8, True),
        ({"global_rope_theta": 160000.0}, 8, True),
        ({}, 2**20 + 2, True),  # a learned table with as many rows
        ({}, 8, False),  # it would be allocated
    ],
)
def test_a_context_of_a_million_tokens_is_no_fault_where_it_costs_nothing(tmp_path, entries, rows, allowed) -> None:
    config = {"hidden_size": 4, "max_position_embeddings": 2**20, "num_hidden_layers": 1} | entries
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"table": torch.zeros(rows, 4)}, tmp_path / "model.safetensors")
    if allowed:
        check_files(tmp_path)
    else:
        with pytest.raises(ValueError, match="max_position_embeddings=1048576 is not allowed; at most 262144"):
            check_files(tmp_path)
