"""Does scoring many texts need more memory than scoring a few?"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.backbones import tiny_bert
from benchmarks.workloads import make_labels
from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.predictor import score_texts
from gliznet.tokenizer import GliZNETTokenizer
from zsbench.jobs.worker import die_with_parent
from zsbench.store.progress import progress_logger

WARM_UP = 4  # blocks before memory is first measured


def resident_mb() -> float:
    """MiB of memory that this process holds now (Linux)."""
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """The most MiB of memory that this process ever held (Linux)."""
    return _status_mb("VmHWM")


def _status_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def measure_memory_alone(
    backbone: Path, texts: int, labels: int, block: int, seed: int, threads: int
) -> dict[str, Any]:
    """`measure_memory` in a separate process, because memory freed by earlier measurements would hide growth."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_begin, initargs=(threads,)) as pool:
        return pool.submit(measure_memory, backbone, texts, labels, block, seed).result()


def _begin(threads: int) -> None:
    die_with_parent()
    torch.set_num_threads(threads)


def measure_memory(backbone: Path, texts: int, labels: int, block: int, seed: int) -> dict[str, Any]:
    """Score `texts` short texts with a tiny encoder, block by block, each block's scores written to disk.

    Args:
        backbone: folder whose tokenizer is used.
        texts, labels: numbers of texts and labels.
        block: texts per block, as in the scorer of a run.
        seed: seed of texts and labels.

    Returns:
        texts, seconds, texts_per_second, held_mb (memory after the warm-up), growth_mb (maximum after a later block,
        minus held_mb).
    """
    names, say = make_labels(labels, seed), progress_logger("speed: memory")
    with TemporaryDirectory() as folder:
        tiny = tiny_bert(backbone, Path(folder) / "tiny")
        tokenizer = GliZNETTokenizer.from_pretrained(tiny, GliZNetOptions())
        model = GliZNetForSequenceClassification.from_backbone(tiny, tokenizer)
        generator, held, started = np.random.default_rng(seed), [], time.perf_counter()
        words = np.array(" ".join(make_labels(200, seed)).replace("_", " ").split())
        with (Path(folder) / "scores.bin").open("wb") as out:
            for number, start in enumerate(range(0, texts, block)):
                size = min(block, texts - start)
                rows = [" ".join(generator.choice(words, generator.integers(2, 12))) for _ in range(size)]
                out.write(np.asarray(score_texts(model, tokenizer, rows, names, token_budget=16384)).tobytes())
                held.append(resident_mb())
                if number % 20 == 0:
                    rate = (start + size) / (time.perf_counter() - started)
                    say(f"{start + size}/{texts} texts  {rate:.0f} texts/s  {held[-1]:.0f} MB")
    seconds = time.perf_counter() - started
    warm = held[min(WARM_UP, len(held)) - 1]
    growth = max(held[WARM_UP:], default=warm) - warm
    return {
        "texts": texts,
        "labels": labels,
        "block": block,
        "seconds": round(seconds, 1),
        "texts_per_second": round(texts / seconds, 1),
        "held_mb": round(warm, 1),
        "growth_mb": round(growth, 1),
    }
