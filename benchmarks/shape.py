"""All measurements of one encoder, part by part."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoTokenizer

from benchmarks.compiled import measure_compiled
from benchmarks.contenders import build_contenders
from benchmarks.costs import CostModel
from benchmarks.hybrid import measure_heads, measure_nli
from benchmarks.measures import best_size, gate, measure_ceiling, measure_latency, measure_mixed
from benchmarks.parts import Parts
from benchmarks.ratios import ratios
from benchmarks.setting import Contender, Setting
from benchmarks.sweep import sweep
from benchmarks.timing import summary
from benchmarks.training import measure_attention, measure_training
from benchmarks.workloads import CountTokens, make_labels, make_texts, mixed_lengths
from zsbench.store.progress import progress_logger

SWEPT = ("gliznet", "invariant", "apart", "gliclass", "nli-sorted", "biencoder")


class Shape:
    """An encoder with its contenders (built on first use), texts and labels.

    Args:
        setting: the shared conditions.
        spec: the run's `speed` block.
        name: "own" (the configured backbone) or "deberta" (a random DeBERTa of its size).
    """

    def __init__(self, setting: Setting, spec: dict[str, Any], name: str) -> None:
        self.setting, self.spec, self.name, self.mixed = setting, spec, name, spec["mixed"]
        self.say = progress_logger(f"speed: {name}")
        self.config = AutoConfig.from_pretrained(setting.backbone, trust_remote_code=False)
        self.count = _counter(setting.backbone)
        lengths = mixed_lengths(
            self.mixed["texts"], self.mixed["mean_tokens"], self.mixed["max_tokens"] - 2, spec["seed"]
        )
        self.texts = make_texts(lengths, self.count, spec["seed"])
        self.few = self.texts[: self.mixed["slow_texts"]]  # for contenders that score pairs
        self.labels = make_labels(self.mixed["labels"], spec["seed"])

    @cached_property
    def contenders(self) -> dict[str, Contender]:
        """The contenders by name."""
        return {one.name: one for one in build_contenders(self.setting)}

    def _named(self, *names: str | None) -> dict[str, Contender]:
        return {name: self.contenders[name] for name in names if name is not None}

    def measure(self, parts: Parts) -> dict[str, Any]:
        """Measure every part that is not stored yet; returns all results, with the ratios."""
        tokens = [float(value) for value in self.count(self.texts)]
        found: dict[str, Any] = {"model": self.config.model_type}
        found["tokens"] = summary(tokens) | {"mean": float(np.mean(tokens))}

        def part(name: str, measure: Any) -> None:
            found[name] = parts.get(f"{self.name}-{name}", measure)

        part("gate", self._gate)
        # Depends on the device, not the shape, so it is measured once.
        found["ceiling"] = parts.get("ceiling", lambda: measure_ceiling(self.setting.device, self.setting.precision))
        part("sizes", self._sizes)
        sizes = found["sizes"]
        packaged, piped = (
            max(sizes[one], key=sizes[one].__getitem__, default=None) for one in ("gliclass", "pipeline")
        )
        repeats = self.mixed["repeats"]
        joint = ("gliznet", "invariant", "apart", packaged, "bare", "biencoder")
        part("mixed", lambda: measure_mixed(self._named(*joint), self.texts, self.labels, repeats))
        part("padded", self._padded)
        pairs = ("gliznet", "invariant", "apart", "nli-sorted", piped)
        part("pairs", lambda: measure_mixed(self._named(*pairs), self.few, self.labels, repeats))
        part("many", lambda: self._many(*pairs))
        latency = ("gliznet", "reference", packaged, "nli-sorted", piped, "biencoder")
        part("latency", lambda: self._latency(*latency))
        if self.config.model_type == "deberta-v2":
            part(
                "attention",
                lambda: measure_attention(self.setting, [int(t) + 2 for t in tokens][: len(self.few)], repeats),
            )
        if self.spec["compiled"] is not None and self.name == self.spec["shapes"][0]:  # compiling takes minutes
            part("compiled", self._compiled)
        training, hybrid = self.spec["training"], self.spec["hybrid"]
        if packaged:
            part("training", lambda: measure_training(self.setting, **training))
        part("nli", lambda: measure_nli(self.setting, hybrid["nli_rows"], hybrid["nli_repeats"]))
        part("heads", lambda: measure_heads(self.setting, hybrid["rows"], hybrid["epochs"], hybrid["repeats"]))
        for length in self.spec["sweep"]["tokens"]:
            part(f"sweep-{length}", lambda length=length: self._sweep(length, packaged))
        found["sweep"] = [row for length in self.spec["sweep"]["tokens"] for row in found.pop(f"sweep-{length}")]
        for one in ("mixed", "padded", "pairs", "many"):
            self._add_share(found[one].values(), found["ceiling"])
        return found | {"ratios": ratios(found)}

    def _add_share(self, contenders: Iterable[dict[str, Any]], ceiling: float) -> None:
        """Add the fraction of the device's matrix product rate that each encoder reaches, if its pairs are known."""
        costs = CostModel.of(self.config)
        for one in contenders:
            if one["encoder_pairs"] is not None:
                needed = costs.encoder(one["encoder_tokens"], one["encoder_pairs"])
                seconds = one["texts"] / one["texts_per_second"]["wall"]["median"]
                one["share_of_ceiling"] = needed / seconds / ceiling

    def _gate(self) -> dict[str, Any]:
        return gate(self.contenders, self.texts[: self.spec["gate_texts"]], self.labels, self.setting.precision)

    def _sizes(self) -> dict[str, dict[str, float]]:
        """Texts per second of the other packages' pipelines for each batch size, on this machine."""
        return {
            family: best_size(self.contenders, family, self.few, self.labels) for family in ("gliclass", "pipeline")
        }

    def _padded(self) -> dict[str, Any]:
        texts = self.texts[: self.mixed["padded_texts"][self.name]]
        return measure_mixed(self._named("gliznet", "reference"), texts, self.labels, self.mixed["many_repeats"])

    def _many(self, *names: str | None) -> dict[str, Any]:
        labels = make_labels(self.mixed["many_labels"], self.spec["seed"])
        texts = self.texts[: self.mixed["many_texts"]]
        return measure_mixed(self._named(*names), texts, labels, self.mixed["many_repeats"])

    def _compiled(self) -> dict[str, Any]:
        asked = self.spec["compiled"]
        lengths = [tokens + 2 for tokens in self.count(self.texts[: asked["texts"]])]  # [CLS] and [SEP]
        return measure_compiled(self.setting, lengths, asked["repeats"])

    def _latency(self, *names: str | None) -> dict[str, Any]:
        return measure_latency(self._named(*names), self.texts[: self.spec["latency_texts"]], self.labels)

    def _sweep(self, tokens: int, packaged: str | None) -> list[dict[str, Any]]:
        own = {name: packaged if name == "gliclass" else name for name in SWEPT}
        swept = {name: self.contenders[one] for name, one in own.items() if one is not None}
        return sweep(swept, CostModel.of(self.config), self.spec, tokens, self.count, self.say)


def _counter(backbone: Path) -> CountTokens:
    tokenizer = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)
    return lambda texts: [
        len(ids) for ids in tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    ]
