"""Scoring: one system and seed on all data sets of its suites with a single model load; writes cells.

The key of a cell is derived from everything that affects its scores, and a cell with a matching key is not scored
again. After adding a data set to a suite, only that one is scored; if nothing is new, no model is loaded.

n rows, L labels.
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zsbench.evaluation.sensitivity import answers
from zsbench.families import INSENSITIVE, JOINT
from zsbench.jobs.runtime import Meter, prepare_torch, resolve_precision
from zsbench.jobs.workplace import cannot_write
from zsbench.plan.code_identity import code_digest
from zsbench.store.cells import FAILED, NOT_APPLICABLE, OK, CellId, scored_card, write_card, write_scores
from zsbench.store.integrity import check_rows
from zsbench.store.layout import Layout
from zsbench.store.progress import counter_for, progress_logger
from zsbench.store.provenance import IntegrityError, digest, environment, file_sha256, read_json, write_json, write_text
from zsbench.store.secrets import mask
from zsbench.systems import DatasetRows, LabelSetError, RowSystem, TaskSystem, gold_matrix, load
from zsbench.systems.texts import well_formed

SPLITS = {"single": ("test",), "multi": ("validation", "test")}  # splits that the protocols of a task use
PAIRS = 8192  # (text, label) pairs per block, the unit of memory use and of progress lines
SMALLEST_BLOCK = 128  # rows; with fewer, sorting by length would not help
LONGEST_REASON = 300  # characters
VOLATILE = ("seconds", "texts_per_second", "peak_memory_mb", "environment")  # differ between otherwise equal runs


class NonFiniteScoreError(RuntimeError):
    """A system returned NaN or infinite scores; the message names the system, the dataset and the rows."""


@dataclass(frozen=True)
class CellTask:
    """A cell to be scored.

    Attributes:
        spec: the score spec of its suite.
        dataset: id of the test set.
        rows: file of its prepared rows.
        facts: its card.
        system: identity of the system (`zsbench.systems.load.identity`).
        device: "cpu" or "cuda"; their scores differ in rounding.
    """

    spec: dict[str, Any]
    dataset: str
    rows: Path
    facts: dict[str, Any]
    system: dict[str, Any]
    device: str

    @property
    def id(self) -> CellId:
        return self.spec["suite"], self.dataset, self.spec["system"], self.spec["seed"]

    @property
    def labels(self) -> list[str]:
        """Wordings of the labels as systems read them, in order."""
        return self.facts["labels"]

    @property
    def names(self) -> list[str]:
        """Names of the score columns."""
        return self.facts.get("label_names", self.labels)

    @property
    def splits(self) -> tuple[str, ...]:
        return SPLITS[self.spec["task"]] + (("train",) if self.spec.get("train_rows") else ())

    @property
    def key(self) -> str:
        """Digest of everything that affects the scores."""
        rows = [self.facts["rows_sha256"], self.labels, self.names, self.splits, self.spec["task"]]
        return digest([self.system, *rows, self.spec["precision"], self.spec["token_budget"], self.device])


def score_job(root: Path, *specs: dict[str, Any], licences: dict[str, str] | None = None) -> None:
    """Score one system and seed on every dataset of its suites.

    A cell without scores has no rows in `scores.parquet`, and its card's `status` is not "ok"; failures are also logged
    in `Layout.failures`. `Layout.scored`, written last, lists the cells.

    Args:
        specs: `Plan.score_spec`, one per suite, all for the same system and seed.
        licences: licences of the system's components, for the cards; changing them does not trigger rescoring.

    Raises:
        IntegrityError: prepared rows, or the system's files, do not match their card.
    """
    device, layout = prepare_torch(), Layout(Path(root))
    precision = resolve_precision(specs[0]["precision"], device)
    specs = tuple(spec | {"precision": precision} for spec in specs)
    say = progress_logger(f"score {specs[0]['system']} seed {specs[0]['seed']}")
    identity = load.identity(specs[0], layout)

    @cache
    def loaded() -> Any:
        """The system or its loading error; loaded when the first dataset needs it."""
        started = time.perf_counter()
        try:
            with faults():
                system = load.build(specs[0], layout)
        except CellError as fault:
            return fault
        say(f"loaded in {time.perf_counter() - started:.1f} s")
        return system

    def system_for(task: str) -> Any:
        system = loaded()
        if isinstance(system, CellError):
            raise system
        if isinstance(system, TaskSystem):
            system.task = task
        return system

    sums: dict[str, dict[str, str]] = {"scores": {}, "sensitivity": {}, "cards": {}}
    for spec in specs:
        for dataset in spec["datasets"]:
            facts = read_json(layout.dataset_card(dataset))
            cell = CellTask(spec, dataset, check_rows(layout.dataset(dataset)), facts, identity, device)
            card = _score_cell(layout, cell, partial(system_for, spec["task"]), licences or {})
            paths = (layout.scores(*cell.id), layout.sensitivity(*cell.id), layout.card(*cell.id))
            for of_kind, path in zip(sums.values(), paths, strict=True):
                if path.is_file():
                    of_kind[f"{spec['suite']}/{dataset}"] = file_sha256(path)
            say(f"{dataset}: {card['status']}" + (f": {card['reason']}" if "reason" in card else ""))
    write_json(layout.scored(specs[0]["system"], specs[0]["seed"]), sums | {"volatile": ["cards"]})


def _score_cell(layout: Layout, cell: CellTask, system: Callable[[], Any], licences: dict[str, str]) -> dict[str, Any]:
    """Score a cell, unless it already has scores with the same key; returns its card."""
    record = scored_card(layout, cell.id, cell.key)
    if record is None:
        try:
            record = {"status": OK, **_score(system(), layout, cell)}
        except CellError as fault:
            empty = write_scores(layout, cell.id, partial(_write_blocks, cell=cell, blocks=iter(())))
            record = {"scores_sha256": empty, **failure(layout, cell, fault)}
    record.pop("no_sensitivity", None)
    if record["status"] == OK:
        try:
            _write_sensitivity(layout, cell, system)
        except CellError as fault:
            record["no_sensitivity"] = failure(layout, cell, fault)
    spec, facts = cell.spec, cell.facts
    card = {
        **record,
        **{name: spec[name] for name in ("suite", "system", "seed", "family", "settings", "precision", "token_budget")},
        **{name: facts[name] for name in ("revision", "labels", "verbalisation", "task")},
        "seen": seen(spec, cell.dataset, layout),
        "dataset": cell.dataset,
        "label_names": cell.names,
        "labels_digest": digest(cell.labels),
        "rows": {split: number for split, number in facts["rows"].items() if split in cell.splits},
        "rows_sha256": facts["rows_sha256"],
        "model": spec["model"],
        "licences": licences,
        "system_digest": digest(cell.system),
        "weights_sha256": cell.system["weights_sha256"],
        "source": cell.system["source"],
        "device": cell.device,
        "key": cell.key,
        "command": f"zsbench job score --run {layout.root.name} --system {spec['system']} --seed {spec['seed']}",
        "volatile": list(VOLATILE),
    }
    write_card(layout, cell.id, card)
    return card


def _write_sensitivity(layout: Layout, cell: CellTask, system: Callable[[], Any]) -> None:
    """Write `sensitivity.json` of a cell (answers under other label orders and wordings); delete it if not wanted."""
    path = layout.sensitivity(*cell.id)
    options = dict(cell.spec.get("sensitivity", {}))
    if not options or cell.spec["family"] in INSENSITIVE:
        path.unlink(missing_ok=True)
        return
    others = options.pop("wordings", {}).get(cell.dataset, {})
    in_use = cell.facts["verbalisation"]
    wordings = {in_use: cell.labels} | {name: labels for name, labels in others.items() if name != in_use}
    joint = cell.spec["family"] in JOINT
    key = digest([cell.key, options, wordings, joint, code_digest("zsbench.evaluation.sensitivity")])
    try:
        if read_json(path)["key"] == key:
            return
    except (FileNotFoundError, IntegrityError):
        pass
    path.unlink(missing_ok=True)
    rows = pq.read_table(cell.rows, columns=["text", "gold"], filters=[("split", "=", "test")]).to_pydict()
    scorer = system()
    with faults():
        texts, cosine = well_formed(rows["text"]), cell.spec["family"] == "biencoder"
        record = answers(scorer, texts, rows["gold"], wordings, joint, **options, cosine=cosine)
    write_json(path, {"key": key, **record})


def _score(system: Any, layout: Layout, cell: CellTask) -> dict[str, Any]:
    """Write the scores of a cell; returns card entries such as time and memory."""
    job = f"score {cell.dataset} {cell.spec['system']} seed {cell.spec['seed']}"
    total = pq.read_table(cell.rows, columns=["split"], filters=[("split", "in", cell.splits)]).num_rows
    meter = Meter(cell.device)
    if cell.spec["family"] == "supervised":
        blocks = _supervised_blocks(system, cell)
    elif isinstance(system, RowSystem):
        blocks = _row_blocks(system, cell)
    else:
        blocks = _text_blocks(system, cell, total, job)
    with faults():
        sha256 = write_scores(layout, cell.id, lambda path: _write_blocks(path, cell, blocks))
    seconds = meter.seconds()
    with faults():
        report = system.report() if hasattr(system, "report") else {}
        size = system.size() if hasattr(system, "size") else {}
    return {
        "seconds": round(seconds, 4),
        "texts_per_second": round(total / max(seconds, 1e-9), 3),
        "peak_memory_mb": meter.peak_mb(),
        "truncated_texts": 0,
        "truncated_labels": 0,
        **report,
        **size,
        "scores_sha256": sha256,
        "dtype": getattr(system, "dtype", "float32"),
        "environment": environment(),
    }


Block = tuple[list[str], list[str], list[list[int]], np.ndarray]  # sample ids, splits, gold, scores (n, L)


def _text_blocks(system: Any, cell: CellTask, total: int, job: str) -> Iterator[Block]:
    """Scores of a system that sees only texts and labels."""
    count, done = counter_for(job), 0
    # Systems sort texts by length within a block. If block sizes depended on the machine, so would bf16 scores.
    size = max(SMALLEST_BLOCK, PAIRS // len(cell.labels))
    for batch in _batches(cell, ["sample_id", "split", "gold", "text"], size):
        rows = batch.to_pydict()
        scores = np.asarray(system.score(well_formed(rows["text"]), list(cell.labels)))
        yield rows["sample_id"], rows["split"], rows["gold"], _checked(scores, cell, rows["sample_id"])
        done += batch.num_rows
        count(done, total)


def _batches(cell: CellTask, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
    """The rows to score, in order, at most `size` per batch."""
    pending: list[pa.RecordBatch] = []
    with pq.ParquetFile(cell.rows, pre_buffer=False) as rows:  # one row group at a time, no read-ahead
        for batch in rows.iter_batches(size, columns=list({*columns, "split"}), use_threads=False):
            wanted = pc.is_in(batch["split"], pa.array(cell.splits))
            pending.append(batch.filter(wanted).select(columns))
            while sum(batch.num_rows for batch in pending) >= size:
                whole = pa.Table.from_batches(pending).combine_chunks()
                yield whole.slice(0, size).to_batches()[0]
                pending = whole.slice(size).to_batches()
    if sum(batch.num_rows for batch in pending):
        yield pa.Table.from_batches(pending).combine_chunks().to_batches()[0]


def _row_blocks(system: RowSystem, cell: CellTask) -> Iterator[Block]:
    """Scores of a control, or imported scores."""
    columns = ["sample_id", "split", "gold"]
    table = pq.read_table(cell.rows, columns=columns, filters=[("split", "in", cell.splits)]).to_pydict()
    ids, splits, gold = (table[column] for column in columns)
    scores = system.score_rows(DatasetRows(cell.dataset, cell.facts["task"], list(cell.names), ids, splits, gold))
    yield ids, splits, gold, _checked(scores, cell, ids)


def _supervised_blocks(system: Any, cell: CellTask) -> Iterator[Block]:
    """Scores of a model fitted on the dataset's train split; it does not get the gold labels of the scored rows."""
    columns = ["sample_id", "split", "gold", "text"]
    train, scored = (
        pq.read_table(cell.rows, columns=columns, filters=[("split", "in", splits)]).to_pydict()
        for splits in (("train",), cell.splits)
    )
    gold = gold_matrix(train["gold"], len(cell.names))
    scores = system.fit_and_score(well_formed(train["text"]), gold, well_formed(scored["text"]))
    yield scored["sample_id"], scored["split"], scored["gold"], _checked(scores, cell, scored["sample_id"])


