"""Sweep over number of labels and text length: measured rates next to operation counts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.costs import CostModel
from benchmarks.setting import Contender
from benchmarks.timing import interleave, rates
from benchmarks.workloads import CountTokens, make_labels, make_texts

IN_ONE = 20  # maximum labels per sequence in GliZNet (its default)


def sweep(
    contenders: dict[str, Contender],
    costs: CostModel,
    spec: dict[str, Any],
    tokens: int,
    count: CountTokens,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Every number of labels with texts of one length.

    Args:
        contenders: contenders by their name in the table.
        costs: operation counts of the encoder.
        spec: the run's `speed` block: `sweep` (labels, texts, operations), `repeats`, `seed`.
        tokens: length of the texts.
        count: counts the tokens of strings.
        say: called with progress lines.

    Returns:
        Rows with system, labels, tokens, texts, operations (per text), texts_per_second. A system scores as many
        texts as `operations` allows, at least one.
    """
    plan, rows = spec["sweep"], []
    pool = make_texts([tokens] * plan["texts"], count, spec["seed"])
    for size in plan["labels"]:
        say(f"{size} labels, {tokens} tokens")
        labels = make_labels(size, spec["seed"])
        need = operations(costs, tokens, float(np.mean(count(labels))), size)
        sizes = {name: int(np.clip(plan["operations"] / need[name], 1, len(pool))) for name in contenders}
        found = interleave(
            {name: one.prepare(pool[: sizes[name]], labels) for name, one in contenders.items()}, spec["repeats"]
        )
        for name, rounds in found.items():
            row = {"system": name, "labels": size, "tokens": tokens, "operations": need[name], "texts": sizes[name]}
            rows.append(row | {"texts_per_second": rates(rounds, sizes[name])})
    return rows


def operations(costs: CostModel, tokens: float, label: float, labels: int) -> dict[str, float]:
    """Operations per text for each way of scoring; `label` is the mean number of tokens per label."""
    return {
        "gliznet": costs.joint(tokens, label, labels, IN_ONE),
        "invariant": costs.invariant(tokens, label, labels),
        "apart": costs.separate(tokens),
        "gliclass": costs.joint(tokens, label, labels, labels),
        "nli-sorted": costs.pairwise(tokens, label + 5, labels),  # plus 5 tokens of the template
        "biencoder": costs.separate(tokens),
    }
