"""Time and memory of the k best of many labels: `python -m benchmarks.many_labels ENCODER` fills docs/speed.md."""

import multiprocessing
import os
import re
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, product
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import pandas as pd
import torch
import typer

from benchmarks.memory import peak_mb, resident_mb
from benchmarks.tables import markdown
from benchmarks.workloads import make_labels, make_texts
from gliznet import predictor
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
    """Seconds until the label matrix is there and per text after that; peak memory."""
    torch.set_num_threads(1)
    tokenizer = GliZNETTokenizer.from_pretrained(encoder, OPTIONS)
    pipeline = ZeroShotClassificationPipeline(
        GliZNetForSequenceClassification.from_backbone(encoder, tokenizer), tokenizer
    )
    texts = make_texts([TOKENS] * TEXTS, lambda words: [len(ids) for ids in tokenizer.tokenize_texts(words)], seed=0)
    words = make_labels(60, seed=0)
    names = [" ".join(parts) for parts in islice(product(words, repeat=3), labels)]
    pipeline(texts, names[:10], top_k=TOP)  # warm-up
    before, marks, matrix = resident_mb(), [], predictor._label_matrix

    def timed(*arguments: Any) -> Any:
        result = matrix(*arguments)
        marks.append(time.perf_counter())
        return result

    with mock.patch.object(predictor, "_label_matrix", timed):  # one call: labels first, then texts
        started = time.perf_counter()
        pipeline(texts, names, top_k=TOP)
        ended = time.perf_counter()
    return {
        "labels": labels,
        "tokens per label": sum(map(len, tokenizer.label_pieces(names))) / labels,
        "labels, s": marks[0] - started,
        "per text, ms": (ended - marks[0]) / TEXTS * 1e3,
        "peak memory added, MB": peak_mb() - before,
    }


@app.command()
def main(
    encoder: Annotated[Path, typer.Argument(help="folder of an encoder, such as results/<run>/fetch/minilm/files")],
) -> None:
    """Measure, and fill the table of docs/speed.md."""
    os.environ.setdefault("LRU_CACHE_CAPACITY", "16")  # as jobs have it: or PyTorch keeps an operation for every shape
    rows, load = [], [os.getloadavg()[0]]
    for labels in SIZES:  # a process each, since memory that is freed hides what comes after
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            rows.append(pool.submit(measure, encoder, labels).result())
        load.append(os.getloadavg()[0])
        print(rows[-1], flush=True)
    facts = (
        f"{TEXTS} texts of {TOKENS} tokens, `top_k={TOP}`, one CPU thread, fp32, measured once on {os.cpu_count()}"
        f" cores at a load average of {min(load):.1f} to {max(load):.1f}; a load above the number of cores makes times"
        " longer. `labels, s`: until the matrix of label vectors is there; `per text, ms`: after that; memory: more"
        " than ten labels take."
    )
    table = markdown(pd.DataFrame(rows).astype({"labels": str}))
    body = f"{textwrap.fill(facts, 118)}\n\n{table}\n"
    write_text(PAGE, BLOCK.sub(rf"\g<1>{body}\g<2>", PAGE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit(run(app, "python -m benchmarks.many_labels"))