def _checked(scores: np.ndarray, cell: CellTask, ids: list[str]) -> np.ndarray:
    """Scores as float64 after checking their shape, finiteness and, for task multi, range.

    Raises:
        NonFiniteScoreError: some are NaN or infinite.
        ValueError: wrong shape, or not probabilities in task multi.
    """
    who = f"system {cell.spec['system']!r} (seed {cell.spec['seed']}) on dataset {cell.dataset!r}"
    if scores.shape != (len(ids), len(cell.labels)):
        raise ValueError(
            f"{who} returned scores of shape {scores.shape}; expected {(len(ids), len(cell.labels))} (texts, labels)"
        )
    scores = scores.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(bad):
        shown = ", ".join(ids[i] for i in bad[:10])
        raise NonFiniteScoreError(f"{who}: NaN or infinite scores in {len(bad)} of {len(ids)} rows; sample ids {shown}")
    if cell.spec["task"] == "multi" and len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(
            f"{who}: scores from {scores.min()} to {scores.max()}; task 'multi' needs probabilities in [0, 1]"
        )
    return scores


def _write_blocks(path: Path, cell: CellTask, blocks: Iterator[Block]) -> None:
    """Stream blocks to a parquet file, one row group per block."""
    fields = [("sample_id", pa.string()), ("split", pa.string()), ("gold", pa.list_(pa.int64()))]
    schema = pa.schema([*fields, *((f"score:{name}", pa.float64()) for name in cell.names)])
    with pq.ParquetWriter(path, schema) as writer:
        for ids, splits, gold, scores in blocks:
            columns = [pa.array(ids), pa.array(splits), pa.array(gold, pa.list_(pa.int64()))]
            writer.write_table(pa.table([*columns, *(pa.array(column) for column in scores.T)], schema=schema))


