"""Labels x text length x batch: rates beside the arithmetic."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.costs import CostModel
from benchmarks.setting import Contender
from benchmarks.timing import interleave, rates
from benchmarks.workloads import CountTokens, make_labels, make_texts

ALONE = 4  # texts scored one at a time
IN_ONE = 20  # labels that GliZNet puts in one sequence (its default)


def sweep(
    contenders: dict[str, Contender],
    costs: CostModel,
    spec: dict[str, Any],
    tokens: int,
    count: CountTokens,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Every number of labels on texts of one length, in batches and one text at a time.

    Args:
        contenders: by the name they have in the table.
        costs: arithmetic of the encoder.
        spec: the run's speed block: `sweep` (labels, texts, repeats, operations), `seed`.
        tokens: length of the texts.
        count: tokens of strings.
        say: progress.

    Returns:
        Rows of system, labels, tokens, batch, texts, operations a text, texts_per_second. A system gets as many texts
        as `operations` allow, at least one.
    """
    plan, rows = spec["sweep"], []
    pool = make_texts([tokens] * plan["texts"], count, spec["seed"])
    for size in plan["labels"]:
        say(f"{size} labels, {tokens} tokens")
        labels = make_labels(size, spec["seed"])
        need = operations(costs, tokens, float(np.mean(count(labels))), size)
        sizes = {name: int(np.clip(plan["operations"] / need[name], 1, len(pool))) for name in contenders}
        few = {name: min(ALONE, sizes[name]) for name in contenders}
        batched = interleave(
            {name: one.prepare(pool[: sizes[name]], labels) for name, one in contenders.items()}, plan["repeats"]
        )
        # One text in a batch is a text alone: not measured twice.
        alone = batched | interleave(
            {name: _one_by_one(one, pool[: few[name]], labels) for name, one in contenders.items() if few[name] > 1},
            plan["repeats"],
        )
        for name in contenders:
            row = {"system": name, "labels": size, "tokens": tokens, "operations": need[name]}
            for batch, texts, rounds in (("best", sizes[name], batched[name]), ("1", few[name], alone[name])):
                rows.append(row | {"batch": batch, "texts": texts, "texts_per_second": rates(rounds, texts)})
    return rows


def operations(costs: CostModel, tokens: float, label: float, labels: int) -> dict[str, float]:
    """Operations a text of each way of scoring; `label` is the mean tokens of a label."""
    return {
        "gliznet": costs.joint(tokens, label, labels, IN_ONE),
        "invariant": costs.invariant(tokens, label, labels),
        "apart": costs.separate(tokens),
        "gliclass": costs.joint(tokens, label, labels, labels),
        "nli-sorted": costs.pairwise(tokens, label + 5, labels),  # the template's own tokens
        "biencoder": costs.separate(tokens),
    }


def _one_by_one(contender: Contender, texts: Sequence[str], labels: Sequence[str]) -> Callable[[], object]:
    runs = [contender.prepare([text], labels) for text in texts]
    return lambda: [run() for run in runs]
