"""What is odd about a dataset, counted: the numbers on its card. Nothing is repaired or dropped here."""

from typing import Any

import pandas as pd

LONG_WORDS = 350  # about 512 word pieces: texts above it meet a 512-token limit


def quality(frame: pd.DataFrame, spec: dict[str, Any]) -> dict[str, Any]:
    """Counts over the whole published set, before any sampling.

    Args:
        frame: `split`, `text`, `gold` (list of label indices).
        spec: the preset (`labels`, `task`).

    Returns:
        rows, empty and duplicate texts, rows without gold, mean and 95th percentile of words, share of texts above
        `LONG_WORDS` words, and rows of each label.
    """
    words = frame["text"].str.split().map(len)
    counts = pd.Series([index for gold in frame["gold"] for index in gold], dtype="int64").value_counts()
    return {
        "rows": len(frame),
        "empty_texts": int((frame["text"].str.strip() == "").sum()),
        "duplicate_texts": int(frame["text"].duplicated().sum()),
        "rows_without_gold": int((frame["gold"].map(len) == 0).sum()),
        "words_mean": round(float(words.mean()), 1) if len(frame) else 0.0,
        "words_p95": round(float(words.quantile(0.95)), 1) if len(frame) else 0.0,
        "long_share": round(float((words > LONG_WORDS).mean()), 4) if len(frame) else 0.0,
        "rows_per_label": {label: int(counts.get(i, 0)) for i, label in enumerate(spec["labels"])},
    }
