"""Trackers of experiments (Weights & Biases, MLflow, trackio, TensorBoard), off unless `ZSBENCH_TRACKERS` names some.

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
FOLDER = "trackers"  # of what trackers write locally


def options() -> dict[str, Any]:
    """What `Accelerator` is to be told of them; {} without any."""
    names = trackers()
    return {"log_with": names, "project_dir": FOLDER} if names else {}


def trackers() -> list[str]:
    """Names in `ZSBENCH_TRACKERS`, separated by commas, as accelerate's `log_with` takes them; [] when it is not set.

    Raises:
        ConfigError: accelerate knows no such tracker, or its package is not installed.
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
    """Begin a tracked run under `name` in the project `zsbench`; does nothing without trackers."""
    if accelerator.log_with:
        accelerator.init_trackers(PROJECT, {"training": name, **settings})


def track(accelerator: Accelerator, entry: Mapping[str, Any]) -> None:
    """One validation: its loss terms, metric and learning rate, at its step."""
    values = {f"loss/{name}": value for name, value in entry["losses"].items()}
    values |= {"validation": entry["validation"], "learning_rate": entry["learning_rate"]}
    accelerator.log(values, step=entry["step"])
