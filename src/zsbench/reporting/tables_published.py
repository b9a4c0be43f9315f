"""Reported numbers beside measured ones: shown together, never mixed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zsbench.reporting.frames import AVERAGE, RunData
from zsbench.reporting.marks import UNMOVED, UNMOVED_NOTE
from zsbench.reporting.missing import missing_notes
from zsbench.reporting.table import EMPTY, Table, number, signed
from zsbench.store.layout import WORKFLOW

PUBLISHED = WORKFLOW / "resources" / "published.yaml"


@dataclass(frozen=True)
class Measured:
    """What this run has, by the keys that publications ask for."""

    means: dict[tuple[str, ...], float]
    counts: dict[tuple[str, str, str, str], int]


def published(run: RunData, reported: dict[str, Any]) -> Table:
    """`published`: every number that others printed, with this run's number where it scored the same test."""
    rows, notes, mine = [], [], Measured(_means(run), _counts(run))
    for name, entry in reported["publications"].items():
        for system, row in entry["systems"].items():
            for dataset, protocol, metric, value in _reported(entry, row):
                measured, n = _measured(mine, entry, (row.get("measured", ""), dataset, protocol, metric))
                cells = _cells(_expected(reported, entry, dataset), value, measured, n)
                if measured is not None and row["measured"] in run.unmoved:
                    cells[1] += f" {UNMOVED}"
                missing = run.missing.get((entry["suite"], dataset, row.get("measured", "")))
                if missing:
                    cells[1] = missing.word
                if measured is not None and (other := _other_parts(run, row)):
                    cells[2:] = [EMPTY, f"made of {other} here"]
                rows.append([system, name, dataset, protocol, metric, *cells])
        notes.append(f"{name}: {entry['source']}, {entry['date']}. Caveat: {entry['caveat']}.")
    for name, entry in reported["throughput"].items():
        for system, row in entry["systems"].items():
            for key, value in row.items():
                rows.append([system, name, "speed", key, entry["unit"], number(value, 2), EMPTY, EMPTY, ""])
        notes.append(f"{name}: {entry['source']}, {entry['date']}. Caveat: {entry['caveat']}.")
    notes += [
        "Difference is reported minus measured. It is left out where the run scored another number of rows than the"
        " publication or trained on another model or other texts, and speed is never compared across machines.",
        "Reported numbers enter no test of significance.",
        *missing_notes(run, run.spec["suites"]),
    ]
    notes += [UNMOVED_NOTE] if any(UNMOVED in row[6] for row in rows) else []
    columns = ["System", "Source", "Dataset", "Protocol", "Metric", "Reported", "Measured", "Difference", "Remark"]
    return Table("published", columns, rows, notes)


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


def _means(run: RunData) -> dict[tuple[str, ...], float]:
    """(suite, dataset, system, protocol, split, metric, label) -> mean over seeds."""
    keys = ["suite", "dataset", "system", "protocol", "split", "metric", "label"]
    return run.metrics.groupby(keys, sort=False)["value"].mean().to_dict()


def _counts(run: RunData) -> dict[tuple[str, str, str, str], int]:
    """(suite, dataset, system, split) -> rows that were scored."""
    found = {}
    for suite, dataset, system, seed in run.cells():
        for split, count in (run.card(suite, dataset, system, seed) or {}).get("rows", {}).items():
            found[suite, dataset, system, split] = count
    return found


def _measured(run: Measured, entry: dict[str, Any], key: tuple[str, str, str, str]) -> tuple[float | None, int | None]:
    """This run's value and number of rows for (system, dataset, protocol, metric); None where it has no such cell.

    The average is over the publication's datasets, and there only when the run has all of them.
    """
    system, dataset, protocol, metric = key
    if dataset == AVERAGE:
        parts = [_measured(run, entry, (system, name, protocol, metric)) for name in entry["datasets"]]
        values, counts = [value for value, _ in parts if value is not None], [n for _, n in parts if n is not None]
        return (sum(values) / len(parts), sum(counts)) if len(values) == len(parts) else (None, None)
    kind, _, label = metric.partition(":")
    split = entry.get("split", "test")
    value = run.means.get((entry["suite"], dataset, system, protocol, split, kind, label))
    return value, run.counts.get((entry["suite"], dataset, system, split))


def _expected(reported: dict[str, Any], entry: dict[str, Any], dataset: str) -> int:
    """Rows of the published test."""
    names = entry["datasets"] if dataset == AVERAGE else [dataset]
    return sum(reported["rows"][name] for name in names)


def _cells(expected: int, value: float, measured: float | None, n: int | None) -> list[str]:
    """Reported, measured, difference, remark."""
    if measured is None:
        return [number(value), EMPTY, EMPTY, ""]
    if n != expected:
        return [number(value), number(measured), EMPTY, f"other rows: {n} here, {expected} there"]
    return [number(value), number(measured), signed(value - measured), ""]
