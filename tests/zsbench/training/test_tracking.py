"""Experiment trackers: off by default, and given the content of the training record."""

from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import GeneralTracker

from zsbench.recipe import Recipe
from zsbench.store.errors import ConfigError
from zsbench.store.layout import Layout
from zsbench.training import tracking
from zsbench.training.loop import Trainer
from zsbench.training.run import build_task


class Recorder(GeneralTracker):
    """A tracker that records its calls."""

    name = "recorder"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {}
        self.logged: dict[int | None, dict[str, float]] = {}

    @property
    def tracker(self) -> "Recorder":
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.settings = values

    def log(self, values: dict[str, float], step: int | None = None, **_: Any) -> None:
        self.logged[step] = values


def test_a_tracker_is_told_every_validation(
    layout: Layout, recipe: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(tracking, "options", lambda: {"log_with": [recorder]})
    task = build_task({"id": "peer", "family": "gliznet", "seed": 3, "recipe": recipe, "options": {}}, layout)
    trainer = Trainer(task, Recipe(**recipe), 3, tmp_path / "work", 8, str)
    tracking.start(trainer.accelerator, "peer seed 3", recipe)
    history = trainer.run()["history"]
    assert recorder.settings == {"training": "peer seed 3", **recipe}
    assert list(recorder.logged) == [entry["step"] for entry in history]
    for entry in history:
        told = recorder.logged[entry["step"]]
        assert told["validation"] == entry["validation"] and told["loss/total"] == entry["losses"]["total"]


def test_nothing_is_tracked_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tracking.VARIABLE, raising=False)
    assert tracking.options() == {}


@pytest.mark.parametrize(("names", "problem"), [("wandv", "did you mean 'wandb'"), ("trackio", "not installed")])
def test_a_tracker_that_cannot_be_had_is_refused(names: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "get_available_trackers", list)
    monkeypatch.setenv(tracking.VARIABLE, names)
    with pytest.raises(ConfigError, match=f"{tracking.VARIABLE}: '{names}'.*{problem}"):
        tracking.options()


def test_installed_trackers_are_given_to_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: ["wandb", "mlflow"])
    monkeypatch.setenv(tracking.VARIABLE, "mlflow, wandb")
    assert tracking.options() == {"log_with": ["mlflow", "wandb"], "project_dir": tracking.FOLDER}
