"""Reported numbers beside measured ones: shown together, never mixed."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from zsbench.config.published import load_published
from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.reporting.render import Column, Table
from zsbench.reporting.tables.base import missing_notes, table
from zsbench.store.layout import WORKFLOW

PUBLISHED = WORKFLOW / "resources" / "published.yaml"


@table("published", "reported")
def published(run: RunData) -> Table:
    """Every number that others printed, with this run's number where it scored the same test."""
    reported = load_published(PUBLISHED)
    return published_table(run, reported)


def published_table(run: RunData, reported: dict[str, Any]) -> Table:
    """The table of these publications."""
    rows: list[dict[str, Any]] = []
    keys = ["suite", "dataset", "system", "protocol", "split", "metric", "label"]
    means = run.metrics.groupby(keys, sort=False)["value"].mean().to_dict()
    for name, entry in reported["publications"].items():
        for system, row in entry["systems"].items():
            for dataset, protocol, metric, value in _reported(entry, row):
                test = {"source": name, "dataset": dataset, "protocol": protocol, "metric": metric}
                measured_by = row.get("measured", "")
                measured, n = _measured(run, means, entry, (measured_by, dataset, protocol, metric))
                sets = entry["datasets"] if dataset == AVERAGE else [dataset]
                expected = sum(reported["rows"][name] for name in sets)
                remark = ""
                if measured is not None and (other := _other_parts(run, row)):
                    remark = f"made of {other} here"
                elif measured is not None and n != expected:
                    remark = f"other rows: {n} here, {expected} there"
                rows.append(
                    test
                    | {
                        "system": system,
                        "measured_by": measured_by if measured is not None else "",
                        "reported": value,
                        "measured": measured,
                        "difference": value - measured if measured is not None and not remark else None,
                        "remark": remark,
                        "status": run.missing_word(entry["suite"], [dataset], measured_by),
                    }
                )
    for name, entry in reported["throughput"].items():
        for system, row in entry["systems"].items():
            speed = {"source": name, "dataset": "speed", "metric": entry["unit"], "system": system}
            rows += [speed | {"protocol": key, "reported": value} for key, value in row.items()]
    entries = {**reported["publications"], **reported["throughput"]}
    notes = [
        *(f"{name}: {entry['source']}, {entry['date']}. Caveat: {entry['caveat']}." for name, entry in entries.items()),
        "Difference is reported minus measured. It is left out where the run scored another number of rows than the"
        " publication or trained on another model or other texts, and speed is never compared across machines.",
        "Reported numbers enter no test of significance.",
        *missing_notes(run, run.spec["suites"]),
    ]
    texts, numbers = ["source", "dataset", "protocol", "metric", "system"], ["reported", "measured", "difference"]
    words = ["measured_by", "remark", "status"]
    frame = pd.DataFrame(rows, columns=[*texts, *numbers, *words]).astype(dict.fromkeys(numbers, float))
    frame[words] = frame[words].fillna("")
    columns = (
        Column("System", "system"),
        Column("Source", "source"),
        Column("Dataset", "dataset"),
        Column("Protocol", "protocol"),
        Column("Metric", "metric"),
        Column("Reported", "reported", "given"),
        Column("Measured", "measured", "number", 4),
        Column("Difference", "difference", "signed", 4, status=""),
        Column("Remark", "remark"),
    )
    return Table("Reported and measured", frame, columns, notes=tuple(notes))


def _reported(entry: dict[str, Any], row: dict[str, Any]) -> Iterator[tuple[str, str, str, float]]:
    """(dataset, protocol, metric, value) of one system's row, its printed average and delta included."""
    if "columns" in entry:
        for metric, value in zip(entry["columns"], row["values"], strict=True):
            yield entry["datasets"][0], row["protocol"], metric, value
        labels = [column.removeprefix("f1:") for column in entry["columns"] if column.startswith("f1:")]
        if "thresholds" in row:
            for label, value in zip(labels, row["thresholds"], strict=True):
                yield entry["datasets"][0], row["protocol"], f"threshold:{label}", value
        return
    for dataset, value in zip(entry["datasets"], row["values"], strict=True):
        yield dataset, "argmax", entry["metric"], value
    yield AVERAGE, "argmax", entry["metric"], row["average"]
    if "delta" in row:
        yield AVERAGE, "argmax", f"{entry['metric']} delta", row["delta"]


def _other_parts(run: RunData, row: dict[str, Any]) -> str:
    """What the run's system of that id is made of, where the publication's is made of other things."""
    system: dict[str, Any] = next((entry for entry in run.spec["systems"] if entry["id"] == row.get("measured")), {})
    parts = system.get("made_of") or []
    return " and ".join(parts) if parts != row.get("made_of", parts) else ""


def _measured(
    run: RunData, means: dict[Any, float], entry: dict[str, Any], key: tuple[str, str, str, str]
) -> tuple[float | None, int | None]:
    """This run's value and number of rows for (system, dataset, protocol, metric); None where it has no such cell.

    The average is over the publication's datasets, and there only when the run has all of them.
    """
    system, dataset, protocol, metric = key
    suite, split = entry["suite"], entry.get("split", "test")
    if dataset == AVERAGE:
        singles = [_measured(run, means, entry, (system, name, protocol, metric)) for name in entry["datasets"]]
        values, counts = [value for value, _ in singles if value is not None], [n for _, n in singles if n is not None]
        return (sum(values) / len(singles), sum(counts)) if len(values) == len(singles) else (None, None)
    kind, _, label = metric.partition(":")
    cards = (run.cards[cell] for cell in run.cells() if cell[:3] == (suite, dataset, system))
    rows = next((card["rows"].get(split) for card in cards), None)
    return means.get((suite, dataset, system, protocol, split, kind, label)), rows
