"""Quality and cost of a system with 2 to 1,000 labels: the labels of a data set, plus distractors that are never gold.

`count_labels` stores the answers of a system and the input sizes of its encoder; `label_slopes` computes metrics and
slopes from them. All texts share one list of labels, and a shorter list is a prefix of a longer one, so all counts use
the same texts.

n texts, K labels.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zsbench.evaluation.sensitivity import subsample
from zsbench.evaluation.ties import winners
from zsbench.store.integrity import check_rows
from zsbench.store.layout import Layout
from zsbench.store.provenance import environment, file_sha256, read_json, write_json

SHORTEST = 3  # shorter words, such as "of", do not count as shared between labels


def label_list(set_labels: Sequence[str], pool: Sequence[str], most: int, seed: int) -> list[str]:
    """A data set's own labels, then distinct distractors in a seeded order, up to `most` labels in total.

    A label that shares a word with one of the data set's own may apply to a text, so it is not used as a distractor.

    Args:
        set_labels: the labels of the data set; all are kept, even if they are more than `most`.
        pool: labels of all data sets.
    """

    def words(label: str) -> set[str]:
        return {word for word in label.casefold().replace("_", " ").split() if len(word) >= SHORTEST}

    taken = {word for label in set_labels for word in words(label)}
    others = {label.casefold(): label for label in sorted(pool) if words(label) and taken.isdisjoint(words(label))}
    drawn = np.random.default_rng(seed).permutation(len(others))
    distractors = [list(others.values())[i] for i in drawn]
    return [*set_labels, *distractors][: max(most, len(set_labels))]


@dataclass
class Read:
    """Input of the encoders: tokens without padding, and sequences."""

    tokens: int = 0
    sequences: int = 0
    _inside: int = 0  # depth of nested model calls

    def enter(self, module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Forward pre-hook of a model: count its input, unless an enclosing model has already counted it."""
        if inputs and isinstance(inputs[0], Mapping):  # sentence-transformers pass a mapping
            given = inputs[0]
        else:
            given = {"input_ids": inputs[0], **named} if inputs else named
        ids, mask = given.get("input_ids"), given.get("attention_mask")
        if self._inside == 0 and ids is not None:
            if mask is not None and mask.shape == ids.shape:
                self._add(int(mask.sum()), len(ids))
            else:
                self._add(_unpadded(ids, _padding(module)), len(ids))
        self._inside += 1

    def leave(self, *_: Any) -> None:
        """Forward hook of a model; also called if the forward pass failed."""
        self._inside -= 1

    def embed(self, pad: int | None) -> Callable[..., None]:
        """A forward pre-hook for word embeddings that are used without their model (e.g. by a text cache)."""

        def count(_: Any, inputs: tuple[Any, ...]) -> None:
            if self._inside == 0:
                self._add(_unpadded(inputs[0], pad), len(inputs[0]))

        return count

    def _add(self, tokens: int, sequences: int) -> None:
        self.tokens += tokens
        self.sequences += sequences


def _padding(model: Any) -> int | None:
    """Id of the padding token, or None."""
    return getattr(getattr(model, "config", None), "pad_token_id", None)


def _unpadded(ids: Any, pad: int | None) -> int:
    return int((ids != pad).sum()) if pad is not None else ids.numel()


@contextmanager
def counting(system: Any) -> Iterator[Read | None]:
    """Count the input of a system's encoders; yields None for a system without encoders.

    Counts the inputs of models rather than embedding lookups, because a fast encoder looks up each distinct token once.
    Lookups count only outside of a model call.
    """
    read, hooks = Read(), []
    try:
        for model in encoders(system):
            hooks.append(model.register_forward_pre_hook(read.enter, with_kwargs=True))
            hooks.append(model.register_forward_hook(read.leave, always_call=True))
        for embeddings, pad in word_embeddings(system):
            hooks.append(embeddings.register_forward_pre_hook(read.embed(pad)))
        yield read if hooks else None
    finally:
        for hook in hooks:
            hook.remove()


def word_embeddings(system: Any) -> list[tuple[Any, int | None]]:
    """(module, padding id) of the word embeddings of every model, without duplicates."""
    models = [model for model in encoders(system) if hasattr(model, "get_input_embeddings")]
    embeddings = [(model.get_input_embeddings(), _padding(model)) for model in models]
    return list({id(module): (module, pad) for module, pad in embeddings if module is not None}.values())


def encoders(system: Any) -> list[Any]:
    """All transformers models in an adapter, also nested ones, and the modules that contain one, without duplicates.

    sentence-transformers call a model's `forward` directly, which bypasses its hooks; hooks on their own modules work.
    """
    from torch import nn
    from transformers import PreTrainedModel

    holders = [system, *(value for value in vars(system).values() if hasattr(value, "__dict__"))]
    held = [value for holder in holders for value in vars(holder).values()]
    modules = [value for value in [*holders, *held] if isinstance(value, nn.Module)]
    within = {id(one): one for module in modules for one in module.modules()}.values()
    return [one for one in within if any(isinstance(model, PreTrainedModel) for model in (one, *one.children()))]


