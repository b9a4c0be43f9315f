"""Scoring: one (suite, system, seed) over all its datasets with one model load, into cells.

A cell is content-addressed: what decides its scores makes a key, and scores of a known key are linked, not computed.
So a suite extended by one dataset scores that one only, and where nothing is new no model is loaded.

n rows, L labels.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zsbench import systems
from zsbench.evaluation.cell_files import count, frames, link, write_cell
from zsbench.evaluation.faults import CellError, faults, remember
from zsbench.evaluation.sensitivity import SensitivityOptions, measure
from zsbench.families import INSENSITIVE, JOINT
from zsbench.jobs.runtime import Meter, prepare_torch
from zsbench.plan.code_identity import code_digest
from zsbench.store.integrity import check_rows, intact, intact_scores
from zsbench.store.layout import Layout
from zsbench.store.progress import counter_for, say_for
from zsbench.store.provenance import digest, environment, file_sha256, read_json, write_atomic, write_json
from zsbench.store.secrets import mask_all
from zsbench.systems.base import Rows, RowSystem, well_formed

SPLITS = {"gliclass": ("test",), "topics": ("validation", "test")}  # the rows a suite's protocols look at
PAIRS = 8192  # (text, label) pairs of a block: what is in memory at a time, and between two progress lines
SMALLEST_BLOCK = 128  # rows; fewer would leave nothing to sort by length


class NonFiniteScoreError(RuntimeError):
    """A system gave NaN or infinite scores; the message names it, the dataset and the rows."""


@dataclass(frozen=True)
class Cell:
    """One dataset of a scoring job.

    Attributes:
        spec: the job's score spec.
        dataset: id of the test set.
        rows: its prepared rows.
        facts: its card.
        system: identity of the system (`zsbench.systems.identity`).
        device: "cpu" | "cuda": scores of the two differ in rounding.
        root: `results/<run>`.
    """

    spec: dict[str, Any]
    dataset: str
    rows: Path
    facts: dict[str, Any]
    system: dict[str, Any]
    device: str
    root: Path

    @property
    def labels(self) -> list[str]:
        """Wording of the labels, as systems read it, in order."""
        return self.facts["labels"]

    @property
    def names(self) -> list[str]:
        """Names of the score columns."""
        return self.facts.get("label_names", self.labels)

    @property
    def splits(self) -> tuple[str, ...]:
        return SPLITS[self.spec["suite"]]

    @property
    def key(self) -> str:
        """Digest of everything that decides the scores."""
        parts = [self.system, self.facts["rows_sha256"], self.labels, self.names, self.splits, self.spec["suite"]]
        return digest([*parts, self.spec["precision"], self.spec["token_budget"], self.device])


def score_job(root: Path, spec: dict[str, Any]) -> None:
    """Score one system and seed on every dataset of a suite.

    Writes `scores.parquet` and then `card.json` into each cell; a cell with a card is complete. Without scores
    `scores.parquet` has no rows and the card's `status` is not "ok"; failures are also kept in `Layout.failures`.

    Args:
        root: `results/<run>`.
        spec: `Plan.score_spec`.

    Raises:
        IntegrityError: prepared rows, or the system's files, are not what their card says.
    """
    device = prepare_torch()
    layout = Layout(Path(root))
    say = say_for(f"score {spec['suite']} {spec['system']} seed {spec['seed']}")
    identity = systems.identity(spec, layout)

    @cache
    def loaded() -> Any:
        """The system, or why there is none, from the first dataset that needs it on."""
        started = time.perf_counter()
        try:
            with faults(layout.root):
                made = systems.build(spec, layout)
        except CellError as fault:
            return fault
        say(f"loaded in {time.perf_counter() - started:.1f} s")
        return made

    def system() -> Any:
        if isinstance(loaded(), CellError):
            raise loaded()
        return loaded()

    for dataset in spec["datasets"]:
        facts = read_json(layout.dataset_card(dataset))
        cell = Cell(spec, dataset, check_rows(layout.dataset(dataset)), facts, identity, device, layout.root)
        stored, measured = (layout.root / "cache" / "scores" / f"{cell.key}.{kind}" for kind in ("parquet", "json"))
        try:
            if not intact_scores(stored, measured, say):
                write_json(measured, mask_all(_score(system(), cell, stored)))
        except CellError as fault:
            record = remember(layout, cell.spec, cell.dataset, fault) | {"seen": seen(spec, dataset, layout)}
            write_cell(layout, cell, partial(_write_blocks, cell=cell, blocks=iter(())), record)
            say(f"{dataset}: {fault.status}: {fault.reason}")
            continue
        record = read_json(measured) | {"seen": seen(spec, dataset, layout)}
        if "sensitivity" in spec:
            try:
                _write_sensitivity(layout, cell, system)
            except CellError as fault:
                record["no_sensitivity"] = remember(layout, cell.spec, cell.dataset, fault)
                say(f"{dataset}: sensitivity {fault.status}: {fault.reason}")
        else:  # of an earlier run that asked for it
            where = layout.cell(spec["suite"], dataset, spec["system"], spec["seed"])
            (where / "sensitivity.json").unlink(missing_ok=True)
        write_cell(layout, cell, partial(link, stored), record)
        say(f"{dataset}: cell {cell.key} written")


def _write_sensitivity(layout: Layout, cell: Cell, system: Callable[[], Any]) -> None:
    """`sensitivity.json` of a cell, from the cache where it was measured before."""
    options = dict(cell.spec["sensitivity"])
    others = options.pop("wordings", {}).get(cell.dataset, {})
    in_use = cell.facts["verbalisation"]
    wordings = {in_use: cell.labels} | {name: labels for name, labels in others.items() if name != in_use}
    chosen = SensitivityOptions(**options)
    joint = cell.spec["family"] in JOINT
    key = digest([cell.key, options, wordings, joint, code_digest("zsbench.evaluation.sensitivity")])
    stored = layout.root / "cache" / "sensitivity" / f"{key}.json"
    where = layout.cell(cell.spec["suite"], cell.dataset, cell.spec["system"], cell.spec["seed"])
    (where / "sensitivity.json").unlink(missing_ok=True)
    if cell.spec["family"] in INSENSITIVE:
        return
    if not intact(stored):
        rows = pq.read_table(cell.rows, columns=["text", "gold"], filters=[("split", "=", "test")]).to_pydict()
        texts = well_formed(rows["text"])
        made = system()
        with faults(cell.root):
            records = measure(made, cell.spec["family"], texts, rows["gold"], wordings, cell.facts["task"], chosen)
        write_json(stored, {"records": records})
    write_json(where / "sensitivity.json", read_json(stored))


def _score(system: Any, cell: Cell, path: Path) -> dict[str, Any]:
    """Score one dataset into a file; what was measured while doing so."""
    job = f"score {cell.dataset} {cell.spec['system']} seed {cell.spec['seed']}"
    total = count(cell)
    meter = Meter(cell.device)
    if cell.spec["family"] == "supervised":
        blocks = _supervised_blocks(system, cell)
    elif isinstance(system, RowSystem):
        blocks = _row_blocks(system, cell)
    else:
        blocks = _text_blocks(system, cell, total, job)
    write_atomic(path, lambda temporary: _write_blocks(temporary, cell, blocks))
    seconds = meter.seconds()
    with faults(cell.root):
        report = system.report() if hasattr(system, "report") else {}
    return {
        "seconds": round(seconds, 4),
        "texts_per_second": round(total / max(seconds, 1e-9), 3),
        "peak_memory_mb": meter.peak_mb(),
        "truncated_texts": 0,
        "truncated_labels": 0,
        **report,
        "scores_sha256": file_sha256(path),
        "dtype": getattr(system, "dtype", "float32"),
        "environment": environment(),
    }


Block = tuple[list[str], list[str], list[list[int]], np.ndarray]  # sample ids, splits, gold, scores (n, L)


def _text_blocks(system: Any, cell: Cell, total: int, job: str) -> Iterator[Block]:
    """Scores of a system that sees texts and labels and nothing else."""
    count, done = counter_for(job), 0
    # Sorting by length happens inside a block, so blocks must not depend on the machine: scores would, in bf16.
    size = max(SMALLEST_BLOCK, PAIRS // len(cell.labels))
    for batch in frames(cell, ["sample_id", "split", "gold", "text"], size):
        rows = batch.to_pydict()
        with faults(cell.root):
            scores = np.asarray(system.score(well_formed(rows["text"]), list(cell.labels)))
            checked = _checked(scores, cell, rows["sample_id"])
        yield rows["sample_id"], rows["split"], rows["gold"], checked
        done += batch.num_rows
        count(done, total)


def _row_blocks(system: RowSystem, cell: Cell) -> Iterator[Block]:
    """Scores of a control, or scores computed elsewhere."""
    columns = ["sample_id", "split", "gold"]
    table = pq.read_table(cell.rows, columns=columns, filters=[("split", "in", cell.splits)]).to_pydict()
    ids, splits, gold = (table[column] for column in columns)
    with faults(cell.root):
        scores = system.score_rows(Rows(cell.dataset, cell.facts["task"], list(cell.names), ids, splits, gold))
        checked = _checked(scores, cell, ids)
    yield ids, splits, gold, checked


def _supervised_blocks(system: Any, cell: Cell) -> Iterator[Block]:
    """Scores of a model fitted on the dataset's train split; it is handed no gold of the rows it scores."""
    columns = ["sample_id", "split", "gold", "text"]
    train, scored = (
        pq.read_table(cell.rows, columns=columns, filters=[("split", "in", splits)]).to_pydict()
        for splits in (("train",), cell.splits)
    )
    gold = np.zeros((len(train["gold"]), len(cell.names)))
    for row, indices in zip(gold, train["gold"], strict=True):
        row[list(indices)] = 1.0
    with faults(cell.root):
        scores = system.fit_and_score(well_formed(train["text"]), gold, well_formed(scored["text"]))
        checked = _checked(scores, cell, scored["sample_id"])
    yield scored["sample_id"], scored["split"], scored["gold"], checked


