"""Time and memory of the k best of many labels: `python -m benchmarks.many_labels ENCODER` fills docs/speed.md."""

import multiprocessing
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, product
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

from benchmarks.memory import peak_mb, resident_mb
from benchmarks.tables import markdown
from benchmarks.workloads import make_labels, make_texts
from gliznet.model import GliZNetForSequenceClassification
from gliznet.options import GliZNetOptions
from gliznet.predictor import ZeroShotClassificationPipeline
from gliznet.tokenizer import GliZNETTokenizer
from zsbench.cli.main import run
from zsbench.store.provenance import write_text

app = typer.Typer(rich_markup_mode=None)
SIZES = (10, 100, 1000, 10_000, 100_000)
TEXTS, TOKENS, TOP = 64, 40, 10
PAGE = Path("docs/speed.md")
BLOCK = re.compile(r"(<!-- many labels -->\n).*?(<!-- end of many labels -->)", re.DOTALL)
OPTIONS = GliZNetOptions(
    order_invariant=True, label_context="none", text_repr="mean", label_repr="mean", head_init="identity"
)


def measure(encoder: Path, labels: int) -> dict[str, float]:
    """Seconds and peak memory of `TEXTS` texts with `labels` labels, and of one text: the rest is the labels' share."""
    torch.set_num_threads(1)
    tokenizer = GliZNETTokenizer.from_pretrained(encoder, OPTIONS)
    pipeline = ZeroShotClassificationPipeline(
        GliZNetForSequenceClassification.from_backbone(encoder, tokenizer), tokenizer
    )
    texts = make_texts([TOKENS] * TEXTS, lambda words: [len(ids) for ids in tokenizer.tokenize_texts(words)], seed=0)
    words = make_labels(60, seed=0)
    names = [" ".join(parts) for parts in islice(product(words, repeat=3), labels)]
    pipeline(texts[:2], names[:10], top_k=TOP)  # warm-up
    before, seconds = resident_mb(), []
    for some in (texts[:1], texts):
        started = time.perf_counter()
        pipeline(some, names, top_k=TOP)
        seconds.append(time.perf_counter() - started)
    per_text = (seconds[1] - seconds[0]) / (TEXTS - 1)
    return {
        "labels": labels,
        "encode labels, s": seconds[0] - per_text,
        "per text, ms": per_text * 1e3,
        "peak memory added, MB": peak_mb() - before,
    }


@app.command()
def main(
    encoder: Annotated[Path, typer.Argument(help="folder of an encoder, such as results/<run>/fetch/minilm/files")],
) -> None:
    """Measure, and fill the table of docs/speed.md."""
    rows, load = [], [os.getloadavg()[0]]
    for labels in SIZES:  # a process each, since memory that is freed hides what comes after
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            rows.append(pool.submit(measure, encoder, labels).result())
        load.append(os.getloadavg()[0])
        print(rows[-1], flush=True)
    facts = (
        f"{TEXTS} texts of {TOKENS} tokens, `top_k={TOP}`, one CPU thread ({os.cpu_count()} cores), fp32, once;"
        f" load average {min(load):.1f} to {max(load):.1f} (above the number of cores, times are too long)."
    )
    table = markdown(pd.DataFrame(rows).astype({"labels": str}))
    write_text(PAGE, BLOCK.sub(rf"\g<1>{facts}\n\n{table}\n\g<2>", PAGE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit(run(app, "python -m benchmarks.many_labels"))
