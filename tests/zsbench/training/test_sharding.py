"""FSDP and ZeRO-2 as far as a CPU goes: FSDP shards over two gloo processes, DeepSpeed's settings are its plugin's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin, DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env
from safetensors.torch import load_file

from zsbench.layout import Layout
from zsbench.provenance import read_json
from zsbench.training.loop import Trainer
from zsbench.training.recipe import Recipe
from zsbench.training.run import build_task
from zsbench.training.sharding import fit_plugins, layer_classes

from .conftest import finish_backbone

CONFIGS = Path(__file__).parents[3] / "workflow" / "accelerate"
OPTIONS = {"vicreg_weight": 0.0, "bce_mean": "sample", "dropout": 0.0, "bce_weight": 0.0}
# accelerate shards on accelerators only; told that the two CPU processes are such, it does all that it does there.
WORKER = """
import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
torch.set_num_threads(1)
assert PartialState(cpu=True).distributed_type is DistributedType.MULTI_CPU
PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
from torch.distributed.fsdp import FSDPModule
from zsbench.training import loop, run
made = loop.Trainer.__init__
def watched(self, *arguments):
    made(self, *arguments)
    sharded = [module for module in self.model.modules() if isinstance(module, FSDPModule)]
    assert [type(module).__name__ for module in sharded].count("FSDPBertLayer") == 2, sharded
loop.Trainer.__init__ = watched
run.main()
"""


def launch_environment(name: str) -> dict[str, str]:
    """What `accelerate launch` with one of our configs tells its processes."""
    words = ["--config_file", str(CONFIGS / f"{name}.yaml"), "--main_process_port", "29500", "script.py"]
    os.environ["ACCELERATE_USE_CPU"] = "true"
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    return {k: v for k, v in prepare_multi_gpu_env(arguments).items() if k.startswith(("ACCELERATE", "FSDP"))}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def still(layout: Layout) -> None:
    """No dropout in the encoder."""
    path = layout.fetched("tiny").parent / "files" / "config.json"
    config = json.loads(path.read_text()) | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    path.write_text(json.dumps(config))
    finish_backbone(layout)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.slow)])
def test_fsdp_over_two_processes_trains_as_one_does(layout: Layout, recipe: dict, tmp_path: Path, precision) -> None:
    still(layout)
    spec = {"id": "one", "family": "gliznet", "seed": 3, "recipe": recipe, "options": OPTIONS}
    alone = Trainer(build_task(spec, layout), Recipe(**recipe), 3, tmp_path / "one", 8, lambda text: None).run()
    spec |= {
        "id": "two",
        "recipe": recipe | {"strategy": "fsdp", "gpus": 2, "per_device_batch": 2, "precision": precision},
    }
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0", str(tmp_path / "worker.py")]
    command += ["--root", str(layout.root), "--spec", json.dumps(spec)]
    environment = os.environ | launch_environment("fsdp") | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    record = read_json(layout.model("two", 3))
    assert (record["world_size"], record["accumulation"]) == (2, 2)
    curves = [[entry["losses"]["total"] for entry in run["history"]] for run in (alone, record)]
    np.testing.assert_allclose(*curves, rtol=1e-4 if precision == "fp32" else 2e-2)
    folders = next((tmp_path / "one").glob("best-*")), layout.checkpoint("two", 3)
    whole, sharded = (load_file(folder / "model.safetensors") for folder in folders)
    assert {name: w.shape for name, w in whole.items()} == {name: w.shape for name, w in sharded.items()}
    if precision == "fp32" and alone["best"]["step"] == record["best"]["step"]:
        gaps = {name: float((whole[name] - sharded[name]).abs().max()) for name in whole}
        # The softmax term alone does not move with c: its gradient is rounding, which Adam turns into whole steps.
        gaps.pop("aggregator.scoring.bilinear.bias")
        assert max(gaps.values()) < 1e-4, gaps


def test_deepspeed_gets_the_recipes_numbers(layout: Layout, recipe: dict, monkeypatch) -> None:
    """Without them its engine finds no batch size, clips at 1 and steps after every micro-batch."""
    from accelerate.commands.config.config_args import load_config_from_file

    stored = load_config_from_file(str(CONFIGS / "zero2.yaml")).deepspeed_config
    assert (stored["zero_stage"], stored["offload_optimizer_device"]) == (2, "none")
    plugin = DeepSpeedPlugin(zero_stage=stored["zero_stage"])
    assert plugin.is_auto("train_micro_batch_size_per_gpu")
    state = SimpleNamespace(distributed_type=DistributedType.DEEPSPEED, deepspeed_plugin=plugin)
    fit_plugins(state, None, Recipe(**recipe | {"max_grad_norm": 2.0}), 4, 8)
    wanted = {"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 8, "gradient_clipping": 2.0}
    assert {key: plugin.get_value(key) for key in wanted} == wanted
    assert plugin.deepspeed_config["zero_optimization"]["stage"] == 2


@pytest.mark.parametrize("family", ["gliznet", "nli", "gliclass", "biencoder"])
def test_the_layers_of_every_family_are_found(layout: Layout, recipe: dict, family: str) -> None:
    options = {"template": "about {}"} if family == "nli" else {}
    spec = {"id": "m", "family": family, "seed": 3, "recipe": recipe, "options": options}
    assert "BertLayer" in layer_classes(build_task(spec, layout).model)
