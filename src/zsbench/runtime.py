"""Process-wide settings of every verb that runs a model."""

import torch


def prepare_torch() -> str:
    """Flush denormal floats to zero on the CPU, and say where models run: "cuda" or "cpu".

    Denormal weights and optimiser states (this project's bundled MiniLM has many) make CPU kernels several times
    slower; flushing changes values below 1e-38 only.
    """
    torch.set_flush_denormal(True)
    return "cuda" if torch.cuda.is_available() else "cpu"
