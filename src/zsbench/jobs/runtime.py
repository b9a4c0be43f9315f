"""Where models run, and what running them costs. Imports torch only where there may be a GPU."""

import contextlib
import os
import resource
import time
from pathlib import Path


def prepare_torch() -> str:
    """Where models run: "cuda" or "cpu"."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":  # as `zsbench launch` says it; torch takes seconds to say the same
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class Meter:
    """Wall time and peak memory from its making on: the GPU's where there is one, else the process's."""

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            with contextlib.suppress(OSError):  # Linux: tells the peak of one dataset from that of the one before
                Path("/proc/self/clear_refs").write_text("5")
        self.started = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def peak_mb(self) -> float:
        """MiB."""
        if self.device == "cuda":
            import torch

            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        status = Path("/proc/self/status")
        if status.is_file():
            peaks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
            if peaks:
                return round(int(peaks[0]) / 2**10, 1)
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1)
