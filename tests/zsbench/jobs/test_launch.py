"""Launching on fake devices: what a job gets, what ends it, and what the launcher refuses."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import alive, wait_for
from zsbench.jobs.launch import (
    CONFIGS,
    Devices,
    LaunchError,
    Nodes,
    accelerate_command,
    job_shape,
    launch,
    slurm_nodes,
    visible_devices,
)

SRC = Path(__file__).parents[3] / "src"
DRIVER = """
import sys
from pathlib import Path
from zsbench.jobs.launch import launch
gpus, strategy, cpu, leases, *command = sys.argv[1:]
sys.exit(launch(int(gpus), strategy or None, command, Path(leases), cpu=cpu == "cpu"))
"""
PRINTS = """
import json, os, pathlib, sys
names = ["CUDA_VISIBLE_DEVICES", "WORLD_SIZE", "RANK", "MASTER_PORT", "OMP_NUM_THREADS", "ACCELERATE_USE_CPU"]
facts = {name: os.environ.get(name) for name in names} | {"argv": sys.argv[1:], "cwd": os.getcwd()}
pathlib.Path(sys.argv[1] + os.environ.get("RANK", "")).write_text(json.dumps(facts))
"""
SHAPES = """
import pathlib, resource, sys, torch
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
W = torch.randn(768, 192, dtype=torch.bfloat16, requires_grad=True)
before = resident()
for n in range(80, 480, 4):
    x = torch.randn(n, 192, dtype=torch.bfloat16, requires_grad=True)
    (x @ W.t()).sum().backward()
    x = W.grad = None
pathlib.Path(sys.argv[1]).write_text(str(resident() - before))
"""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    """Remove devices, scheduler and thread settings of the machine that runs the tests."""
    for name in list(os.environ):
        if name.startswith(("CUDA_", "SLURM_", "ZSBENCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "job.py"
        path.write_text(text)
        return str(path)

    return write


def start(leases, *command, gpus=1, strategy="", cpu="auto", fakes=2, cwd=None):
    """Start a launcher in a separate process."""
    environment = dict(os.environ) | {"PYTHONPATH": str(SRC), "ZSBENCH_FAKE_GPUS": str(fakes)}
    words = [sys.executable, "-c", DRIVER, str(gpus), strategy, cpu, str(leases), *map(str, command)]
    return subprocess.Popen(words, env=environment, cwd=cwd, stderr=subprocess.PIPE, text=True)


def test_job_sees_its_device_and_its_arguments(tmp_path, script, monkeypatch):
    monkeypatch.setenv("ZSBENCH_FAKE_GPUS", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")  # the user's choice
    code = launch(1, None, [script(PRINTS), str(tmp_path / "out"), "--flag", "-m"], tmp_path / "leases")
    facts = json.loads((tmp_path / "out").read_text())
    assert code == 0
    assert facts["CUDA_VISIBLE_DEVICES"] == "2"
    assert facts["argv"][1:] == ["--flag", "-m"]


def test_modules_run_as_main_and_codes_come_back(tmp_path, script, monkeypatch):
    (tmp_path / "jobmodule.py").write_text("import sys\nassert __name__ == '__main__'\nsys.exit(int(sys.argv[1]))\n")
    monkeypatch.setenv("PYTHONPATH", f"{SRC}{os.pathsep}{tmp_path}")
    assert launch(1, None, ["-m", "jobmodule", "7"], tmp_path / "leases") == 7
    killed = script("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert launch(1, None, [killed], tmp_path / "leases") == 128 + signal.SIGKILL


def test_machine_without_gpu_runs_one_process_on_the_cpu(tmp_path, script, monkeypatch, capfd):
    monkeypatch.setenv("ZSBENCH_FAKE_GPUS", "0")
    assert launch(2, "ddp", [script(PRINTS), str(tmp_path / "out")], tmp_path / "leases") == 0
    facts = json.loads((tmp_path / "out").read_text())
    assert facts["CUDA_VISIBLE_DEVICES"] == "" and facts["WORLD_SIZE"] is None and facts["ACCELERATE_USE_CPU"] == "true"
    assert "one process on the CPU instead of 2" in capfd.readouterr().err


@pytest.mark.parametrize("strategy", ["zero2", "fsdp"])
def test_what_a_cpu_cannot_shard_is_two_processes_that_average(tmp_path, script, monkeypatch, capfd, strategy):
    """Like a run on two GPUs in the rehearsal: accelerate's launcher and gloo, without DeepSpeed."""
    monkeypatch.setenv("ZSBENCH_FAKE_GPUS", "2")
    assert launch(2, strategy, [script(PRINTS), str(tmp_path / "out")], tmp_path / "leases") == 0
    ranks = [json.loads((tmp_path / f"out{rank}").read_text()) for rank in (0, 1)]
    assert [(facts["WORLD_SIZE"], facts["ACCELERATE_USE_CPU"]) for facts in ranks] == [("2", "true")] * 2
    assert f"instead of {strategy}" in capfd.readouterr().err


