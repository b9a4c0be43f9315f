"""Checks of a model folder before anything is loaded: no pickles, no code, complete files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.joblib", "*.bin.index.json")
# Pickles that no loader reads if safetensors are present: other copies of the weights, and trainer state.
_UNREAD_PICKLES = re.compile(
    r"(pytorch_model|model)(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json|training_args\.bin|scheduler\.pt"
    r"|optimizer(_\d+)?\.(pt|bin)|rng_state(_\d+)?\.pth|scaler\.pt"
)
_UNREAD = ("onnx", "openvino")  # folders of other runtimes


def check_files(folder: Path) -> None:
    """Reject a folder that is not safe to load.

    Args:
        folder: folder with config.json and safetensors weights, possibly in several files or module subfolders.

    Raises:
        ValueError: pickled weights, a pickle that some loader may read, remote code, or a damaged file. The message
            names the file.
    """
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir() and path.name not in _UNREAD)):
        pickles = sorted({file.name for pattern in _PICKLES for file in path.glob(pattern)})
        if pickles and not any(path.glob("*.safetensors")):
            raise ValueError(
                f"{path} has pickled weights ({', '.join(pickles)}), which are never read; safetensors are"
            )
        others = [name for name in pickles if not _UNREAD_PICKLES.fullmatch(name)]
        if others:
            raise ValueError(
                f"{path} has pickles that may be read beside its safetensors ({', '.join(others)}); delete them"
            )
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder} has no weights; it needs model.safetensors")
    for path in files:
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from error
    for path in sorted(folder.rglob("*.json")):
        if path.name in ("config.json", "tokenizer_config.json"):
            for key, block in _blocks(_read(path)):
                if block.get("auto_map"):
                    raise ValueError(
                        f"{path}: {key}auto_map={block['auto_map']!r} requests remote code, which is never run"
                    )


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
