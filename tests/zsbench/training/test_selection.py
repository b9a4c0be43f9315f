"""When the metric that chooses weights chose nothing: one rule, and every loop that reads it."""

from pathlib import Path

import pytest
import torch

from zsbench.recipe import Recipe
from zsbench.store.layout import Layout
from zsbench.training.loop import Trainer
from zsbench.training.run import build_task
from zsbench.training.selection import NEVER_MOVED, never_moved


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.4, 0.4, 0.4], True),
        ([0.4, 0.3, 0.2], True),
        ([0.4, 0.3, 0.4], True),
        ([0.4, 0.3, 0.4000001], False),
        ([0.4, 0.5, 0.1], False),
        ([0.4], False),  # one look: nothing was chosen
    ],
)
def test_never_moved_means_no_later_look_was_better_than_the_first(values: list[float], expected: bool) -> None:
    assert never_moved(values) is expected


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
    """Weights chosen in another precision are those of another model."""
    options = {"template": "this is {}"} if family == "nli" else {}
    recipe = recipe | {"precision": precision, "steps": 1}
    task = build_task({"id": "peer", "family": family, "seed": 3, "recipe": recipe, "options": options}, layout)
    found: set[torch.dtype] = set()

    def note(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        if not module.training:
            found.add(output.dtype)

    for name, module in task.model.named_modules():
        if isinstance(module, torch.nn.Linear) and ".layer." in name:
            module.register_forward_hook(note)
    Trainer(task, Recipe(**recipe), 3, tmp_path / "work", 8, str).run()
    assert found == {dtype}
