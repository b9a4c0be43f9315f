"""Measure speed: correctness first, then the mixed workload, latency, the sweep, training and memory."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer

from zsbench.layout import Layout
from zsbench.progress import say_for
from zsbench.provenance import environment, source_digest, write_json
from zsbench.runtime import Meter, prepare_torch
from zsbench.speed.backbones import deberta_twin
from zsbench.speed.contenders import build_contenders
from zsbench.speed.costs import CostModel
from zsbench.speed.memory import measure_memory
from zsbench.speed.setting import Contender, Setting, counting
from zsbench.speed.timing import interleave, rates, ratio, summary
from zsbench.speed.training import measure_attention, measure_training
from zsbench.speed.workloads import CountTokens, make_labels, make_texts, mixed_lengths

GATE = {"fp32": 1e-4, "bf16": 0.25}  # largest difference of a logit or probability between two ways of one model
SWEPT = ("gliznet", "gliclass", "nli-sorted", "biencoder")
# (comparison, part, fast, slow, at least): the rows of the page's first table; `part` is where both had the same texts.
TARGETS = (
    ("GliZNet vs gliclass pipeline (its best batch)", "mixed", "gliznet", "gliclass", 3.0),
    ("GliZNet vs one padded batch in input order", "mixed", "gliznet", "reference", 7.0),
    ("GliZNet vs bare encoder at the same batches", "mixed", "gliznet", "bare", 0.9),
    ("GliZNet vs transformers zero-shot pipeline", "slow", "gliznet", "pipeline", 12.0),
    ("GliZNet vs transformers zero-shot pipeline, many labels", "many", "gliznet", "pipeline", 25.0),
)
ATTENTION = {"one-short": ("1 x 32 tokens", 2.5), "mixed": ("mixed batches", 1.5), "training": ("training step", 1.3)}


class GateError(RuntimeError):
    """Two ways of running one model disagree, so their speeds must not be compared."""


def run_speed(root: Path, spec: dict[str, Any]) -> Path:
    """Measure everything the spec asks for and write `speed/speed.json`.

    Args:
        root: `results/<run>`.
        spec: the run's `speed` block and `run`.

    Raises:
        GateError: a way of scoring gives other numbers than the reference.
    """
    device = prepare_torch()
    if device == "cpu":
        torch.set_num_threads(spec["threads"])
    own = Layout(Path(root)).fetched(spec["backbone"]).parent / "files"
    record: dict[str, Any] = {
        "spec": spec,
        "environment": environment(),
        "source": source_digest("zsbench/speed", "gliznet", "hybridnli"),
        "device": torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "load_before": os.getloadavg()[0],
        "shapes": {},
    }
    with TemporaryDirectory() as folder:
        for shape in spec["shapes"]:
            backbone = own if shape == "own" else deberta_twin(own, Path(folder) / shape, spec["seed"])
            record["shapes"][shape] = measure_shape(_setting(spec, backbone, device), spec, shape)
        if spec["memory"]["texts"]:
            record["memory"] = measure_memory(own, seed=spec["seed"], **spec["memory"])
    record["load_after"] = os.getloadavg()[0]
    path = Path(root) / "speed" / "speed.json"
    write_json(path, record)
    return path


def _setting(spec: dict[str, Any], backbone: Path, device: str) -> Setting:
    return Setting(
        backbone=backbone,
        device=device,
        precision=spec["precision"],
        max_tokens=spec["mixed"]["max_tokens"],
        token_budget=spec["token_budget"],
        batch_sizes=tuple(spec["gliclass_batches"]),
        pipeline_batch_sizes=tuple(spec["pipeline_batches"]),
        most_labels=max([spec["mixed"]["labels"], spec["mixed"]["many_labels"], *spec["sweep"]["labels"]]),
        seed=spec["seed"],
    )


def measure_shape(setting: Setting, spec: dict[str, Any], shape: str) -> dict[str, Any]:
    """Everything about one backbone."""
    say, seed, mixed = say_for(f"speed: {shape}"), spec["seed"], spec["mixed"]
    count = _counter(setting.backbone)
    contenders = {one.name: one for one in build_contenders(setting)}
    texts = make_texts(mixed_lengths(mixed["texts"], mixed["mean_tokens"], mixed["max_tokens"] - 2, seed), count, seed)
    labels, many = make_labels(mixed["labels"], seed), make_labels(mixed["many_labels"], seed)
    found: dict[str, Any] = {"model": AutoConfig.from_pretrained(setting.backbone).model_type}
    found["tokens"] = summary([float(tokens) for tokens in count(texts)]) | {"mean": float(np.mean(count(texts)))}
    say("correctness gate")
    found["gate"] = gate(contenders, texts[: spec["gate_texts"]], labels, setting.precision)
    say("mixed workload")
    pairwise = {name for name in contenders if name.startswith(("pipeline", "nli"))}
    joint = {name: one for name, one in contenders.items() if name not in pairwise}
    found["mixed"] = measure_mixed(joint, texts, labels, mixed["repeats"])
    slow = {name: contenders[name] for name in ("gliznet", *sorted(pairwise))}
    found["slow"] = measure_mixed(slow, texts[: mixed["slow_texts"]], labels, mixed["repeats"])
    found["many"] = measure_mixed(slow, texts[: mixed["many_texts"]], many, mixed["many_repeats"])
    found["latency"] = measure_latency(contenders, texts[: spec["latency_texts"]], labels)
    best = _best(found["mixed"], "gliclass")
    aliases = {name: best if name == "gliclass" else name for name in SWEPT}
    swept = {name: contenders[own] for name, own in aliases.items() if own is not None}
    found["sweep"] = sweep(swept, CostModel.of(AutoConfig.from_pretrained(setting.backbone)), spec, count, say)
    if shape == "deberta":
        say("attention against transformers' own")
        lengths = [tokens + 2 for tokens in count(texts)]
        found["attention"] = measure_attention(setting, lengths[: mixed["slow_texts"]], mixed["repeats"])
    training = spec["training"]
    if training["steps"] and best:
        say("training")
        found["training"] = measure_training(setting, training["steps"], training["batch"], training["repeats"])
    found["ratios"] = ratios(found)
    return found


def _counter(backbone: Path) -> CountTokens:
    tokenizer = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)
    return lambda texts: [
        len(ids) for ids in tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    ]


def gate(
    contenders: dict[str, Contender], texts: Sequence[str], labels: Sequence[str], precision: str
) -> dict[str, Any]:
    """Largest difference and argmax agreement of ways that must give equal numbers.

    Raises:
        GateError: more than rounding lies between them.
    """
    piped = next(name for name in contenders if name.startswith("pipeline"))
    found = {}
    for name, against in (("gliznet", "reference"), ("nli-sorted", piped)):
        a, b = (contenders[one].prepare(texts, labels)() for one in (name, against))
        difference = float(np.abs(a - b).max())
        same = float((a.argmax(1) == b.argmax(1)).mean())
        found[f"{name} = {against}"] = {"largest_difference": difference, "argmax_equal": same, "texts": len(texts)}
        if not difference <= GATE[precision]:
            raise GateError(f"{name} and {against} differ by {difference} (allowed: {GATE[precision]})")
    return found


def measure_mixed(
    contenders: dict[str, Contender], texts: Sequence[str], labels: Sequence[str], repeats: int
) -> dict[str, Any]:
    """Texts a second, padding efficiency and peak memory of every contender on the same texts."""
    runs = {name: one.prepare(texts, labels) for name, one in contenders.items()}
    found: dict[str, Any] = {}
    for name, one in contenders.items():
        meter = Meter("cuda" if torch.cuda.is_available() else "cpu")
        with counting(one.encoder) as tokens:
            runs[name]()
        found[name] = {
            "title": one.title,
            "texts": len(texts),
            "labels": len(labels),
            "padding_efficiency": tokens["real"] / max(tokens["padded"], 1),
            "peak_mb": meter.peak_mb(),
        }
    for name, rounds in interleave(runs, repeats).items():
        found[name]["rounds"] = rounds
        found[name]["texts_per_second"] = rates(rounds, len(texts))
        found[name]["pairs_per_second"] = rates(rounds, len(texts) * len(labels))
    return found


def measure_latency(contenders: dict[str, Contender], texts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Seconds from one text to its scores: median and 95th percentile over the texts, labels seen before.

    Of contenders that differ in batch size alone, the first: to one text it makes no difference.
    """
    found: dict[str, Any] = {}
    for name, one in contenders.items():
        stem, _, size = name.rpartition("-")
        family = stem if size.isdigit() else name
        if family in found:
            continue
        runs = [one.prepare([text], labels) for text in texts]
        runs[0]()
        seconds = []
        for run in runs:
            started = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - started)
        middle, high = (float(np.percentile(seconds, part)) for part in (50, 95))
        found[family] = {"p50": middle, "p95": high, "texts": len(texts)}
    return found


