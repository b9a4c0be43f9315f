"""Training steps on a simulated GPU: the host reads nothing between the checks of the losses."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from transformers import DebertaV2Model, ModernBertModel

from tests.factories import deberta_config, modernbert_config
from tests.simulated_gpu import GPU, simulated_gpu
from tests.zsbench.training.conftest import finish_backbone
from zsbench.recipe import Recipe
from zsbench.store.layout import Layout
from zsbench.training.loop import Trainer
from zsbench.training.run import build_task

torch.set_num_threads(1)
TEMPLATE = {"template": "This text is about {}."}


@pytest.mark.parametrize(
    ("family", "options", "encoder"),
    [
        ("gliznet", {"enrichment": True}, "bert"),
        ("gliznet", {"order_invariant": True, "text_repr": "mean", "focal_gamma": 2.0, "align_weight": 0.1}, "bert"),
        ("gliznet", {"order_invariant": True}, "deberta"),
        ("gliznet", {}, "deberta"),
        ("nli", TEMPLATE, "bert"),
    ],
)
def test_a_step_waits_for_nothing(
    layout: Layout,
    recipe: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    options: dict,
    encoder: str,
) -> None:
    if encoder == "deberta":
        sizes = {"vocab_size": 256, "max_position_embeddings": 96}
        DebertaV2Model(deberta_config(**sizes)).save_pretrained(layout.fetched("tiny").parent / "files")
        finish_backbone(layout)
    recipe |= {"per_device_batch": 4}
    task = build_task({"id": "m", "family": family, "seed": 1, "recipe": recipe, "options": options}, layout)
    monkeypatch.setattr(Accelerator, "device", GPU)
    with simulated_gpu(monkeypatch) as waits:
        task.model.to("cuda")
        trainer = Trainer(task, Recipe(**recipe), 1, tmp_path, 4, say=lambda line: None)
        trainer._step(0)
        waits.clear()
        trainer._step(1)
        assert waits == {}
        trainer._check(1, 1.0)
        assert waits == {"blocking copy": 3}  # losses to the host, and their means over processes there and back
    assert trainer.window[0].keys() == trainer.window[-1].keys() and trainer.window[-1]["total"] > 0


def test_nli_on_modernbert_trains_on_a_gpu(
    layout: Layout, recipe: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its classifier averages over the tokens, so it reads the padding mask itself."""
    config = modernbert_config(vocab_size=256, classifier_pooling="mean", attn_implementation="sdpa")
    ModernBertModel(config).save_pretrained(layout.fetched("tiny").parent / "files")
    finish_backbone(layout)
    task = build_task({"id": "m", "family": "nli", "seed": 1, "recipe": recipe, "options": TEMPLATE}, layout)
    monkeypatch.setattr(Accelerator, "device", GPU)
    with simulated_gpu(monkeypatch):
        task.model.to("cuda")
        trainer = Trainer(task, Recipe(**recipe), 1, tmp_path, 8, say=lambda line: None)
        trainer._step(0)
        trainer._check(0, 1.0)
    assert trainer.window[0]["total"] > 0
