"""Device selection and resource measurement. Imports torch only if there may be a GPU."""

import contextlib
import os
import resource
import time
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")  # Linux; elsewhere "auto" is fp32 on a CPU
BF16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}  # as Linux names them: two of x86, one of Arm


def prepare_torch() -> str:
    """Where models run: "cuda" or "cpu"."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":  # as `zsbench launch` says it; torch takes seconds to say the same
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_precision(precision: str, device: str) -> str:
    """`precision`, with "auto" as what this machine computes fast.

    That is "bf16" on a GPU of compute capability 8 or higher and on a CPU with bf16 instructions, else "fp32": without
    such instructions bf16 is several times slower than fp32.
    """
    if precision != "auto":
        return precision
    if device == "cuda":
        import torch

        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = CPU_INFO.is_file() and not BF16_INSTRUCTIONS.isdisjoint(CPU_INFO.read_text().split())
    return "bf16" if fast else "fp32"


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
