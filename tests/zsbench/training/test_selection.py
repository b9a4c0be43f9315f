"""Whether the selection metric chose anything: one rule, used by every training loop."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from zsbench.recipe import Recipe
from zsbench.store.layout import Layout
from zsbench.training.loop import Trainer
from zsbench.training.run import build_task
from zsbench.training.selection import BETTER, NEVER_MOVED, never_moved


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.4, 0.4, 0.4], True),
        ([0.4, 0.3, 0.2], True),
        ([0.4, 0.3, 0.4], True),
        ([0.4, 0.3, 0.4000001], False),
        ([0.4, 0.5, 0.1], False),
        ([0.4], False),  # one validation: nothing was chosen
    ],
)
def test_never_moved_means_no_later_look_was_better_than_the_first(values: list[float], expected: bool) -> None:
    assert never_moved(values) is expected
    assert never_moved([-value for value in values], BETTER["validation_loss"]) is expected


@pytest.mark.parametrize("family", ["gliznet", "gliclass", "nli", "biencoder"])
@pytest.mark.parametrize(("values", "expected"), [([0.4, 0.4, 0.3, 0.4], True), ([0.4, 0.4, 0.5, 0.1], False)])
def test_every_family_says_whether_its_metric_moved(
    layout: Layout, recipe: dict, tmp_path: Path, family: str, values: list[float], expected: bool, monkeypatch
) -> None:
    options = {"template": "this is {}"} if family == "nli" else {}
    spec = {"id": "peer", "family": family, "seed": 3, "recipe": recipe, "options": options}
    looks, said = iter(values), []
    task = build_task(spec, layout)
    monkeypatch.setattr(task, "validate", lambda *_: next(looks))
    record = Trainer(task, Recipe(**recipe), 3, tmp_path / "work", 8, said.append).run()
    assert record["selection_never_moved"] is expected
    assert (NEVER_MOVED in said) is expected


@pytest.mark.parametrize("family", ["gliznet", "gliclass", "nli", "biencoder"])
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_every_family_validates_in_the_recipes_precision(
    layout: Layout, recipe: dict, tmp_path: Path, family: str, precision: str, dtype: torch.dtype
) -> None:
    """Weights must be selected in the precision in which the model is used."""
    options = {"template": "this is {}"} if family == "nli" else {}
    recipe = recipe | {"precision": precision, "steps": 1}
    task = build_task({"id": "peer", "family": family, "seed": 3, "recipe": recipe, "options": options}, layout)
    found: set[torch.dtype] = set()
    inside: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            output = func(*args, **(kwargs or {}))
            if inside and re.search("addmm|linear", str(func)):  # the products of the encoder's layers
                found.add(output.dtype)
            return output

    models = [module for module in task.model.modules() if isinstance(module, PreTrainedModel)]
    encoder = next(model for model in models if hasattr(model, "embeddings"))
    encoder.embeddings.register_forward_pre_hook(lambda *_: None if encoder.training else inside.append(1))
    encoder.register_forward_hook(lambda *_: inside.clear())
    with Watch():
        Trainer(task, Recipe(**recipe), 3, tmp_path / "work", 8, str).run()
    assert found == {dtype}