def seen(spec: dict[str, Any], dataset: str, layout: Layout) -> str:
    """Whether the system was trained on this dataset: "yes", "no" or "unknown".

    For a published model, its config entry's `seen` (ids of datasets it was trained on) decides; without it, the answer
    is "unknown". A model trained here on other data is also "unknown", because its backbone's data are not known.
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


class CellError(Exception):
    """An exception of a system, in the form that the cell's card records: `status` and a one-line `reason`."""

    def __init__(self, error: Exception) -> None:
        is_ours = type(error).__module__.partition(".")[0] in ("zsbench", "gliznet", "hybridnli")
        text = " ".join(mask(str(error)).split())[:LONGEST_REASON]
        self.reason = text if is_ours and text else f"{type(error).__name__}: {text}".rstrip(": ")
        self.status = NOT_APPLICABLE if isinstance(error, LabelSetError) else FAILED
        super().__init__(self.reason)


@contextmanager
def faults() -> Iterator[None]:
    """Wrap calls of a system: its exceptions become `CellError`s, so that the other datasets are still scored.

    Full disks, missing permissions, running out of memory (also of a GPU) and damaged files end the job.
    """
    try:
        yield
    except (IntegrityError, MemoryError):
        raise
    except Exception as error:
        torch = sys.modules.get("torch")  # not imported here, which takes seconds
        if cannot_write(error) is not None or (torch and isinstance(error, torch.OutOfMemoryError)):
            raise
        if not isinstance(error, LabelSetError):
            traceback.print_exception(error, file=sys.stderr)
        raise CellError(error) from error


def failure(layout: Layout, cell: CellTask, fault: CellError) -> dict[str, Any]:
    """The card's entry for missing scores or sensitivity answers. Failures are logged, so that the next run retries.

    The log is a parameter of the Snakemake job: each failure adds a line and so triggers a rerun; a success adds none,
    so nothing is scored again.
    """
    if fault.status == FAILED:
        path = layout.failures(cell.spec["system"], cell.spec["seed"])
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        write_text(path, f"{before}{cell.dataset}: {fault.reason}\n")
    return {"status": fault.status, "reason": fault.reason}