def sweep(
    contenders: dict[str, Contender],
    costs: CostModel,
    spec: dict[str, Any],
    count: CountTokens,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Labels x text length x batch (1, best): rates beside the arithmetic; as many texts as the operations allow."""
    plan, rows = spec["sweep"], []
    for tokens in plan["tokens"]:
        pool = make_texts([tokens] * plan["texts"], count, spec["seed"])
        for size in plan["labels"]:
            labels = make_labels(size, spec["seed"])
            label = float(np.mean(count(labels)))
            need = {
                "gliznet": costs.joint(tokens, label, size, 20),
                "gliclass": costs.joint(tokens, label, size, size),
                "nli-sorted": costs.pairwise(tokens, label + 5, size),
                "biencoder": costs.separate(tokens),
            }
            say(f"sweep: {size} labels, {tokens} tokens")
            sizes = {name: int(np.clip(plan["operations"] / need[name], 1, len(pool))) for name in contenders}
            runs = {name: one.prepare(pool[: sizes[name]], labels) for name, one in contenders.items()}
            single = {name: _one_by_one(one, pool[: min(4, sizes[name])], labels) for name, one in contenders.items()}
            best, alone = interleave(runs, plan["repeats"]), interleave(single, plan["repeats"])
            for name in contenders:
                row = {"system": name, "labels": size, "tokens": tokens, "operations": need[name]}
                batched = rates(best[name], sizes[name])
                one = rates(alone[name], min(4, sizes[name]))
                rows.append(row | {"batch": "best", "texts": sizes[name], "texts_per_second": batched})
                rows.append(row | {"batch": "1", "texts": min(4, sizes[name]), "texts_per_second": one})
    return rows


def _one_by_one(contender: Contender, texts: Sequence[str], labels: Sequence[str]) -> Callable[[], object]:
    runs = [contender.prepare([text], labels) for text in texts]
    return lambda: [run() for run in runs]


def _best(measured: dict[str, Any], family: str) -> str | None:
    """Fastest contender of a family (`gliclass-8` is of `gliclass`); None if there is none."""
    names = [name for name in measured if name == family or name.startswith(f"{family}-")]
    return max(names, key=lambda name: measured[name]["texts_per_second"]["wall"]["median"], default=None)


def ratios(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The comparisons with a target, paired by round."""
    rows = []
    for title, part, fast, slow, least in TARGETS:
        other = _best(found[part], slow)
        if other is not None:
            a, b = found[part][fast], found[part][other]
            row = {"comparison": title, "against": other, "labels": a["labels"], "at_least": least}
            rows.append(row | {"times": ratio(a["rounds"], b["rounds"])})
    for key, rounds in found.get("attention", {}).items():
        shown, least = ATTENTION[key]
        row = {"comparison": f"DeBERTa fast path vs transformers, {shown}", "against": "transformers", "labels": None}
        rows.append(row | {"at_least": least, "times": ratio(rounds["fast"], rounds["transformers"])})
    if "training" in found:
        value = ratio(found["training"]["gliznet"], found["training"]["gliclass"])
        title = "GliZNet training vs the gliclass package's trainer"
        rows.append({"comparison": title, "against": "gliclass", "labels": None, "at_least": 1.3, "times": value})
    return rows
