"""Base class of adapters that load weights."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel

from gliznet.batching import length_limit
from gliznet.checkpoint_files import check_files
from gliznet.fast.encoders import use_fast_encoders
from gliznet.loading import check_same
from zsbench.store.layout import Layout
from zsbench.systems import TaskSystem
from zsbench.systems.load import model_folder

Sentences = TypeVar("Sentences", bound=torch.nn.Module)


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


def load_sentences(kind: type[Sentences], folder: Path, device: torch.device) -> tuple[Sentences, int]:
    """Load a sentence-transformers model in float32, with the fast encoder.

    Args:
        kind: `SentenceTransformer` or `CrossEncoder`.
        folder: folder of the checkpoint.
        device: device of the model.

    Returns:
        The model in eval mode, and its length limit in tokens, at which it truncates.

    Raises:
        ValueError: files that are not safe to load, or weights that `check_weights` rejects.
    """
    check_files(folder)
    settings = {"dtype": torch.float32, "use_safetensors": True, "ignore_mismatched_sizes": True}
    load: Any = kind
    model = load(
        str(folder), device=str(device), local_files_only=True, trust_remote_code=False, model_kwargs=settings
    ).eval()
    check_weights(model, folder)
    use_fast_encoders(model)
    model.max_seq_length = length_limit(model, model.max_seq_length, model.tokenizer.model_max_length)
    return model, model.max_seq_length


def check_weights(model: torch.nn.Module, folder: Path) -> None:
    """Reject a sentence-transformers model with missing weights, which the package would initialise randomly.

    Args:
        model: the model loaded from `folder` with `ignore_mismatched_sizes`.
        folder: its files; the transformer may be in a subfolder, which its config records.

    Raises:
        ValueError: missing or wrongly shaped tensors, or non-finite weights; the message names them.
    """
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            transformer = Path(module.config.name_or_path or folder)
            check_same(type(module), transformer if (transformer / "config.json").is_file() else folder)
            break
    bad = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if bad:
        raise ValueError(f"{folder} has NaN or infinite values in: {', '.join(bad[:12])}")
