"""Models that sentence-transformers loads: what it would complete with random weights is refused."""

from pathlib import Path

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import PreTrainedModel

from gliznet.loading import check_same


def check_modules(model: SentenceTransformer | CrossEncoder, folder: Path) -> None:
    """Refuse a model that is not whole.

    Args:
        model: as loaded from `folder`, mis-shaped tensors left out.
        folder: its files; the transformer may lie in a folder of its own, which its config remembers.

    Raises:
        ValueError: tensors are missing or of another shape, or weights are not finite; the message names them.
    """
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            own = Path(module.config.name_or_path or folder)
            check_same(type(module), own if (own / "config.json").is_file() else folder)
            break
    bad = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if bad:
        raise ValueError(f"{folder} has NaN or infinite values in: {', '.join(bad[:12])}")
