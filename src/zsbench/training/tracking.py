"""Experiment trackers (Weights & Biases, MLflow, trackio, TensorBoard), enabled by `ZSBENCH_TRACKERS`.

Tracking does not affect results, so it is not a config key, and enabling it does not trigger retraining.
"""

import os
from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

from zsbench.store.errors import ConfigError, suggest

VARIABLE = "ZSBENCH_TRACKERS"
PROJECT = "zsbench"
FOLDER = "trackers"  # folder of local tracker files


def options() -> dict[str, Any]:
    """Keyword arguments of `Accelerator` for the trackers; empty without trackers."""
    names = trackers()
    return {"log_with": names, "project_dir": FOLDER} if names else {}


def trackers() -> list[str]:
    """The names listed in `ZSBENCH_TRACKERS` (comma-separated), for accelerate's `log_with`; empty if it is not set.

    Raises:
        ConfigError: unknown tracker, or its package is not installed.
    """
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    installed = [str(getattr(one, "value", one)) for one in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise ConfigError(f"{VARIABLE}: {name!r} is not supported{suggest(name, LOGGER_TYPE_TO_CLASS)}")
        if name not in installed:
            raise ConfigError(f"{VARIABLE}: {name!r} is not installed; run `pip install {name}`")
    return names


def start(accelerator: Accelerator, name: str, settings: Mapping[str, Any]) -> None:
    """Start a tracked run called `name` in the project `zsbench`; a no-op without trackers."""
    if accelerator.log_with:
        accelerator.init_trackers(PROJECT, {"training": name, **settings})


def track(accelerator: Accelerator, entry: Mapping[str, Any]) -> None:
    """Log the loss terms, metric and learning rate of one validation at its step."""
    values = {f"loss/{name}": value for name, value in entry["losses"].items()}
    values |= {"validation": entry["validation"], "learning_rate": entry["learning_rate"]}
    accelerator.log(values, step=entry["step"])
