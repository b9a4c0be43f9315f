"""FSDP and ZeRO-2 as far as possible on a CPU: sharding over two gloo processes (ZeRO-2 if DeepSpeed is installed)."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin, DistributedType
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from safetensors.torch import load_file

from tests.zsbench.resolved_config import training_config
from zsbench.recipe import Recipe
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.training.loop import Trainer, fit_plugins, layer_classes
from zsbench.training.run import build_task

from .conftest import finish_backbone

CONFIGS = Path(__file__).parents[3] / "workflow" / "accelerate"
OPTIONS = {
    "gliznet": {"vicreg_weight": 0.0, "bce_mean": "sample", "dropout": 0.0, "bce_weight": 0.0},
    "nli": {"template": "about {}"},
    "gliclass": {},
    "biencoder": {},
}
# accelerate shards only on accelerators, so these tests make it treat the two CPU processes as such.
WORKER = """
import os, torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
torch.set_num_threads(1)
assert PartialState(cpu=True).distributed_type is DistributedType.MULTI_CPU
PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
{prepare}
from zsbench.cli.main import main
from zsbench.training import loop
made = loop.Trainer.__init__
def watched(self, task, *arguments):
    without_dropout(task.model)
    made(self, task, *arguments)
    {check}
def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
loop.Trainer.__init__ = watched
raise SystemExit(main())
"""
FSDP = {
    "prepare": "from torch.distributed.fsdp import FSDPModule",
    "check": """sharded = [type(module).__name__ for module in self.model.modules() if isinstance(module, FSDPModule)]
    assert sharded.count("FSDPBertLayer") == 2, sharded""",
}
ZERO2 = {
    "prepare": """PartialState._shared_state["_cpu"] = False
os.environ.pop("ACCELERATE_USE_CPU")
from deepspeed import comm
comm.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)""",
    "check": "assert self.model.zero_optimization_stage() == 2 and self.model.dp_world_size == 2",
}
WORKERS = {"fsdp": WORKER.format(**FSDP), "zero2": WORKER.format(**ZERO2)}
slow = pytest.mark.slow
no_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="the extra [deepspeed] is not installed")


def launch_environment(name: str) -> dict[str, str]:
    """Environment that `accelerate launch` sets for its processes with one of our configs."""
    words = ["--config_file", str(CONFIGS / f"{name}.yaml"), "--main_process_port", "29500", "script.py"]
    arguments, stored, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    if name == "zero2":
        fields = [*stored.deepspeed_config, "mixed_precision"]
        arguments.deepspeed_fields_from_accelerate_config = ",".join(fields)
        found = prepare_deepspeed_cmd_env(arguments)[1] | {"DS_ACCELERATOR": "cpu"}
    else:
        found = prepare_multi_gpu_env(arguments)
    return {k: v for k, v in found.items() if k.startswith(("ACCELERATE", "FSDP", "DS_"))}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def without_dropout(model: torch.nn.Module) -> None:
    """Disable dropout in modules, such as those of a head."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def still(layout: Layout) -> None:
    """Disable dropout in the encoder's config."""
    path = layout.fetched("tiny").parent / "files" / "config.json"
    config = json.loads(path.read_text()) | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    path.write_text(json.dumps(config))
    finish_backbone(layout)


@pytest.mark.parametrize(
    ("family", "strategy", "precision"),
    [
        ("gliznet", "fsdp", "fp32"),
        ("biencoder", "fsdp", "fp32"),
        pytest.param("gliclass", "fsdp", "fp32", marks=slow),
        pytest.param("nli", "fsdp", "fp32", marks=slow),
        pytest.param("gliznet", "fsdp", "bf16", marks=slow),
        pytest.param("gliznet", "zero2", "fp32", marks=[slow, no_deepspeed]),
        pytest.param("gliznet", "zero2", "bf16", marks=[slow, no_deepspeed]),
    ],
)
def test_two_processes_that_shard_train_as_one_does(
    layout: Layout, recipe: dict, tmp_path: Path, family: str, strategy: str, precision: str
) -> None:
    still(layout)
    # The peers' losses are means over the pairs of a pass, so their passes must be the same.
    steps, size = (8, 8) if family == "gliznet" else (4, 2)
    recipe |= {"steps": steps}
    spec = {"id": "one", "family": family, "seed": 3, "recipe": recipe, "options": OPTIONS[family]}
    task = build_task(spec, layout)
    without_dropout(task.model)
    alone = Trainer(task, Recipe(**recipe), 3, tmp_path / "one", size, lambda text: None).run()
    spec |= {
        "id": f"{family}-two",
        "recipe": recipe | {"strategy": strategy, "gpus": 2, "per_device_batch": 2, "precision": precision},
    }
    (tmp_path / "worker.py").write_text(WORKERS[strategy])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0", str(tmp_path / "worker.py")]
    command += ["job", "train", "--root", str(layout.root), "--model", spec["id"], "--seed", "3"]
    training_config(layout.root, spec)
    environment = os.environ | launch_environment(strategy) | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = read_json(layout.model(spec["id"], 3))
    assert (record["world_size"], record["accumulation"]) == (2, 2)
    curves = [[entry["losses"]["total"] for entry in run["history"]] for run in (alone, record)]
    np.testing.assert_allclose(*curves, rtol=1e-4 if precision == "fp32" else 2e-2)
    folders = next((tmp_path / "one").glob("best-*")), layout.checkpoint(spec["id"], 3)
    whole, sharded = (load_file(folder / "model.safetensors") for folder in folders)
    assert {name: w.shape for name, w in whole.items()} == {name: w.shape for name, w in sharded.items()}
    if precision == "fp32" and alone["best"]["step"] == record["best"]["step"]:
        gaps = {name: float((whole[name] - sharded[name]).abs().max()) for name in whole}
        # The softmax term does not depend on c, so its gradient is rounding noise, which Adam scales up to full steps.
        gaps.pop("aggregator.scoring.bilinear.bias", None)
        assert max(gaps.values()) < 1e-4, gaps


def test_deepspeed_gets_the_recipes_numbers(layout: Layout, recipe: dict, monkeypatch) -> None:
    """Without them, its engine has no batch size, clips at 1 and steps after every micro-batch."""
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


@pytest.mark.parametrize("family", OPTIONS)
def test_the_layers_of_every_family_are_found(layout: Layout, recipe: dict, family: str) -> None:
    spec = {"id": "m", "family": family, "seed": 3, "recipe": recipe, "options": OPTIONS[family]}
    model = build_task(spec, layout).model
    assert "BertLayer" in layer_classes(model)
    assert all(parameter.ndim for parameter in model.parameters()), "FSDP cannot shard scalars"
