"""`python -m benchmarks.gpu_check`: runs all parts and writes reports/gpu/<device>.json and .md."""

import argparse
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("torch", "transformers", "accelerate", "safetensors", "sklearn", "pandas", "pyarrow", "scipy", "filelock")
OPTIONAL = ("sentence_transformers", "sentencepiece", "gliclass", "flashdeberta", "pytest", "pydantic", "typer")
TEST_SECONDS = 240


def missing(modules: tuple[str, ...]) -> list[str]:
    """The modules that are not installed."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def gpu_tests(device: str) -> dict[str, Any]:
    """Run `tests/gpu` in a separate process."""
    lacking = missing(("pytest", "pydantic", "typer"))
    if device == "cpu" or lacking:
        return {
            "skipped": f"not installed: {', '.join(lacking)}" if lacking else "`make test` runs tests/gpu on the CPU"
        }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TEST_SECONDS)
    print(done.stdout[-3000:], file=sys.stderr)
    return {"summary": (done.stdout.strip().splitlines() or [""])[-1], "ok": done.returncode == 0}


def code() -> str:
    """Digest of all modules; parts measured with other code are measured again."""
    files = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def plan(device: str, work: Path, dry_run: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    """The parts by name, in order: correctness first, then speed."""
    from benchmarks.gpu_check import speed, trainings
    from benchmarks.gpu_check.sizes import DRY_RUN, GPU, SEED, write_encoders
    from benchmarks.measures import measure_ceiling
    from benchmarks.setting import Setting

    sizes = DRY_RUN if dry_run else GPU
    encoders = write_encoders(work / "encoders", sizes)

    def setting(encoder: str) -> Setting:
        batches = (sizes.batch,)
        return Setting(encoders[encoder], device, "bf16", 256, sizes.token_budget, batches, batches, sizes.labels, SEED)

    @cache
    def products() -> float:
        return measure_ceiling(device, "bf16", sizes.product)

    small = setting("curve")
    parts: dict[str, Callable[[], dict[str, Any]]] = {"tests/gpu": partial(gpu_tests, device)}
    parts["matrix products"] = lambda: {"bf16 TFLOP/s": products() / 1e12}
    for family in trainings.TASKS:
        parts[f"curve: {family}"] = partial(trainings.measure_curves, family, small, sizes)
    parts["curve: hybridnli heads"] = partial(trainings.measure_heads_curve, small, 2 * sizes.curve_batch)
    parts["kill and continue, lease"] = partial(trainings.measure_kill, small, sizes)
    parts["two processes"] = partial(trainings.measure_two_processes, small, sizes)
    for shape in sizes.shapes:
        own = setting(shape)
        parts[f"scoring: {shape}"] = partial(speed.measure_scoring, own, sizes, products)
        parts[f"training: {shape}"] = partial(speed.measure_training_speed, own, sizes, products)
        parts[f"training against gliclass: {shape}"] = partial(speed.measure_against_gliclass, own, sizes)
        parts[f"bf16: {shape}"] = partial(speed.measure_flips, own, sizes)
        if "deberta" in shape.lower():
            parts[f"attention: {shape}"] = partial(speed.measure_deberta, own, sizes)
    return parts


def check(out: Path, work: Path, minutes: float, dry_run: bool) -> dict[str, Any]:
    """Run every part that is not done yet, until the time is up; returns the record.

    Args:
        out: folder of the page and the record.
        work: folder of stored results.
        minutes: no part is started after this time.
        dry_run: use tiny sizes on the CPU.
    """
    import torch

    from benchmarks.gpu_check.report import page
    from benchmarks.parts import Parts
    from zsbench.store.provenance import digest, environment, write_json, write_text

    started = time.monotonic()
    device = "cpu" if dry_run else "cuda"
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    facts = environment() | {"CUDA": torch.version.cuda or "none", "devices": str(torch.cuda.device_count())}
    planned = plan(device, work, dry_run)
    parts = Parts(work / "parts", digest([name, dry_run, facts, code()]))
    record: dict[str, Any] = {"device": name, "dry_run": dry_run, "environment": facts, "planned": list(planned)}
    record |= {"missing": missing(OPTIONAL), "parts": {}, "failed": {}, "seconds": {}}
    target = out / (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ("-dry-run" if dry_run else ""))
    for part, measure in planned.items():
        if time.monotonic() - started > 60 * minutes and not (parts.folder / f"{_slug(part)}.json").is_file():
            continue
        try:
            record["parts"][part] = parts.get(_slug(part), measure)
            record["seconds"][part] = parts.facts[_slug(part)]["seconds"]
        except Exception as error:  # other parts may still work
            traceback.print_exc()
            record["failed"][part] = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:200]
        if device == "cuda":
            torch.cuda.empty_cache()
        write_json(target.with_suffix(".json"), record)
        write_text(target.with_suffix(".md"), page(record))
    print(target.with_suffix(".md"))
    return record


def _slug(part: str) -> str:
    return re.sub(r"[^\w.-]+", "-", part)


def main() -> int:
    """Run the check; the exit code is 1 if a part failed or was skipped."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/gpu"), help="folder of the report")
    parser.add_argument("--work", type=Path, default=Path("build/gpu-check"), help="folder of what is kept")
    parser.add_argument("--minutes", type=float, default=7.0, help="start no part later than that")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--launch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if lacking := missing(NEEDED):
        print(f"not installed, and needed: {', '.join(lacking)}", file=sys.stderr)
        return 1
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1"}
    for folder in (ROOT, ROOT / "src"):  # so that child processes find the packages
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    if options.job:
        from benchmarks.gpu_check.trainings import run_job

        run_job(options.job)
        return 0
    if options.launch:
        from zsbench.jobs.launch import launch

        return launch(1, "single", ["-m", "benchmarks.gpu_check", "--job", str(options.launch)])

    from benchmarks.gpu_check.report import passed
    from zsbench.jobs.runtime import prepare_torch

    dry_run = options.dry_run or prepare_torch() == "cpu"
    if dry_run:
        print("no GPU is used: a dry run at tiny sizes", file=sys.stderr)
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    record = check(options.out, options.work, options.minutes, dry_run)
    whole = len(record["parts"]) == len(record["planned"])
    return 0 if whole and all(map(passed, record["parts"].values())) else 1


if __name__ == "__main__":
    sys.exit(main())
