"""Models published only as a pickle: read once without running code, and stored as safetensors."""

from pathlib import Path
from typing import Any

from zsbench.data.errors import FetchError
from zsbench.store.provenance import file_sha256


def to_safetensors(folder: Path, name: str) -> dict[str, Any]:
    """Write `model.safetensors` from a PyTorch state dict and remove the pickle.

    Args:
        folder: the fetched files, with checksums already verified.
        name: the pickle; read with `weights_only=True`, which rejects anything but tensors and plain values.

    Returns:
        Fact for the manifest: `converted`, the pickle's name and sha256.

    Raises:
        FetchError: the file contains anything else.
    """
    import pickle

    import torch
    from safetensors.torch import save_file

    path = folder / name
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise FetchError(f"{name} is damaged, or contains code, which is never run: {error}") from None
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise FetchError(f"{name} is not a state dict of tensors; it cannot be kept as safetensors")
    # safetensors cannot store shared memory
    tensors = {key: tensor.clone().contiguous() for key, tensor in state.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    fact = {"name": name, "sha256": file_sha256(path)}
    path.unlink()
    return {"converted": fact}
