"""Loading of sentence-transformers models, for the adapters of bi-encoders and rerankers."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel

from gliznet.batching import length_limit
from gliznet.checkpoint_files import check_files
from gliznet.fast.encoders import use_fast_encoders
from gliznet.loading import check_complete, check_finite

Sentences = TypeVar("Sentences", bound=torch.nn.Module)


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
            check_complete(type(module), transformer if (transformer / "config.json").is_file() else folder)
            break
    check_finite(model, str(folder))
