"""All measurements of one encoder, part by part."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoTokenizer

from benchmarks.contenders import build_contenders
from benchmarks.costs import CostModel
from benchmarks.measures import Products, fastest, gate, measure_mixed
from benchmarks.parts import Parts
from benchmarks.ratios import DEFAULTS, ratios
from benchmarks.setting import Contender, Setting
from benchmarks.sweep import sweep
from benchmarks.timing import clock_of
from benchmarks.training import measure_attention, measure_training
from benchmarks.workloads import CountTokens, make_labels, make_texts, mixed_lengths
from hybridnli.data import TOPICS
from zsbench.data.authored_sets import TOPICS as TOPIC_TEXTS
from zsbench.data.authored_sets import read_authored
from zsbench.store.progress import progress_logger

SWEPT = ("gliznet", "invariant", "apart", "gliclass", "nli-sorted", "biencoder")
TOPIC_LABELS = (5, 10)  # the published topics, and as many more


class Shape:
    """An encoder with its contenders (built on first use), texts and labels.

    Args:
        setting: the shared conditions.
        spec: the run's `speed` block.
        name: "own" (the configured backbone) or "deberta" (a random DeBERTa of its size).
        products: the large matrix product of each precision.
    """

    def __init__(self, setting: Setting, spec: dict[str, Any], name: str, products: dict[str, Products]) -> None:
        self.spec, self.name, self.mixed, self.products = spec, name, spec["mixed"], products
        self.settings = {precision: replace(setting, precision=precision) for precision in spec["precisions"]}
        self.clock, self.repeats = clock_of(setting.device), spec["repeats"]
        self.say = progress_logger(f"speed: {name}")
        self.config = AutoConfig.from_pretrained(setting.backbone, trust_remote_code=False)
        self.count = _counter(setting.backbone)
        self.lengths = mixed_lengths(
            self.mixed["texts"], self.mixed["mean_tokens"], self.mixed["max_tokens"] - 2, spec["seed"]
        )
        self.texts = make_texts(self.lengths, self.count, spec["seed"])
        self.labels = make_labels(self.mixed["labels"], spec["seed"])

    @cached_property
    def contenders(self) -> dict[str, Contender]:
        """The contenders by name and precision: "gliznet/fp32"."""
        return {
            f"{one.name}/{precision}": one
            for precision, setting in self.settings.items()
            for one in build_contenders(setting)
        }

    def _named(self, *names: str) -> dict[str, Contender]:
        """Contenders by name, in every precision unless the name has one."""
        wanted = [name if "/" in name else f"{name}/{one}" for name in names for one in self.settings]
        return {name: self.contenders[name] for name in dict.fromkeys(wanted) if name in self.contenders}

    def measure(self, parts: Parts) -> dict[str, Any]:
        """Measure every part that is not stored yet; returns all results, with the ratios."""
        tokens = [int(value) for value in self.count(self.texts)]
        found: dict[str, Any] = {"model": self.config.model_type, "tokens": {"mean": float(np.mean(tokens))}}

        def part(name: str, measure: Any) -> None:
            found[name] = parts.get(f"{self.name}-{name}", measure)

        part("gate", self._gate)
        part("best", self._best)
        packaged, piped = found["best"]["gliclass"], found["best"]["pipeline"]
        part("mixed", lambda: self._mixed(packaged))
        few, many = (self.mixed[f"{size}_texts"] for size in ("slow", "many"))
        part("pairs", lambda: self._pairs(("gliznet", "apart"), piped, few, self.mixed["labels"]))
        part("many", lambda: self._pairs(("apart",), piped, many, self.mixed["many_labels"]))
        for labels in TOPIC_LABELS:
            part(f"nli-{labels}", lambda labels=labels: self._topics(labels))
        if self.config.model_type == "deberta-v2":
            part("attention", lambda: {name: self._attention(one, tokens) for name, one in self.settings.items()})
        part("training", lambda: {name: self._training(one) for name, one in self.settings.items()})
        for length in self.spec["sweep"]["tokens"]:
            part(f"sweep-{length}", lambda length=length: self._sweep(length, packaged))
        found["sweep"] = [row for length in self.spec["sweep"]["tokens"] for row in found.pop(f"sweep-{length}")]
        every = self.spec["training"]["norms_every"]
        return found | {"ratios": ratios(found, list(self.settings), self.clock, every)}

    def _gate(self) -> dict[str, Any]:
        texts = self.texts[: self.spec["gate_texts"]]
        return {
            precision: gate({one.name: one for one in self._in(precision).values()}, texts, self.labels, precision)
            for precision in self.settings
        }

    def _in(self, precision: str) -> dict[str, Contender]:
        return {name: one for name, one in self.contenders.items() if name.endswith(f"/{precision}")}

    def _best(self) -> dict[str, list[str]]:
        """The fastest batch size of the other packages' pipelines on this machine, in each precision."""
        found: dict[str, list[str]] = {"gliclass": [], "pipeline": []}
        sizes = {"gliclass": max(self.spec["gliclass_batches"]), "pipeline": self.mixed["slow_texts"]}
        for family, texts in sizes.items():
            for precision in self.settings:
                runs = {
                    name: one.prepare(self.texts[:texts], self.labels)
                    for name, one in self._in(precision).items()
                    if name.startswith(f"{family}-")
                }
                found[family] += [fastest(runs, self.clock)] if runs else []
        return found

    def _mixed(self, packaged: list[str]) -> dict[str, Any]:
        """All texts, scored in one pass each; with the operations of the real tokens, if their pairs are known."""
        chosen = self._named("gliznet", "invariant", "apart", *packaged, DEFAULTS["gliclass"])
        products = {f"products/{precision}": one for precision, one in self.products.items()}
        found = measure_mixed(chosen, self.texts, self.labels, self.repeats, products)
        costs = CostModel.of(self.config)
        for name in chosen:
            if found[name]["real_pairs"] is not None:
                found[name]["operations"] = costs.encoder(found[name]["real_tokens"], found[name]["real_pairs"])
        for name, one in products.items():
            found[name] |= {"operations": one.operations, "way": one.way}
        return found

    def _pairs(self, ours: tuple[str, ...], piped: list[str], few: int, labels: int) -> dict[str, Any]:
        """Texts of a few lengths in turn; the pipeline, whose time is proportional to texts, scores one of each."""
        quantiles = np.quantile(self.lengths, (np.arange(few) + 0.5) / few).astype(int).tolist()
        texts = make_texts(quantiles * max(1, self.mixed["texts"] // few), self.count, self.spec["seed"])
        names = make_labels(labels, self.spec["seed"])
        return measure_mixed(self._named(*ours, *piped), texts, names, self.repeats, few=dict.fromkeys(piped, few))

    def _topics(self, labels: int) -> dict[str, Any]:
        """The NLI pass of HybridNLI: topic texts with descriptions, and the pipeline at each batch size."""
        texts = [row["text"] for row in read_authored(TOPIC_TEXTS)[: self.spec["hybrid"]["nli_rows"]]]
        more = [f"This text is about {name}" for name in make_labels(labels, self.spec["seed"])]
        descriptions = [*TOPICS.descriptions.values(), *more][:labels]
        piped = [name for name in self.contenders if name.startswith("pipeline-")]
        return measure_mixed(self._named("nli-sorted", *piped), texts, descriptions, self.repeats)

    def _attention(self, setting: Setting, tokens: list[int]) -> dict[str, Any]:
        lengths = [length + 2 for length in tokens]  # [CLS] and [SEP]
        return measure_attention(setting, lengths, self.repeats, training=False)

    def _training(self, setting: Setting) -> dict[str, Any]:
        plan, products = self.spec["training"], self.products[setting.precision]
        norms = self.name == self.spec["shapes"][0]  # their share hardly depends on the encoder
        return measure_training(setting, products, plan["steps"], plan["batch"], self.repeats, norms)

    def _sweep(self, tokens: int, packaged: list[str]) -> list[dict[str, Any]]:
        """The first precision only."""
        precision = next(iter(self.settings))
        own = {name: f"{name}/{precision}" for name in SWEPT if name != "gliclass"}
        own |= dict(zip(["gliclass"], packaged, strict=False))  # of the first precision
        swept = {name: self.contenders[own[name]] for name in SWEPT if name in own}
        return sweep(swept, CostModel.of(self.config), self.spec, tokens, self.count, self.say)


def _counter(backbone: Path) -> CountTokens:
    tokenizer = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)
    return lambda texts: [
        len(ids) for ids in tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    ]