def count_labels(root: Path, spec: dict[str, Any]) -> None:
    """Score a sample of each data set with increasing numbers of labels; writes `Layout.label_counts`.

    A count is skipped if the encoder would read more than `tokens` tokens. The prediction is what it read at the
    previous count times the ratio of the counts, so what is skipped does not depend on speed.

    Args:
        spec: `Plan.label_counts_spec`.
    """
    from zsbench.evaluation.scoring import CellError, faults
    from zsbench.jobs.runtime import prepare_torch, resolve_precision
    from zsbench.systems import load

    device, layout = prepare_torch(), Layout(Path(root))
    spec = spec | {"precision": resolve_precision(spec["precision"], device)}
    pool = [*spec["pool"], *_trained_on(layout, spec["training_sets"])]
    record: dict[str, Any] = {"spec": {**spec, "pool": len(pool)}, "sets": {}, "reason": "", "device": device}
    try:
        with faults():
            system = load.build(spec, layout)
            for dataset in spec["datasets"]:
                record["sets"][dataset] = _of_set(system, layout, dataset, pool, spec)
    except CellError as fault:
        record["sets"], record["reason"] = {}, fault.reason
    record |= {"environment": environment(), "volatile": ["environment", "seconds"]}
    write_json(layout.label_counts(spec["system"]), record)


def _trained_on(layout: Layout, names: list[str]) -> list[str]:
    """All positive and negative labels of the training sets."""
    frames = [
        pd.read_parquet(check_rows(layout.training_set(name)), columns=["labels", "not_labels"]) for name in names
    ]
    columns = [frame[column] for frame in frames for column in ("labels", "not_labels")]
    return sorted({str(label) for column in columns for labels in column for label in labels})


def _of_set(system: Any, layout: Layout, dataset: str, pool: list[str], spec: dict[str, Any]) -> dict[str, Any]:
    """Answers, encoder input and seconds for every count of one data set."""
    from zsbench.systems.texts import well_formed

    facts = read_json(layout.dataset_card(dataset))
    frame = pd.read_parquet(check_rows(layout.dataset(dataset)))
    frame = frame[frame["split"] == "test"]
    frame = frame.iloc[subsample(len(frame), spec["rows"], spec["rows_seed"])]
    texts, labels = (
        well_formed(frame["text"].tolist()),
        label_list(facts["labels"], pool, spec["counts"][-1], spec["rows_seed"]),
    )
    counts = [K for K in spec["counts"] if len(labels) >= K]
    measured: list[dict[str, Any]] = []
    before: tuple[int, int] | None = None  # (labels, tokens)
    cached = False
    for K in counts:
        predicted = before[1] * K / before[0] if before else 0
        if predicted > spec["tokens"]:
            words = f"about {predicted:,.0f} encoder tokens, over the budget of {spec['tokens']:,}"
            measured.append({"labels": K, "skipped": words})
            continue
        cached = keeps_labels(system, texts[0], labels[: counts[0]]) if before is None else cached
        result = measure_count(system, texts, labels[:K], list(frame["sample_id"]), cached)
        before = K, result["read"] or 0
        measured.append({"labels": K, "skipped": "", **result})
    return {
        "own": len(facts["labels"]),
        "available": len(labels),
        "rows_sha256": file_sha256(layout.dataset(dataset)),
        "gold": [int(gold[0]) for gold in frame["gold"]],
        "counts": measured,
    }


def keeps_labels(system: Any, text: str, labels: list[str]) -> bool:
    """Whether a second call with the same labels reads fewer tokens, i.e. whether the system caches labels."""
    with counting(system) as first:
        system.score([text], labels)
    with counting(system) as again:
        system.score([text], labels)
    return first is not None and again is not None and again.tokens < first.tokens


def measure_count(system: Any, texts: list[str], labels: list[str], rows: list[str], cached: bool) -> dict[str, Any]:
    """Answers (n,), encoder input and seconds for one list of labels.

    The first text is scored alone, with labels that the system has not seen, then all n texts. The second call minus
    the first is the input of n - 1 texts; if labels are cached (`cached`), the second call reads only the n texts.

    Args:
        rows: (n,) sample ids, which break ties.
    """

    def read(some: list[str]) -> tuple[Read | None, np.ndarray, float]:
        with counting(system) as count:
            started = time.perf_counter()
            scores = np.asarray(system.score(some, labels))
            return count, scores, time.perf_counter() - started

    first, _, _ = read(texts[:1])
    whole, scores, seconds = read(texts)
    result = {"answers": winners(scores, rows, labels).tolist(), "seconds": seconds}
    if first is None or whole is None:
        return result | dict.fromkeys(("read", "tokens", "sequences", "first_tokens"))
    before, further = (Read(), len(texts)) if cached else (first, max(1, len(texts) - 1))
    return result | {
        "read": whole.tokens,
        "tokens": (whole.tokens - before.tokens) / further,
        "sequences": (whole.sequences - before.sequences) / further,
        "first_tokens": first.tokens,
    }
