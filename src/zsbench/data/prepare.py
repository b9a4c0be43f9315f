"""From fetched files, prepare the rows that all systems are scored on, and the card of the data set."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zsbench.data.errors import DataError
from zsbench.data.fetched import open_fetched
from zsbench.data.gold import gold_indices
from zsbench.data.readers import check_counts, check_texts, read_files
from zsbench.store.integrity import write_rows
from zsbench.store.provenance import digest, file_sha256, write_atomic, write_json

LONG_WORDS = 350  # about 512 word pieces; longer texts exceed a 512-token limit


def stratified_sample(gold: list[list[int]], rows: int, seed: int) -> np.ndarray:
    """Sorted indices of a seeded sample with the gold proportions of the whole set.

    Every stratum (a distinct gold list) gets its proportional share by largest remainder, and at least one row if
    `rows` allows it. Not the first N rows, because files are often sorted by class.
    """
    keys = [tuple(labels) for labels in gold]
    if rows >= len(keys):
        return np.arange(len(keys))
    strata: dict[tuple[int, ...], list[int]] = {key: [] for key in sorted(set(keys))}
    for i, key in enumerate(keys):
        strata[key].append(i)
    ideal = {key: rows * len(members) / len(keys) for key, members in strata.items()}
    share = {key: int(value) for key, value in ideal.items()}
    by_remainder = sorted(strata, key=lambda key: (share[key] > 0, share[key] - ideal[key], key))
    for key in by_remainder[: rows - sum(share.values())]:
        share[key] += 1
    generator = np.random.default_rng(seed)
    picked = [generator.choice(members, size=share[key], replace=False) for key, members in strata.items()]
    return np.sort(np.concatenate(picked))


def sample_ids(texts: list[str]) -> list[str]:
    """Stable ids: a hash of the text plus a counter among equal texts, so ids do not change if a file is reordered."""
    seen: dict[str, int] = {}
    ids = []
    for text in texts:
        base = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        ids.append(f"{base}-{seen.setdefault(base, 0)}")
        seen[base] += 1
    return ids


def published_parts(rows: int, seed: int, validation_share: float | None = None) -> list[str]:
    """Split name of each row of the published topic benchmark, whose publisher shuffles a single file with a seed.

    Args:
        seed: seed of the publisher's shuffle.
        validation_share: None for the publisher's train and validation splits. Otherwise, the publisher's validation
            rows become `test`, and this fraction of the training rows, the last of the shuffle, becomes `validation`,
            so that neither weights nor thresholds are fitted on the reported rows.
    """
    from hybridnli.data import published_split

    train, last = published_split(rows, seed)
    splits = np.full(rows, "train", dtype=object)
    splits[last] = "validation" if validation_share is None else "test"
    if validation_share is not None:
        splits[train[len(train) - round(len(train) * validation_share) :]] = "validation"
    return splits.tolist()


def quality(frame: pd.DataFrame, spec: dict[str, Any]) -> dict[str, Any]:
    """Statistics of the whole published set, before any sampling.

    Args:
        frame: `split`, `text`, `gold` (list of label indices); at least one row.
        spec: the preset (`labels`, `task`).

    Returns:
        Numbers of rows, empty texts, duplicate texts and rows without gold; mean and 95th percentile of words per text;
        share of texts above `LONG_WORDS` words; rows per label.
    """
    words = frame["text"].str.split().map(len)
    counts = pd.Series([index for gold in frame["gold"] for index in gold], dtype="int64").value_counts()
    return {
        "rows": len(frame),
        "empty_texts": int((frame["text"].str.strip() == "").sum()),
        "duplicate_texts": int(frame["text"].duplicated().sum()),
        "rows_without_gold": int((frame["gold"].map(len) == 0).sum()),
        "words_mean": round(float(words.mean()), 1),
        "words_p95": round(float(words.quantile(0.95)), 1),
        "long_share": round(float((words > LONG_WORDS).mean()), 4),
        "rows_per_label": {label: int(counts.get(i, 0)) for i, label in enumerate(spec["labels"])},
    }


def read_rows(spec: dict[str, Any], manifest_path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """All rows of a preset (`split`, `text`, `gold` as a list of label indices) and the source's manifest."""
    folder, manifest = open_fetched(manifest_path)
    frames, column = [], spec["gold"]["column"]
    for split, name, frame in read_files(spec, folder, spec["files"], [spec["text"], column]):
        texts, where = frame[spec["text"]], f"{name}: column {column!r}"
        check_texts(texts, f"{name}: column {spec['text']!r}")
        gold = gold_indices(frame[column], spec["gold"], len(spec["labels"]), spec["task"], where)
        splits: str | list[str] = split
        if "published_split" in spec:
            splits = published_parts(len(frame), spec["published_split"], spec.get("validation_share"))
        frames.append(pd.DataFrame({"split": splits, "text": texts.to_list(), "gold": gold}))
    return pd.concat(frames, ignore_index=True), manifest


def prepare_dataset(spec: dict[str, Any], manifest_path: Path, rows_path: Path, card_path: Path) -> None:
    """Write `rows.parquet` (`sample_id`, `split`, `text`, `gold`; sorted by `sample_id`) and `card.json` of a test set.

    Args:
        spec: the preset plus the suite's `rows` (None for all) and `sample_seed`.

    Raises:
        DataError: a split without rows to score, or a number of rows other than the preset's `expected_rows`.
    """
    frame, manifest = read_rows(spec, manifest_path)
    check_counts("datasets", frame, spec, manifest)
    if spec["task"] == "single":
        # Rows without a label (a neutral rating, no gold) cannot be scored; they are counted, not assigned to class 0.
        judged = frame["gold"].map(len) == 1
    else:
        judged = pd.Series(True, index=frame.index)
    for split in frame["split"].unique():
        if not judged[frame["split"] == split].any():
            raise DataError(f"{spec['id']}: no rows left to score in split {split!r}: none has a gold label")
    whole = quality(frame, spec)
    frame = frame[judged].reset_index(drop=True)
    if spec["rows"] is not None:
        samples = [
            rows.iloc[stratified_sample(rows["gold"].to_list(), spec["rows"], spec["sample_seed"])]
            for _, rows in frame.groupby("split", sort=False)
        ]
        frame = pd.concat(samples, ignore_index=True)
    frame.insert(0, "sample_id", sample_ids(frame["text"].to_list()))
    # Files are often sorted by class. Ids are hashes of texts, so sorting by id makes row numbers independent of gold.
    frame = frame.sort_values("sample_id", ignore_index=True)
    write_atomic(rows_path, lambda path: write_rows(path, frame))
    card = {
        "id": spec["id"],
        "title": spec["title"],
        "origin": manifest["origin"],
        "revision": manifest["revision"],
        "files": manifest["files"],
        "verified": manifest["verified"],
        "replica": manifest.get("replica", False),
        "licence": spec["licence"],
        "redistribute": spec.get("redistribute", True),
        "citation": spec["citation"],
        "note": spec.get("note", ""),
        "domain": spec["domain"],
        "task": spec["task"],
        "labels": spec["labels"],
        "label_names": spec["label_names"],
        "labels_digest": digest(spec["labels"]),
        "verbalisation": spec["verbalisation"],
        "rows": frame["split"].value_counts().to_dict(),
        "sample": None if spec["rows"] is None else {"rows": spec["rows"], "seed": spec["sample_seed"]},
        "rows_sha256": file_sha256(rows_path),
        "quality": whole,
    }
    write_json(card_path, card)