def test_a_job_without_a_strategy_is_the_launchers_child(tmp_path, script):
    names = script(
        "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(f'{os.getppid()} {sorted(os.environ)}')"
    )
    launcher = start(tmp_path / "leases", names, tmp_path / "out")
    assert launcher.wait() == 0
    parent, environment = (tmp_path / "out").read_text().split(" ", 1)
    assert int(parent) == launcher.pid and "RANK" not in environment


def test_single_on_a_gpu_goes_through_accelerate_from_any_folder(tmp_path, script, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("PATH", "")  # no nvidia-smi: the index is the identity
    monkeypatch.chdir(tmp_path)
    assert launch(1, "single", [script(PRINTS), str(tmp_path / "out")], tmp_path / "leases") == 0
    facts = json.loads((tmp_path / "out").read_text())
    assert facts["CUDA_VISIBLE_DEVICES"] == "0" and facts["cwd"] == str(tmp_path)
    assert facts["ACCELERATE_USE_CPU"] == "False" and facts["OMP_NUM_THREADS"] == "1"


def test_ddp_ranks_work_together_on_leased_devices(tmp_path, script):
    job = script(
        PRINTS
        + """
import torch
from accelerate import Accelerator
accelerator = Accelerator()
assert accelerator.gather(torch.ones(1) + accelerator.process_index).tolist() == [1.0, 2.0]
accelerator.end_training()
"""
    )
    launcher = start(tmp_path / "leases", job, tmp_path / "out", gpus=2, strategy="ddp")
    assert launcher.wait() == 0, launcher.stderr.read()
    facts = [json.loads((tmp_path / f"out{rank}").read_text()) for rank in (0, 1)]
    assert {fact["CUDA_VISIBLE_DEVICES"] for fact in facts} == {"0,1"}
    assert len({fact["MASTER_PORT"] for fact in facts}) == 1


def test_a_rank_that_dies_ends_the_job(tmp_path, script):
    job = script(
        "import os, pathlib, signal, sys, time\n"
        "pathlib.Path(sys.argv[1] + os.environ['RANK']).write_text(str(os.getpid()))\n"
        "if os.environ['RANK'] == '0': time.sleep(600)\n"
        "first = pathlib.Path(sys.argv[1] + '0')\n"
        "while not (first.is_file() and first.read_text()): time.sleep(0.05)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    launcher = start(tmp_path / "leases", job, tmp_path / "pid", gpus=2, strategy="ddp")
    assert launcher.wait() != 0
    wait_for(lambda: not alive((tmp_path / "pid0").read_text()))


def test_kill_9_of_a_distributed_launcher_leaves_no_rank(tmp_path, script):
    job = script(
        "import os, pathlib, sys, time\n"
        "path = pathlib.Path(sys.argv[1] + os.environ['RANK'])\n"
        "path.with_suffix('.new').write_text(str(os.getpid()))\npath.with_suffix('.new').rename(path)\ntime.sleep(600)\n"
    )
    launcher = start(tmp_path / "leases", job, tmp_path / "pid", gpus=2, strategy="ddp")
    wait_for(lambda: all((tmp_path / f"pid{rank}").exists() for rank in (0, 1)), launcher)
    launcher.kill()
    launcher.wait()
    wait_for(lambda: not any(alive((tmp_path / f"pid{rank}").read_text()) for rank in (0, 1)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_job(tmp_path, script, number):
    job = script(
        "import pathlib, signal, sys, time\n"
        "def stop(number, frame):\n    pathlib.Path(sys.argv[1]).write_text(str(number))\n    sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, stop)\nsignal.signal(signal.SIGINT, stop)\n"
        "pathlib.Path(sys.argv[1] + '-ready').touch()\ntime.sleep(600)\n"
    )
    launcher = start(tmp_path / "leases", job, tmp_path / "got")
    wait_for((tmp_path / "got-ready").exists, launcher)
    launcher.send_signal(number)
    assert launcher.wait() == 3
    assert (tmp_path / "got").read_text() == str(int(number))


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, {"0": "GPU-aa", "1": "GPU-bb"}),
        ({"CUDA_VISIBLE_DEVICES": "1"}, {"1": "GPU-bb"}),
        ({"CUDA_VISIBLE_DEVICES": "GPU-bb,0"}, {"GPU-bb": "GPU-bb", "0": "GPU-aa"}),
        ({"CUDA_VISIBLE_DEVICES": ""}, {}),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, {}),
        ({"SLURM_JOB_ID": "5"}, {}),  # a scheduler's job without a GPU must not take one of the node
        ({"SLURM_JOB_ID": "5", "CUDA_VISIBLE_DEVICES": "0"}, {"0": "GPU-aa"}),
        ({"ZSBENCH_FAKE_GPUS": "2", "CUDA_VISIBLE_DEVICES": "1"}, {"1": "fake-1"}),
    ],
)
def test_visible_devices(tmp_path, monkeypatch, environment, names):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-aa)'\necho '  MIG 1g.10gb Device 0: (UUID: MIG-x)'\n"
        "echo 'GPU 1: NVIDIA H200 (UUID: GPU-bb)'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert visible_devices(environment).names == names


