"""Checks of a model folder before anything is loaded: no pickles, no code, complete files, plausible sizes."""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.joblib", "*.bin.index.json")
# Pickles that no loader reads if safetensors are present: other copies of the weights, and trainer state.
_UNREAD_PICKLES = re.compile(
    r"(pytorch_model|model)(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json|training_args\.bin|scheduler\.pt"
    r"|optimizer(_\d+)?\.(pt|bin)|rng_state(_\d+)?\.pth|scaler\.pt"
)
_LAYERS = re.compile(r"(num_|n_)?(hidden_|encoder_|decoder_)?(layers?|depth)$")  # keys that count layers
_HIDDEN = ("hidden_size", "d_model", "dim")
_WIDTHS = (*_HIDDEN, "vocab_size", "intermediate_size", "d_ff", "ffn_dim")
_UNREAD = ("onnx", "openvino")  # folders of other runtimes
_ROTARY = re.compile(r"rope|rotary")  # with rotary positions, a position limit allocates nothing; 1M tokens occur
_FREE = re.compile(r"rope|theta|seed")  # numbers that do not determine any allocation
MOST_POSITIONS = 2**18  # for models without rotary positions, which may allocate something per position
MOST_LABELS = 2**16
MOST = 2**24  # of any other number in a config


@dataclass(frozen=True)
class Weights:
    """Sizes read from the headers of a folder's safetensors files.

    Attributes:
        tensors: number of tensors.
        numbers: total number of values.
        longest: largest dimension of any tensor.
    """

    tensors: int
    numbers: int
    longest: int


def check_files(folder: Path, allowed_pickles: Collection[str] = ()) -> Weights:
    """Reject a folder that is not safe to load.

    Args:
        folder: folder with config.json and safetensors weights, possibly in several files or module subfolders.
        allowed_pickles: names of pickles allowed next to safetensors, such as `model_head.pkl` of a SetFit model.
            Loading a pickle can run arbitrary code, so list only files that you trust.

    Returns:
        The sizes of the weights.

    Raises:
        ValueError: pickled weights, a pickle that is not allowed, remote code, a damaged file, or sizes in a config
            that do not match the weights. The message names the file, the key, the value and what is allowed.
    """
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir() and path.name not in _UNREAD)):
        pickles = sorted({file.name for pattern in _PICKLES for file in path.glob(pattern)})
        if pickles and not any(path.glob("*.safetensors")):
            raise ValueError(
                f"{path} has pickled weights ({', '.join(pickles)}), which are never read; safetensors are"
            )
        others = [name for name in pickles if name not in allowed_pickles and not _UNREAD_PICKLES.fullmatch(name)]
        if others:
            raise ValueError(
                f"{path} has pickles that may be read beside its safetensors ({', '.join(others)}); delete them"
                f" (allowed here: {', '.join(allowed_pickles) or 'none'})"
            )
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder} has no weights; it needs model.safetensors")
    shapes = [shape for path in files for shape in _shapes(path)]
    numbers = [_product(shape) for shape in shapes]
    weights = Weights(len(shapes), sum(numbers), max((size for shape in shapes for size in shape), default=0))
    for path in sorted(folder.rglob("*.json")):
        if path.name == "config.json" or path.name == "tokenizer_config.json":
            content = _read(path)
            for key, block in _blocks(content):
                if block.get("auto_map"):
                    raise ValueError(
                        f"{path}: {key}auto_map={block['auto_map']!r} requests remote code, which is never run"
                    )
                if path.name == "config.json":
                    _check_sizes(path, key, block, weights)
    return weights


def _shapes(path: Path) -> list[list[int]]:
    try:
        with safe_open(path, framework="pt") as file:
            return [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from error


def _product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} contains a {type(content).__name__}, not a mapping")
    return content


def _blocks(value: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All mappings in a config, nested ones included, with their dotted key prefix."""
    if isinstance(value, dict):
        yield key, value
        for name, entry in value.items():
            yield from _blocks(entry, f"{key}{name}.")
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from _blocks(entry, f"{key}{i}.")


def _check_sizes(path: Path, prefix: str, block: dict[str, Any], weights: Weights) -> None:
    """Reject config sizes that would allocate more than the weights can fill.

    Raises:
        ValueError: names the file, the key, the value and the maximum.
    """
    hidden = next((block[name] for name in _HIDDEN if _number(block.get(name))), 1)
    rotary = any(_ROTARY.search(name) for name in block)
    width = block["embedding_size"] if _number(block.get("embedding_size")) else hidden
    for name in sorted(block, key=lambda name: name not in _HIDDEN):  # widths first: other limits depend on them
        value = block[name]
        if not _number(value) or _FREE.search(name):
            continue
        if _LAYERS.match(name):
            most, why = weights.tensors, "the file's tensors"
        elif name in _WIDTHS:
            most = 2 * weights.numbers // max(int(min(width if name == "vocab_size" else hidden, 2**62)), 1)
            why = f"what {weights.numbers} numbers in the file can fill"
        elif "position" in name and not rotary:
            most, why = max(MOST_POSITIONS, weights.longest), "the longest sequence"
        elif name in ("num_labels", "_num_labels"):
            most, why = MOST_LABELS, "the most labels"
        else:
            most, why = MOST, "the most for any number here"
        if value > most:
            raise ValueError(f"{path}: {prefix}{name}={value} is not allowed; at most {most} ({why})")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # not NaN
