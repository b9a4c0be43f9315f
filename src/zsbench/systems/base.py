"""Base class of adapters that load weights."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from zsbench.store.layout import Layout
from zsbench.systems import TaskSystem
from zsbench.systems.load import model_folder


class Adapter(TaskSystem):
    """A built-in system that loads weights, with its checkpoint, device and truncation counts.

    Args:
        spec: a score spec (`model`, `seed`, `precision`, `token_budget`, `task`, `settings`).
        layout: layout of the run that holds the checkpoint.
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        self.folder = model_folder(spec, layout)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision: str = spec["precision"]
        self.dtype = {"fp32": "float32", "bf16": "bfloat16"}[self.precision]
        self.token_budget: int = spec["token_budget"]
        self.task = spec["task"]
        self._cut = {"truncated_texts": 0, "truncated_labels": 0}
        self._chunks = 1  # parts of the latest label list, if the family splits long ones

    @property
    def network(self) -> torch.nn.Module:
        """The network; most adapters store it as `model`."""
        network: torch.nn.Module = self.model  # type: ignore[attr-defined]
        return network

    @property
    def learned(self) -> torch.nn.Module | None:
        """The trained part of the network; None if all of it was trained."""
        return None

    def size(self) -> dict[str, int]:
        """Total number and trained number of parameters; shared parameters count once."""
        trained = self.network if self.learned is None else self.learned
        networks = {"parameters": self.network, "trained_parameters": trained}
        return {name: sum(weight.numel() for weight in network.parameters()) for name, network in networks.items()}

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 autocast, if the run requests it."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def count(self, **cut: int) -> None:
        """Add to the truncation counts."""
        for name, number in cut.items():
            self._cut[name] = self._cut.get(name, 0) + int(number)

    def report(self) -> dict[str, int]:
        """Numbers of truncated texts and labels since the last call, and of label chunks if more than one."""
        cut, self._cut = self._cut, dict.fromkeys(self._cut, 0)
        return cut | ({"label_chunks": self._chunks} if self._chunks > 1 else {})
