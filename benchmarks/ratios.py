"""The comparisons that have a target: the parts they use, and the minimum speed-up."""

from typing import Any

from benchmarks.timing import ratio

# (comparison, part, fast, slow, minimum speed-up); in `part`, both scored the same texts in the same rounds.
TARGETS = (
    ("GliZNet vs gliclass pipeline (its best batch)", "mixed", "gliznet", "gliclass", 3.0),
    ("GliZNet vs one padded batch in input order", "padded", "gliznet", "reference", 7.0),
    ("GliZNet vs bare encoder at the same batches", "mixed", "gliznet", "bare", 0.9),
    ("GliZNet vs transformers zero-shot pipeline", "pairs", "gliznet", "pipeline", 12.0),
    ("GliZNet vs transformers zero-shot pipeline, many labels", "many", "gliznet", "pipeline", 25.0),
    ("GliZNet order-invariant vs transformers zero-shot pipeline", "pairs", "invariant", "pipeline", 12.0),
    ("GliZNet order-invariant vs transformers zero-shot pipeline, many labels", "many", "invariant", "pipeline", 25.0),
    ("GliZNet, labels apart (the warm start) vs gliclass pipeline", "mixed", "apart", "gliclass", 3.0),
    ("GliZNet, labels apart vs transformers zero-shot pipeline", "pairs", "apart", "pipeline", 12.0),
    ("GliZNet, labels apart vs transformers zero-shot pipeline, many labels", "many", "apart", "pipeline", 25.0),
)
# (comparison, part, its entry or None, fast, slow, minimum speed-up), for measurements other than scoring mixed texts.
OTHERS = (
    ("DeBERTa fast path vs transformers, 1 x 32 tokens", "attention", "one-short", "fast", "transformers", 2.5),
    ("DeBERTa fast path vs transformers, mixed batches", "attention", "mixed", "fast", "transformers", 1.5),
    ("DeBERTa fast path vs transformers, training step", "attention", "training", "fast", "transformers", 1.3),
    ("flashdeberta vs transformers, mixed batches", "attention", "mixed", "flashdeberta", "transformers", 1.0),
    ("GliZNet training vs the gliclass package's trainer", "training", None, "gliznet", "gliclass", 1.3),
    ("HybridNLI's NLI pass vs transformers zero-shot pipeline at batch 8", "nli", None, "store", "pipeline-8", 3.0),
    ("HybridNLI's heads from the store vs encoding in every epoch", "heads", None, "store", "reencoding", 10.0),
)


def best(measured: dict[str, Any], family: str) -> str | None:
    """Fastest contender of a family (`gliclass-8` belongs to `gliclass`); None if there is none."""
    names = [name for name in measured if name == family or name.startswith(f"{family}-")]
    return max(names, key=lambda name: measured[name]["texts_per_second"]["wall"]["median"], default=None)


def ratios(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Every comparison that was measured, paired by round.

    Args:
        found: the measured parts of a shape.

    Returns:
        Rows with comparison, against, labels, at_least, rounds, times (wall and cpu: median, low, high).
    """
    rows = []
    for title, part, fast, slow, least in TARGETS:
        other = best(found[part], slow)
        if other is not None:
            a, b = found[part][fast], found[part][other]
            row = _row(title, other, a["labels"], least, a["rounds"], b["rounds"])
            # The speed-up explained by fewer tokens; the rest is time per token, and work outside the encoder.
            rows.append(row | {"times_tokens": b["encoder_tokens"] / a["encoder_tokens"]})
    for title, part, entry, fast, slow, least in OTHERS:
        rounds = found.get(part, {}) if entry is None else found.get(part, {}).get(entry, {})
        if fast in rounds:
            rows.append(_row(title, slow, None, least, rounds[fast], rounds[slow]))
    return rows


def _row(title: str, against: str, labels: int | None, least: float, fast: Any, slow: Any) -> dict[str, Any]:
    row = {"comparison": title, "against": against, "labels": labels, "at_least": least, "rounds": len(fast)}
    return row | {"times": ratio(fast, slow)}
