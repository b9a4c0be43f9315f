"""A starter config for a file with texts and labels, or for a new folder: short and meant to be edited."""

import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePath

import pandas as pd

from zsbench.config.labels import fold
from zsbench.config.load import PACKED, SUFFIXES
from zsbench.data.readers import read_table, separator_of
from zsbench.store.errors import ConfigError, counted, suggest

MOST_CLASSES = 50  # maximum number of distinct values in a label column
SYSTEMS = """systems:
  biencoder: {family: biencoder, model: minilm}         # a small encoder from a Python package: no hub needed
  # bart: {family: nli, model: facebook/bart-large-mnli}  # any hub model, or a folder: ./my-checkpoint
  prior-random: {family: control, control: prior-random}  # random guessing
  majority: {family: control, control: majority}
"""
FOLDER = """# Made by `zsbench init`; run it with `zsbench run`. Every key: zsbench config-keys
run: first                     # results go to results/first and reports/first

suites:
  snippets:
    task: single               # one label per text
    datasets: [movie-snippets] # `zsbench datasets` lists the others; your own file: zsbench init FILE
    rows: 100                  # a seeded, stratified sample

"""


@dataclass(frozen=True)
class Described:
    """Contents of a file with texts and labels.

    Attributes:
        columns: names of all columns.
        text, gold: names of the text and the gold column.
        values: values of the gold column, in the order of `labels`.
        labels: the labels in words.
        rows: number of rows per value.
        separator: column separator of a csv.
        notes: one line per kind of unusual row.
    """

    columns: list[str]
    text: str
    gold: str
    values: list[str]
    labels: list[str]
    rows: dict[str, int]
    separator: str | None
    notes: list[str]


def describe(path: Path, text: str = "", gold: str = "", labels: list[str] | None = None) -> Described:
    """Inspect a file: its columns, classes and unusual rows.

    Args:
        path: csv, tsv, jsonl, json or parquet, compressed or not.
        text, gold: column names; "" picks the column with the longest texts and the one whose values are the labels.
        labels: labels in words. Unless they equal the values of the gold column, they are matched to the sorted values.

    Raises:
        ConfigError: no such column, several candidates, or values that are not among the labels.
    """
    suffix = PurePath(path.stem).suffix if path.suffix in PACKED else path.suffix
    if suffix not in SUFFIXES:
        raise ConfigError(f"{path}: its format cannot be told from its name; allowed: {', '.join(SUFFIXES)}")
    separator = separator_of(path) if suffix == ".csv" else None
    frame = read_table(path, SUFFIXES[suffix] | ({"separator": separator} if separator else {}))
    columns = [str(name) for name in frame.columns]
    if frame.empty:
        raise ConfigError(f"{path.name}: it has no rows")
    if len(columns) == 1:
        raise ConfigError(f"{path.name}: its only column is {columns[0]!r}; allowed: columns of texts and labels")
    for option, name in (("--text", text), ("--gold", gold)):
        if name and name not in columns:
            raise ConfigError(f"{option}: {path.name} has no column {name!r}{suggest(name, columns)}")
    words = {name: frame[name].astype(str).str.len().mean() for name in columns}
    text = text or max((name for name in columns if name != gold), key=lambda name: words[name])
    gold = gold or _gold_column(path, frame.drop(columns=text), labels)
    counts = Counter(str(value) for value in frame[gold] if str(value).strip() and not pd.isna(value))
    _check_spellings(gold, counts)
    values, labels = _matched(gold, counts, labels)
    texts = frame[text].astype(str)
    odd = {
        "without a text (scored like any other)": int((texts.str.strip() == "").sum()),
        "with a text that occurred before": int(texts.duplicated().sum()),
        "without a label (not scored)": len(frame) - sum(counts.values()),
    }
    notes = [f"{counted(count, 'row')} {what}" for what, count in odd.items() if count]
    rows = {value: counts.get(value, 0) for value in values}
    if unused := [label for label, count in zip(labels, rows.values(), strict=True) if not count]:
        notes.append(f"labels without a row: {', '.join(unused)}; where one is predicted, macro-F1 counts it as 0")
    return Described(columns, text, gold, values, labels, rows, separator, notes)


