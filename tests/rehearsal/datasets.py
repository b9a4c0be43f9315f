"""Replicas of data repositories: the publisher's file layout and column types with a few dozen made-up rows."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.rehearsal.words import sentence, themed_texts

ROWS = 24  # rows of a replica with few labels; with many labels, two per label
LONG_SETS = ("imdb", "20-newsgroups")  # their published texts exceed a 512-token limit
TOPIC_ROWS = 80
TRAINING_ROWS = {"train": 18, "validation": 8, "test": 12}  # of a file; two of train: two steps of 16, four rows left

Rows = dict[str, list[Any]]  # column -> values
Preset = dict[str, Any]


def _labelled(preset: Preset, words: str) -> tuple[list[str], list[int], list[str]]:
    """Texts, label indices and label words (`verbalisations.<words>`) of a single-label set, sorted by class."""
    labels = preset["verbalisations"][words]
    number = max(ROWS, 2 * len(labels))
    gold = sorted(i % len(labels) for i in range(number))  # publishers often sort by class
    texts = themed_texts(preset["source"], gold, long=preset["source"] in LONG_SETS)
    if preset["source"] == "20-newsgroups":
        texts[5] = ""  # as if the publisher had stripped it
    return texts, gold, labels


def setfit(preset: Preset) -> Rows:
    """SetFit's layout: text, label, label_text."""
    words = "raw" if preset["gold"]["column"] == "label_text" else "plain"
    texts, gold, labels = _labelled(preset, words)
    return {"text": texts, "label": gold, "label_text": [labels[i] for i in gold]}


def enron(preset: Preset) -> Rows:
    """SetFit/enron_spam: the parts of the message in addition to the common columns."""
    rows = setfit(preset)
    generator = random.Random("enron")
    subjects = [sentence(generator, i, 4) for i in rows["label"]]
    return {
        "message_id": list(range(len(subjects))),
        "text": [f"{subject} {text}" for subject, text in zip(subjects, rows["text"], strict=True)],
        "label": rows["label"],
        "label_text": rows["label_text"],
        "subject": subjects,
        "message": rows["text"],
        "date": ["2001-01-01"] * len(subjects),
    }


def massive(preset: Preset) -> Rows:
    """SetFit/amazon_massive_intent: an id in addition to the common columns."""
    rows = setfit(preset)
    return {"id": [str(i) for i in range(len(rows["text"]))], **rows}


def topics(preset: Preset) -> Rows:
    """The published topic benchmark: text and a list of label names; cycles through all label combinations."""
    names = preset["gold"]["values"]
    sets = [[name for k, name in enumerate(names) if (i * 11 % 31 + 1) >> k & 1] for i in range(TOPIC_ROWS)]
    texts = themed_texts(preset["source"], [names.index(found[0]) for found in sets])
    return {"text": texts, "labels": sets}


def hardset(file: str) -> Rows:
    """ZSHOT-HARDSET-v2: text, true labels, plausible false labels, the generator's tag."""
    split, generator = file.partition("-")[0], random.Random(f"hardset {file}")
    kinds = [
        f"{a}_{b}"
        for a in ("calm", "formal", "hidden", "public", "doubtful")
        for b in ("tone", "claim", "plan", "memory")
    ]
    rows: Rows = {"text": [], "labels": [], "not_labels": [], "model": []}
    for i in range(TRAINING_ROWS[split]):
        drawn = generator.sample(kinds, 9)
        true = generator.randint(2, 4)
        rows["text"].append(sentence(generator, i, generator.randint(8, 30)))
        rows["labels"].append(sorted(drawn[:true]))
        rows["not_labels"].append(sorted(drawn[true:]))
        rows["model"].append("replica")
    return rows


def write_jsonl(path: Path, rows: Rows) -> None:
    """One JSON object per line."""
    lines = [json.dumps(dict(zip(rows, values, strict=True))) for values in zip(*rows.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_json(path: Path, rows: Rows) -> None:
    """A single list of JSON objects."""
    table = [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    path.write_text(json.dumps(table, indent=2), encoding="utf-8")


def write_parquet(path: Path, rows: Rows, classes: list[str] | None = None) -> None:
    """A parquet file as written by the `datasets` library, with feature types in its metadata.

    Args:
        path: the file.
        rows: columns; lists of strings stay lists.
        classes: class names of the column `label`.
    """
    from datasets import ClassLabel, Dataset, Features, List, Value

    features = {
        name: List(Value("string")) if isinstance(values[0], list) else Value("string") for name, values in rows.items()
    }
    if classes is not None:
        features["label"] = ClassLabel(names=classes)
    Dataset.from_dict(rows, features=Features(features)).to_parquet(path)


def class_parquet(text: str, classes: list[str]) -> Callable[[Preset, Path], None]:
    """Writer of a parquet set with a text column and a ClassLabel."""

    def write(preset: Preset, path: Path) -> None:
        texts, gold, _ = _labelled(preset, "plain")
        write_parquet(path, {text: texts, "label": gold}, classes)

    return write


POLARITY = ["neg", "pos"]
WRITERS: dict[str, Callable[[Preset, Path], None]] = {  # repository -> writer of one of its files
    "SetFit/CR": lambda preset, path: write_jsonl(path, setfit(preset)),
    "SetFit/sst2": lambda preset, path: write_jsonl(path, setfit(preset)),
    "SetFit/sst5": lambda preset, path: write_jsonl(path, setfit(preset)),
    "SetFit/20_newsgroups": lambda preset, path: write_jsonl(path, setfit(preset)),
    "SetFit/enron_spam": lambda preset, path: write_jsonl(path, enron(preset)),
    "SetFit/amazon_massive_intent_en-US": lambda preset, path: write_jsonl(path, massive(preset)),
    "mteb/banking77": lambda preset, path: write_jsonl(path, setfit(preset)),
    "stanfordnlp/imdb": class_parquet("text", POLARITY),
    "cornell-movie-review-data/rotten_tomatoes": class_parquet("text", POLARITY),
    "fancyzhx/ag_news": class_parquet("text", ["World", "Sports", "Business", "Sci/Tech"]),
    "dair-ai/emotion": class_parquet("text", ["sadness", "joy", "love", "anger", "fear", "surprise"]),
    "takala/financial_phrasebank": class_parquet("sentence", ["negative", "neutral", "positive"]),
    "alexneakameni/ZSHOT-HARDSET-v2": lambda preset, path: write_parquet(path, hardset(path.name)),
    "darkangrycoder/zero-shot-multilabel-nli": lambda preset, path: write_json(path, topics(preset)),
}


FILES = {  # repositories whose files the preset does not name; train in two shards
    "alexneakameni/ZSHOT-HARDSET-v2": [
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/validation-00000-of-00001.parquet",
        "data/test-00000-of-00001.parquet",
    ]
}


def write_dataset(source: dict[str, Any], preset: Preset, folder: Path) -> None:
    """Write all files of a data source.

    Args:
        source: `repo` and `files`.
        preset: the test set or training set that reads it.
        folder: the repository's folder in the mirror.

    Raises:
        KeyError: no replica of this repository is known.
    """
    for name in FILES.get(source["repo"], source["files"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[source["repo"]](preset, path)
