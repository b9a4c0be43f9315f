"""Does `torch.compile` pay off? The encoder with and without it, including its warm-up."""

import copy
import shutil
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from transformers import AutoModel

from benchmarks.setting import Setting
from benchmarks.timing import interleave
from benchmarks.training import batch_of, budgeted, infer, train
from gliznet.fast.dropout import use_fast_dropout
from gliznet.fast.encoders import use_fast_encoders

COMPILERS = ("g++", "clang++", "icpx")  # PyTorch needs one of these to compile for the CPU


def measure_compiled(setting: Setting, lengths: Sequence[int], repeats: int) -> dict[str, Any]:
    """Our encoder on batches of mixed lengths, in eager mode and with `torch.compile(dynamic=True)`.

    Args:
        setting: the shared conditions.
        lengths: tokens of each text.
        repeats: number of interleaved rounds.

    Returns:
        {"skipped": reason}, or for "scoring" and "training": `warm_up` (seconds of the first compiled round minus an
        eager one), and the rounds of "eager" and "compiled".
    """
    if setting.device == "cpu" and not any(map(shutil.which, COMPILERS)):
        return {"skipped": f"no C++ compiler ({', '.join(COMPILERS)})"}
    eager: Any = AutoModel.from_pretrained(
        setting.backbone, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    ).to(setting.device)
    use_fast_encoders(eager)
    use_fast_dropout(eager)
    batches = [batch_of(setting, part) for part in budgeted(lengths, setting.token_budget)]
    found = {}
    for name, run in (("scoring", infer), ("training", train)):
        torch.compiler.reset()
        model = copy.deepcopy(eager)
        compiled = torch.compile(copy.deepcopy(eager), dynamic=True)
        ways = {"eager": partial(run, model, batches, setting), "compiled": partial(run, compiled, batches, setting)}
        ways["eager"]()
        started = time.perf_counter()
        ways["compiled"]()
        first = time.perf_counter() - started
        rounds = interleave(ways, repeats, warm_up=False)
        usual = sorted(one["wall"] for one in rounds["compiled"])[len(rounds["compiled"]) // 2]
        found[name] = {"warm_up": first - usual, "texts": len(lengths), **rounds}
    return found
