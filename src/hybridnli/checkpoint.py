"""Checkpoints in the published format, compatible with the Quick Start of the model card.

The file is a dict of plain values and tensors (`KEYS`), always read with `weights_only=True`. Files written by the
notebook behind the card's table lack the keys in `DEFAULTS`; those values are then taken from the card.
"""

import pickle
import weakref
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ZeroShotClassificationPipeline

from hybridnli.data import DEFAULT_TEMPLATE, TOPICS, LabelSet
from hybridnli.encoder import NLIEncoder, nli_scores
from hybridnli.model import HybridNLIPolyEncoder

__all__ = ["CheckpointError", "load_model_from_checkpoint", "run_nli_inference", "save_checkpoint"]

KEYS: dict[str, type | tuple[type, ...]] = {
    "poly_heads_state": dict,  # label -> state dict of its head
    "alpha_raws": dict,  # label -> float
    "label_embs": dict,  # label -> (D,)
    "specialist_labels": (list, tuple),
    "val_thresholds": dict,  # label -> float
    "num_codes": int,
    "proj_dim": int,
    "hidden_dim": int,
    "backbone_name": str,
    "label_names": (list, tuple),  # column order
    "label_descriptions": dict,  # label -> description
}
DEFAULTS: dict[str, Any] = {  # used if the file lacks the key
    "backbone_name": "MoritzLaurer/deberta-v3-large-zeroshot-v2.0",
    "label_names": TOPICS.names,
    "label_descriptions": dict(TOPICS.descriptions),
}
DEFAULT_THRESHOLD = 0.5  # threshold of every label if the file lacks `val_thresholds`
SAME_BACKBONE = 0.9  # minimum cosine of stored and recomputed label embeddings; the same weights give 1 up to rounding

# The published script stores its metrics as numpy scalars, so in addition to what weights_only permits, the function
# that rebuilds a scalar is allowed, under its numpy 1 and numpy 2 names.
_REBUILD: Callable[..., Any] = cast(Any, np.float64(0).__reduce__()[0])
NUMPY_SCALARS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_REBUILD, "numpy.core.multiarray.scalar"),
    (_REBUILD, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64")),
]

_last_loaded: weakref.ref[HybridNLIPolyEncoder] | None = None


class CheckpointError(ValueError):
    """An unusable checkpoint file; the message names the file and what is missing or wrong."""


