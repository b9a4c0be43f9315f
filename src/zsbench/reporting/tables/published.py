"""Published numbers next to measured ones; they are shown side by side and never mixed."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from zsbench.config.published import PUBLISHED, load_published
from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.reporting.render import Column, Table
from zsbench.reporting.tables.base import table

COMPARED = ["weights", "weights_difference", "measured", "difference"]


@table("published", "reported")
def published(run: RunData) -> Table:
    """Published numbers on the tests of this run, next to its own numbers."""
    reported = load_published(PUBLISHED)
    return published_table(run, reported)


def published_table(run: RunData, reported: dict[str, Any]) -> Table:
    """The table for the given publications."""
    rows: list[dict[str, Any]] = []
    keys = ["dataset", "system", "protocol", "split", "metric", "label"]
    means = run.metrics.groupby(keys, sort=False)["value"].mean().to_dict()
    for name, entry in reported["publications"].items():
        for system, row in entry["systems"].items():
            sizes, other = reported["rows"] | row["rows"], _other_parts(run, row)
            for dataset, protocol, metric, value in _reported(entry, row):
                sets = entry["datasets"] if dataset == AVERAGE else [dataset]
                names = [row["scored_as"].get(one) if row["scored_as"].get(one) in run.titles else one for one in sets]
                test = entry.get("split", "test"), protocol, metric
                expected = sum(sizes[one] for one in sets)
                loaded, n_loaded = _measured(run, means, row.get("weights", ""), names, *test)
                measured, n = _measured(run, means, row.get("measured", ""), names, *test)
                if measured is None and loaded is None:
                    continue
                same = loaded is not None and n_loaded == expected
                remark = "" if loaded is None or same else f"other rows: {n_loaded} here, {expected} there"
                if measured is not None:
                    rows_differ = f"other rows: {n} here, {expected} there" if n != expected else remark
                    remark = f"made of {other} here" if other else rows_differ
                rows.append(
                    {
                        "source": name,
                        "dataset": dataset,
                        "protocol": protocol,
                        "metric": metric,
                        "system": system,
                        "measured_by": row["measured"] if measured is not None else "",
                        "reported": value,
                        "weights": loaded,
                        "weights_difference": value - loaded if loaded is not None and same else None,
                        "measured": measured,
                        "difference": value - measured if measured is not None and not remark else None,
                        "remark": remark,
                    }
                )
    entries = {name: reported["publications"][name] for name in dict.fromkeys(row["source"] for row in rows)}
    notes = [
        *(f"{name}: {entry['source']}, {entry['date']}. Caveat: {entry['caveat']}." for name, entry in entries.items()),
        "Published weights: the authors' checkpoint, scored here. Measured: the corresponding model of this run. A"
        " difference is reported minus the value in the column before it. It is omitted if the run scored a different"
        " number of rows, or trained on a different encoder or different texts.",
        "Reported numbers are not used in any significance test. Reported numbers without a measured counterpart are in"
        " workflow/resources/published.yaml.",
    ]
    texts, numbers = ["source", "dataset", "protocol", "metric", "system"], ["reported", *COMPARED]
    words = ["measured_by", "remark"]
    frame = pd.DataFrame(rows, columns=[*texts, *numbers, *words])
    columns = (
        Column("System", "system"),
        Column("Source", "source"),
        Column("Dataset", "dataset"),
        Column("Protocol", "protocol"),
        Column("Metric", "metric"),
        Column("Reported", "reported", "given"),
        Column("Published weights", "weights", "number"),
        Column("Difference to weights", "weights_difference", "signed"),
        Column("Measured", "measured", "number"),
        Column("Difference", "difference", "signed"),
        Column("Remark", "remark"),
    )
    return Table("Published and measured numbers", frame, columns, notes=tuple(notes))


def _reported(entry: dict[str, Any], row: dict[str, Any]) -> Iterator[tuple[str, str, str, float]]:
    """(dataset, protocol, metric, value) of one system's row, including its printed average and delta."""
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
    """The components of this run's system, if they differ from those of the published system."""
    system: dict[str, Any] = next((entry for entry in run.spec["systems"] if entry["id"] == row.get("measured")), {})
    parts = system.get("made_of") or []
    return " and ".join(parts) if parts != row.get("made_of", parts) else ""


def _measured(
    run: RunData, means: dict[Any, float], system: str, datasets: list[str], split: str, protocol: str, metric: str
) -> tuple[float | None, int]:
    """This run's mean over the datasets and its number of rows; (None, 0) unless it has a cell of each."""
    kind, _, label = metric.partition(":")
    keys = [(dataset, system, protocol, split, kind, label) for dataset in datasets]
    if not means.keys() >= set(keys):
        return None, 0
    cards = {cell[1]: run.cards[cell] for cell in run.cells() if cell[2] == system}
    return sum(means[key] for key in keys) / len(keys), sum(cards[dataset]["rows"][split] for dataset in datasets)
