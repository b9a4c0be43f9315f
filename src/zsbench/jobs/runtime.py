"""Device selection and resource measurement. Torch is imported only if there may be a GPU."""

import contextlib
import os
import resource
import sys
import time
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")  # Linux only; on other systems, "auto" is fp32 on a CPU
STATUS = Path("/proc/self/status")  # Linux only
BF16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}  # Linux names: two on x86, one on Arm


def prepare_torch() -> str:
    """The device that models run on, "cuda" or "cpu"; imports torch only if there may be a GPU."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":  # set by `zsbench launch`; importing torch takes seconds
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_precision(precision: str, device: str) -> str:
    """Replace "auto" by the precision that is fast on this machine; other values are returned unchanged.

    "bf16" on a GPU with compute capability 8 or higher and on a CPU with bf16 instructions; otherwise "fp32", because
    without such instructions bf16 is several times slower.
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
    """Measures wall time and peak memory since its creation, of the GPU if there is one, else of the process."""

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            with contextlib.suppress(OSError):  # Linux: reset the peak, so that each data set has its own
                Path("/proc/self/clear_refs").write_text("5")
        self.started = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def peak_mb(self) -> float:
        """Peak memory in MiB."""
        if self.device == "cuda":
            import torch

            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        if STATUS.is_file():
            peaks = [line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")]
            if peaks:
                return round(int(peaks[0]) / 2**10, 1)
        unit = 1 if sys.platform == "darwin" else 2**10  # bytes of `ru_maxrss`
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