def test_several_machines_of_a_slurm_step(tmp_path, monkeypatch):
    program = tmp_path / "scontrol"
    program.write_text("#!/bin/sh\necho node7\necho node8\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    step = {"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "node[7-8]"}
    step |= {"SLURM_JOB_ID": "4711", "SLURM_NODEID": "1"}
    nodes = slurm_nodes(step)
    assert nodes == Nodes(2, 1, "node7", 30711)
    assert job_shape(4, "ddp", Devices({"0": "a", "1": "b"}), nodes, cpu=False) == (2, nodes)
    assert slurm_nodes(step | {"SLURM_STEP_NUM_TASKS": "1"}) == Nodes()  # the batch script itself: one machine


@pytest.mark.parametrize(
    ("gpus", "strategy", "words"),
    [
        (0, "ddp", "gpus: 0"),
        (2, "single", "gpus: 2"),
        (2, None, "gpus: 2"),
        (3, "ddp", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_refusals_say_what_is_allowed(tmp_path, monkeypatch, gpus, strategy, words):
    monkeypatch.setenv("ZSBENCH_FAKE_GPUS", "2")
    with pytest.raises(LaunchError) as error:
        launch(gpus, strategy, ["job.py"], tmp_path / "leases")
    assert words in str(error.value)


def test_sharding_without_its_package_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LaunchError, match="deepspeed"):
        accelerate_command("zero2", 2, Nodes(), 29500, CONFIGS)


def test_every_strategy_has_a_config_that_accelerate_reads():
    from accelerate.commands.config.config_args import load_config_from_file

    kinds = {name: load_config_from_file(str(CONFIGS / f"{name}.yaml")) for name in ("single", "ddp", "zero2", "fsdp")}
    types = [str(config.distributed_type.value) for config in kinds.values()]
    assert types == ["NO", "MULTI_GPU", "DEEPSPEED", "FSDP"]
    assert {config.mixed_precision for config in kinds.values()} == {"no"}  # precision is set by the recipe


def test_launcher_imports_no_model_code():
    check = "import sys, zsbench.jobs.launch; sys.exit(bool({'torch', 'numpy', 'accelerate'} & set(sys.modules)))"
    environment = dict(os.environ) | {"PYTHONPATH": str(SRC)}
    assert subprocess.run([sys.executable, "-c", check], env=environment).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_job_on_the_cpu_does_not_grow_with_every_shape_of_a_batch(script, tmp_path):
    """A hundred batch sizes in bf16: 230 MB without the settings, 40 MB with them; 14 MB where the CPU has no bf16."""
    out = tmp_path / "out"
    assert launch(1, None, [script(SHAPES), str(out)], leases=tmp_path / "leases", cpu=True) == 0
    assert float(out.read_text()) < 100


def test_memory_settings_of_the_user_stay(script, tmp_path, monkeypatch):
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    out = tmp_path / "out"
    prints = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(os.environ['LRU_CACHE_CAPACITY'])"
    assert launch(1, None, [script(prints), str(out)], leases=tmp_path / "leases", cpu=True) == 0
    assert out.read_text() == "7"
