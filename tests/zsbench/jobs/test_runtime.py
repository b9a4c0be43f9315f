"""What `precision: auto` means on this machine."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from zsbench.jobs import runtime


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx2 avx512f avx512_bf16", "bf16"),
        ("flags : fpu avx2 amx_bf16 amx_tile", "bf16"),
        ("Features : fp asimd bf16 i8mm", "bf16"),
        ("flags : fpu avx2 avx512f avx512_vnni", "fp32"),
    ],
)
def test_auto_is_bf16_only_with_bf16_instructions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, expected: str
) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"model name : some CPU\n{flags}\n")
    monkeypatch.setattr(runtime, "CPU_INFO", cpu_info)
    assert runtime.resolve_precision("auto", "cpu") == expected
    assert runtime.resolve_precision("bf16", "cpu") == "bf16" and runtime.resolve_precision("fp32", "cpu") == "fp32"


@pytest.mark.parametrize(("system", "unit"), [("linux", 2**10), ("darwin", 1)])
def test_without_proc_peak_memory_is_read_in_the_units_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, unit: int
) -> None:
    monkeypatch.setattr(runtime, "STATUS", tmp_path / "missing")
    monkeypatch.setattr(runtime.sys, "platform", system)
    monkeypatch.setattr(runtime.resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=300 * 2**20 // unit))
    assert runtime.Meter("cpu").peak_mb() == 300


def test_auto_is_fp32_where_the_cpu_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runtime, "CPU_INFO", tmp_path / "missing")
    assert runtime.resolve_precision("auto", "cpu") == "fp32"