def _gold_column(path: Path, frame: pd.DataFrame, labels: list[str] | None) -> str:
    """The column whose values are the labels; without labels, the only column with few values."""
    values = {str(name): {str(value) for value in frame[name] if str(value).strip()} for name in frame.columns}
    if labels and (
        same := [name for name, classes in values.items() if len(classes) <= MOST_CLASSES and classes & {*labels}]
    ):
        return same[0]
    few = [name for name, classes in values.items() if 2 <= len(classes) <= min(MOST_CLASSES, len(frame) // 2)]
    few = [name for name in few if len(values[name]) == len(labels)] if labels else few
    if len(few) != 1:
        shown = ", ".join(f"{name} ({counted(len(classes), 'value')})" for name, classes in values.items())
        problem = f"several columns of {path.name} could be the labels"
        if not few:
            problem = (
                f"no column of {path.name} has {len(labels) if labels else f'2 to {MOST_CLASSES}'} different values"
            )
        raise ConfigError(f"--gold: {problem}; allowed: {shown}")
    return few[0]


def _check_spellings(gold: str, counts: Counter[str]) -> None:
    """Reject values that look the same, such as `good` and `good ` with a trailing space."""
    first: dict[str, str] = {}
    for value in counts:
        if (same := first.setdefault(fold(value), value)) != value:
            alike = " and ".join(f"{one!r} ({counted(counts[one], 'row')})" for one in (same, value))
            allowed = "allowed: one spelling of each class in the file"
            raise ConfigError(f"--gold: column {gold!r} has values that read alike: {alike}; {allowed}")


def _matched(gold: str, counts: Counter[str], labels: list[str] | None) -> tuple[list[str], list[str]]:
    """The values of the gold column and their labels."""
    values = sorted(counts, key=lambda value: (0, float(value), "") if _is_number(value) else (1, 0.0, value))
    if len(values) > MOST_CLASSES:
        raise ConfigError(
            f"--gold: column {gold!r} has {len(values):,} different values; allowed: at most {MOST_CLASSES}"
        )
    if not labels:
        return values, values
    if {*values} <= {*labels}:
        return labels, labels
    if len(labels) == len(values) and not {*values} & {*labels}:
        return values, labels
    strange = [value for value in values if value not in labels]
    shown = ", ".join(f"{value!r} ({counted(counts[value], 'row')})" for value in strange[:10])
    raise ConfigError(f"--labels: column {gold!r} also has {shown}; allowed: a label for each of {', '.join(values)}")


def _is_number(value: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", value) is not None


def slug(text: str) -> str:
    """Make an id from a file name: `My Reviews.csv` -> `my-reviews`."""
    name = unicodedata.normalize("NFKD", PurePath(text).name.split(".")[0].casefold())
    letters = name.encode("ascii", "ignore").decode()  # without accents
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:60] or "mine"


def config_for(path: Path, described: Described) -> str:
    """A config that evaluates on one file."""
    name = slug(path.name)
    column = _word(described.gold)
    if described.values != described.labels:
        column = f"{{column: {column}, values: [{', '.join(map(_word, described.values))}]}}"
    labels = ", ".join(map(_word, described.labels))
    separated = described.separator not in (None, ",")
    file_format = f", format: {{type: table, separator: {json.dumps(described.separator)}}}" if separated else ""
    return f"""# Made by `zsbench init {path}`; run it with: zsbench run {name}.yaml
run: {name}

datasets:
  {name}: {{path: {_word(str(path))}{file_format}, text: {_word(described.text)}, gold: {column},
    labels: [{labels}]}} # as the systems read them: plain words work best

suites:
  mine: {{task: single, datasets: [{name}]}}

{SYSTEMS}"""


def _word(text: str) -> str:
    """A string in YAML notation."""
    return text if re.fullmatch(r"[A-Za-z_./][\w./-]*", text) and text.lower() not in YAML_WORDS else json.dumps(text)


YAML_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
