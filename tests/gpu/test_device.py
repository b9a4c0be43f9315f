"""On a GPU: bf16 training, the launcher with a real device, a head that stays in float32, and scores."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.zsbench.resolved_config import training_config
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json

from ..factories import make_nli_model
from ..zsbench.training.conftest import RECIPE

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # they also run without a GPU, so that they stay valid


def test_bf16_training_through_the_launcher(layout: Layout) -> None:
    recipe = RECIPE | {"precision": "bf16", "steps": 12, "evaluate_every": 6}
    spec = {"id": "gliznet-full", "family": "gliznet", "seed": 1, "recipe": recipe, "options": {}}
    training_config(layout.root, spec)
    command = [sys.executable, "-m", "zsbench.cli", "launch", "--strategy", "single", "--", "-m", "zsbench.cli"]
    command += ["job", "train", "--root", str(layout.root), "--model", "gliznet-full", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "2"})
    assert done.returncode == 0, done.stderr
    record = read_json(layout.model("gliznet-full", 1))
    assert record["device"] == DEVICE
    assert record["history"][-1]["losses"]["total"] < record["history"][0]["losses"]["total"]


def test_the_head_stays_in_float32_under_autocast(layout: Layout) -> None:
    from zsbench.training.run import build_task

    task = build_task({"id": "m", "family": "gliznet", "seed": 1, "recipe": RECIPE, "options": {}}, layout)
    model = task.model.to(DEVICE)
    batch = {name: tensor.to(DEVICE) for name, tensor in task.batch([0, 1], (1, 0)).items()}
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        output = model(**batch)
    assert output.logits.dtype == torch.float32 and output.loss.dtype == torch.float32


def test_scores_on_the_gpu_are_those_of_the_cpu(layout: Layout) -> None:
    from gliznet.predictor import score_texts
    from zsbench.training.run import build_task

    task = build_task({"id": "m", "family": "gliznet", "seed": 1, "recipe": RECIPE, "options": {}}, layout)
    texts, labels = ["red cat", "warm rain"], ["red", "rain", "ship"]
    on_cpu = score_texts(task.model, task.tokenizer, texts, labels)
    on_gpu = score_texts(task.model.to(DEVICE), task.tokenizer, texts, labels)
    torch.testing.assert_close(torch.from_numpy(on_cpu), torch.from_numpy(on_gpu), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("options", [{}, {"order_invariant": True}, {"order_invariant": True, "label_context": "none"}])
def test_no_batch_waits_for_the_one_before(layout: Layout, options: dict) -> None:
    """PyTorch's own check; `tests/simulated_gpu.py` counts the same things without a GPU."""
    from gliznet.predictor import score_texts
    from zsbench.training.run import build_task

    task = build_task({"id": "m", "family": "gliznet", "seed": 1, "recipe": RECIPE, "options": options}, layout)
    task.model.to(DEVICE)
    texts, labels = ["red cat", "warm rain", "the blue song of a cold dog"] * 4, ["red", "rain", "ship"]
    expected = score_texts(task.model, task.tokenizer, texts, labels, token_budget=64)
    if DEVICE == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        again = score_texts(task.model, task.tokenizer, texts, labels, token_budget=64)
    finally:
        if DEVICE == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    np.testing.assert_array_equal(expected, again)


@pytest.mark.parametrize("kind", ["bert", "deberta"])
def test_nli_scores_on_the_gpu_are_those_of_the_cpu(kind, tokenizer) -> None:
    from hybridnli.encoder import NLIEncoder, nli_scores

    texts, hypotheses = ["a cat sat on the mat", "rain", "the price of bread rose again"], ["pets", "weather", "money"]
    on_cpu = nli_scores(NLIEncoder(make_nli_model(kind), tokenizer), texts, hypotheses)
    on_gpu = nli_scores(NLIEncoder(make_nli_model(kind).to(DEVICE), tokenizer), texts, hypotheses)
    np.testing.assert_allclose(on_cpu, on_gpu, atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"order_invariant": True}, {"order_invariant": True, "label_context": "none"}])
def test_usage_of_the_published_checkpoint_as_it_stands(layout: Layout, tmp_path: Path, options: dict, capsys) -> None:
    """Including its device: the whole model in bfloat16 on the GPU."""
    from zsbench.training.run import build_task

    task = build_task({"id": "m", "family": "gliznet", "seed": 1, "recipe": RECIPE, "options": options}, layout)
    task.save(task.model.state_dict(), tmp_path)
    usage = (Path(__file__).parents[1] / "published_cards" / "gliznet.md").read_text()
    usage = usage.replace("alexneakameni/gliznet-deberta-v3-base", str(tmp_path)).replace('"cuda"', repr(DEVICE))
    names: dict = {}
    for snippet in re.findall(r"```python\n(.*?)```", usage, re.DOTALL):
        exec(snippet, names)
    assert names["pipeline"].model.device.type == DEVICE and names["pipeline"].model.dtype == torch.bfloat16
    assert all(0 <= found.score <= 1 for found in names["result"].labels)
    assert len(capsys.readouterr().out.strip().splitlines()) == 5


def test_attention_of_deberta_is_measured_on_the_gpu(layout: Layout, tmp_path: Path) -> None:
    """The fast path, and flashdeberta if it is installed, against transformers' module."""
    from benchmarks.backbones import deberta_twin
    from benchmarks.setting import Setting
    from benchmarks.training import measure_attention

    config = layout.fetched("tiny").parent / "files" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vocab_size": 500}))  # of the ids that it draws
    backbone = deberta_twin(layout.fetched("tiny").parent / "files", tmp_path / "deberta", 1)
    setting = Setting(backbone, DEVICE, "bf16", 64, 512, (1,), (1,), most_labels=4, seed=1)
    found = measure_attention(setting, [12, 30, 31, 60], repeats=2)
    assert {"fast", "transformers"} <= set(found["mixed"]) <= {"fast", "transformers", "flashdeberta"}
    assert all(one["wall"] > 0 for rounds in found["mixed"].values() for one in rounds)