def _checked(scores: np.ndarray, cell: Cell, ids: list[str]) -> np.ndarray:
    """Scores as float64 after checking their shape, finiteness and, for `topics`, range.

    Raises:
        NonFiniteScoreError: NaN or infinite. ValueError: another shape, or no probability.
    """
    who = f"system {cell.spec['system']!r} (seed {cell.spec['seed']}) on dataset {cell.dataset!r}"
    if scores.shape != (len(ids), len(cell.labels)):
        raise ValueError(
            f"{who} gave scores of shape {scores.shape}; expected {(len(ids), len(cell.labels))} (texts, labels)"
        )
    scores = scores.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(bad):
        shown = ", ".join(ids[i] for i in bad[:10])
        raise NonFiniteScoreError(f"{who}: NaN or infinite scores in {len(bad)} of {len(ids)} rows; sample ids {shown}")
    if cell.spec["suite"] == "topics" and len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(f"{who}: scores from {scores.min()} to {scores.max()}; suite 'topics' needs P in [0, 1]")
    return scores


def _write_blocks(path: Path, cell: Cell, blocks: Iterator[Block]) -> None:
    """Stream blocks to parquet, one row group each."""
    fields = [("sample_id", pa.string()), ("split", pa.string()), ("gold", pa.list_(pa.int64()))]
    schema = pa.schema([*fields, *((f"score:{name}", pa.float64()) for name in cell.names)])
    with pq.ParquetWriter(path, schema) as writer:
        for ids, splits, gold, scores in blocks:
            columns = [pa.array(ids), pa.array(splits), pa.array(gold, pa.list_(pa.int64()))]
            writer.write_table(pa.table([*columns, *(pa.array(column) for column in scores.T)], schema=schema))


def seen(spec: dict[str, Any], dataset: str, layout: Layout) -> str:
    """Whether the system was trained on this dataset: "yes", "no" or "unknown".

    A published model's answer is its entry's `seen` (ids of the sets it was trained on); without one it is unknown. So
    it is for a model trained here on other rows: nobody says what its backbone has read.
    """
    if spec["family"] == "supervised":
        return "yes"
    declared = spec["settings"].get("seen")
    if declared is not None:
        return "yes" if dataset in declared else "no"
    if spec["model"] is None:
        return "no" if spec["family"] == "control" else "unknown"
    kind, model = spec["model"]
    if kind == "hybrid":
        return "yes" if read_json(layout.model(model, spec["seed"]))["spec"]["dataset"] == dataset else "unknown"
    if kind == "trained":
        trained_on = read_json(layout.model(model, spec["seed"]))["spec"]["recipe"]["training_set"]
        return "yes" if trained_on == dataset else "unknown"
    return "unknown"