def save_checkpoint(
    model: HybridNLIPolyEncoder,
    thresholds: Mapping[str, float],
    path: str | Path,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint in the published format atomically.

    Args:
        model: trained heads with their label embeddings.
        thresholds: {label: threshold} for all labels.
        path: the file; its folder is created.
        extra: additional keys (plain values or tensors) that are not part of the format.

    Raises:
        ValueError: thresholds or label embeddings are missing, or `extra` contains a reserved key.
    """
    labels, path = model.labels, Path(path)
    absent = [name for name in labels.names if name not in thresholds]
    absent_embs = [name for name in labels.specialists if name not in model._label_embs]
    taken = sorted(set(extra or {}) & set(KEYS))
    if absent or absent_embs or taken:
        raise ValueError(
            f"thresholds lacks {absent}, label embeddings lack {absent_embs}, extra repeats {taken}; all must be empty"
        )
    heads = zip(labels.specialists, model.poly_heads, strict=True)
    content = {
        "poly_heads_state": {name: _on_cpu(head.state_dict()) for name, head in heads},
        "alpha_raws": dict(zip(labels.specialists, model.alpha_raw.tolist(), strict=True)),
        "label_embs": _on_cpu({name: model._label_embs[name] for name in labels.specialists}),
        "specialist_labels": list(labels.specialists),
        "val_thresholds": {name: float(thresholds[name]) for name in labels.names},
        "num_codes": model.num_codes,
        "proj_dim": model.proj_dim,
        "hidden_dim": model.hidden_dim,
        "backbone_name": model.backbone_name,
        "label_names": list(labels.names),
        "label_descriptions": dict(labels.descriptions),
        **(extra or {}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    torch.save(content, partial)
    partial.replace(path)


def load_model_from_checkpoint(
    ckpt_path: str | Path, nli_pipe: ZeroShotClassificationPipeline | NLIEncoder
) -> tuple[HybridNLIPolyEncoder, dict[str, float]]:
    """Load a checkpoint on top of its NLI model; `run_nli_inference` then uses this model.

    Args:
        ckpt_path: the `.pt` file. Keys that it lacks default to the labels, descriptions and NLI model name of the
            card, and to thresholds of 0.5.
        nli_pipe: a transformers zero-shot-classification pipeline, or an `NLIEncoder`. A pipeline uses the
            `hypothesis_template` of the checkpoint (an extra key) if there is one, else its own default.

    Returns:
        The model in evaluation mode on the device of the NLI model, and {label: threshold}.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: not a checkpoint, damaged, missing keys or parameters, wrong shapes, or trained on a different
            NLI model.
    """
    global _last_loaded
    content = _read(Path(ckpt_path))
    template = content.get("hypothesis_template", DEFAULT_TEMPLATE)
    encoder = nli_pipe if isinstance(nli_pipe, NLIEncoder) else NLIEncoder(nli_pipe.model, nli_pipe.tokenizer, template)
    where = f"checkpoint {ckpt_path}"
    try:
        descriptions = {name: content["label_descriptions"][name] for name in content["label_names"]}
        labels = LabelSet(descriptions, tuple(content["specialist_labels"]))
        sizes = _sizes(content)
        model = HybridNLIPolyEncoder(labels, *sizes, encoder=encoder, backbone_name=content["backbone_name"])
        stored = content.get("val_thresholds", dict.fromkeys(labels.names, DEFAULT_THRESHOLD))
        thresholds = {name: float(stored[name]) for name in labels.names}
    except KeyError as error:
        raise CheckpointError(f"{where}: label_descriptions or val_thresholds lacks the label {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from error
    _fill(model, content, where)
    model.to(encoder.device)
    _check_backbone(model, encoder, where)
    _last_loaded = weakref.ref(model)
    return model.eval(), thresholds


def run_nli_inference(
    items: Sequence[Mapping[str, Any]],
    model: HybridNLIPolyEncoder | ZeroShotClassificationPipeline | NLIEncoder | None = None,
) -> list[dict[str, float]]:
    """NLI scores of texts for all labels of a model, in the format of `HybridNLIPolyEncoder.predict`.

    Args:
        items: rows with a "text".
        model: the model whose encoder and labels to use; None: the model loaded last. With an NLI pipeline (as in the
            published code) or an encoder, the labels are those of the model loaded last, or of the card if none was
            loaded.

    Returns:
        One dict per row: {label: P(entailment) of the label's hypothesis}.

    Raises:
        RuntimeError: no model is given and none was loaded, or the model has no encoder.
        ValueError: a row has no "text".
    """
    encoder, labels = _encoder_and_labels(model, _last_loaded() if _last_loaded is not None else None)
    absent = [i for i, item in enumerate(items) if "text" not in item]
    if absent:
        raise ValueError(f"items {absent[:10]} have no 'text'")
    hypotheses = encoder.hypotheses(list(labels.descriptions.values()))
    scores = nli_scores(encoder, [item["text"] for item in items], hypotheses)
    return [dict(zip(labels.names, row, strict=True)) for row in scores.tolist()]


def _encoder_and_labels(
    given: HybridNLIPolyEncoder | ZeroShotClassificationPipeline | NLIEncoder | None,
    loaded: HybridNLIPolyEncoder | None,
) -> tuple[NLIEncoder, LabelSet]:
    """Resolve the encoder and labels for `run_nli_inference` from its argument and the model loaded last."""
    if given is None or isinstance(given, HybridNLIPolyEncoder):
        model = loaded if given is None else given
        if model is None or model.encoder is None:
            raise RuntimeError("no model with an encoder: call load_model_from_checkpoint first, or pass model=")
        return model.encoder, model.labels
    labels = TOPICS if loaded is None else loaded.labels
    if isinstance(given, NLIEncoder):
        return given, labels
    if loaded is not None and loaded.encoder is not None and loaded.encoder.model is given.model:
        return loaded.encoder, labels  # uses the template of its checkpoint
    return NLIEncoder(given.model, given.tokenizer), labels


def _read(path: Path) -> dict[str, Any]:
    """Read and validate a checkpoint file; errors as in `load_model_from_checkpoint`."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not verify checksums
        if damaged is not None:
            raise CheckpointError(f"checkpoint {path} is damaged: the sum of its record {damaged!r} is wrong")
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged or not a torch file of plain values: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"checkpoint {path} contains a {type(content).__name__}, not a dict with {list(KEYS)}")
    content = DEFAULTS | content
    missing = [name for name in KEYS if name not in content and name != "val_thresholds"]
    if missing:
        raise CheckpointError(f"checkpoint {path}: missing keys {missing}; found {sorted(map(str, content))}")
    wrong = {k: type(v).__name__ for k, v in content.items() if k in KEYS and not isinstance(v, KEYS[k])}
    if wrong:
        raise CheckpointError(f"checkpoint {path}: keys with a wrong type: {wrong}")
    for name in ("poly_heads_state", "alpha_raws", "label_embs"):
        absent = [label for label in content["specialist_labels"] if label not in content[name]]
        if absent:
            raise CheckpointError(f"checkpoint {path}: {name} has no entry for specialist labels {absent}")
    return content


def _sizes(content: dict[str, Any]) -> tuple[int, int, int]:
    """`hidden_dim`, `num_codes` and `proj_dim`, checked against the stored tensors before anything is allocated."""
    tensors = [
        tensor for state in content["poly_heads_state"].values() if isinstance(state, dict) for tensor in state.values()
    ]
    stored = {size for tensor in tensors if isinstance(tensor, Tensor) for size in tensor.shape}
    for name in ("hidden_dim", "num_codes", "proj_dim"):
        if content[name] not in stored:
            raise ValueError(
                f"{name} is {content[name]}, but no stored tensor has this size; allowed: {sorted(stored)}"
            )
    return content["hidden_dim"], content["num_codes"], content["proj_dim"]


def _fill(model: HybridNLIPolyEncoder, content: dict[str, Any], where: str) -> None:
    """Copy heads, alphas and label embeddings into the model."""
    for name, head in zip(model.labels.specialists, model.poly_heads, strict=True):
        try:
            head.load_state_dict(content["poly_heads_state"][name])
        except (RuntimeError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{where}, head {name!r}: {error}") from error
        embedding = content["label_embs"][name]
        shape = tuple(embedding.shape) if isinstance(embedding, Tensor) else type(embedding).__name__
        if shape != (model.hidden_dim,):
            raise CheckpointError(f"{where}, label_embs[{name!r}]: {shape}, expected shape {(model.hidden_dim,)}")
        model._label_embs[name] = embedding.float()
    alphas = [float(content["alpha_raws"][name]) for name in model.labels.specialists]
    model.alpha_raw.data.copy_(torch.tensor(alphas))
    values = [*model.poly_heads.state_dict().values(), model.alpha_raw, *model._label_embs.values()]
    if not all(bool(value.isfinite().all()) for value in values):
        raise CheckpointError(f"{where}: non-finite values")


def _check_backbone(model: HybridNLIPolyEncoder, encoder: NLIEncoder, where: str) -> None:
    """Check, by comparing label embeddings, that the heads were trained on this NLI model."""
    names = model.labels.specialists
    fresh = encoder.describe([model.labels.descriptions[name] for name in names]).cpu()
    stored = torch.stack([model._label_embs[name] for name in names]).cpu()
    cosine = F.cosine_similarity(fresh, stored, dim=-1)
    if cosine.min() < SAME_BACKBONE:
        raise CheckpointError(
            f"{where} was trained on {model.backbone_name!r}; {encoder.name!r} gives different label embeddings "
            f"(smallest cosine {cosine.min():.3f}; the same model gives 1)"
        )


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
