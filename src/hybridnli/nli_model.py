"""An NLI model before it scores: loaded whole, its entailment column found, its mode switched and put back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from gliznet.loading import check_loaded, check_source

__all__ = ["entailment_columns", "evaluating", "load_nli"]


def entailment_columns(label2id: Mapping[str, int]) -> tuple[int, int]:
    """Logit columns (entailment, its opposite) from a model's label map, in any order.

    Entailment is the label whose name begins with "entail". The opposite is the only other class; of three classes
    it is the one that begins with "contra", and where none does, the last (first) class when entailment is first
    (is not), as in the transformers zero-shot pipeline.

    Raises:
        ValueError: no entailment label, or no other class; the message holds the map.
    """
    ids = {str(name).lower(): int(index) for name, index in label2id.items()}
    entail = [index for name, index in ids.items() if name.startswith("entail")]
    others = [index for index in ids.values() if index not in entail]
    if len(entail) != 1 or not others:
        raise ValueError(
            f"label2id {dict(label2id)} must hold one label that begins with 'entail' and at least one other; "
            "this is no NLI model, or its config names its classes LABEL_0, LABEL_1"
        )
    contradiction = [index for name, index in ids.items() if name.startswith("contra")]
    fallback = max(others) if entail[0] == 0 else min(others)
    return entail[0], contradiction[0] if contradiction else fallback


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every module has the mode it had."""
    resting = [module for module in model.modules() if not module.training]
    if not any(module.training for module in model.modules()):
        yield  # nothing to switch: switching back would drop what fast attention keeps
        return
    model.eval()
    try:
        yield
    finally:
        model.train()
        for module in resting:
            module.training = False


def load_nli(source: str | Path) -> PreTrainedModel:
    """A sequence-classification model in float32, with every weight its architecture has.

    Raises:
        ValueError: pickled or damaged files, remote code, tensors missing or of another shape, weights not finite.
    """
    check_source(source, {})
    loaded: Any = AutoModelForSequenceClassification.from_pretrained(
        source,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused below, by name
    )
    model, info = loaded
    check_loaded(model, info, str(source), exact=False)
    return model
