"""The files around a cell: the prepared rows that it reads block by block, the scores and the card that it writes."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zsbench.store.layout import Layout
from zsbench.store.provenance import digest, file_sha256, write_atomic, write_json
from zsbench.store.secrets import mask_all
from zsbench.store.status import OK

if TYPE_CHECKING:
    from zsbench.evaluation.scoring import Cell

VOLATILE = ("seconds", "texts_per_second", "peak_memory_mb", "environment")  # differs between equal runs


def count(cell: "Cell") -> int:
    return pq.read_table(cell.rows, columns=["split"], filters=[("split", "in", cell.splits)]).num_rows


def frames(cell: "Cell", columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
    """The scored rows in order, at most `size` at a time."""
    pending: list[pa.RecordBatch] = []
    with pq.ParquetFile(cell.rows, pre_buffer=False) as rows:  # row group by row group, none ahead
        for batch in rows.iter_batches(size, columns=list({*columns, "split"}), use_threads=False):
            wanted = pc.is_in(batch["split"], pa.array(cell.splits))
            pending.append(batch.filter(wanted).select(columns))
            while sum(part.num_rows for part in pending) >= size:
                whole = pa.Table.from_batches(pending).combine_chunks()
                yield whole.slice(0, size).to_batches()[0]
                pending = whole.slice(size).to_batches()
    if sum(part.num_rows for part in pending):
        yield pa.Table.from_batches(pending).combine_chunks().to_batches()[0]


def write_cell(layout: Layout, cell: "Cell", write: Callable[[Path], object], record: dict[str, Any]) -> None:
    """Write a cell: its scores, and then its card, which marks it as complete.

    Args:
        write: fills the file of scores.
        record: what the card says besides the facts of spec, dataset and system: `seen`, what was measured, or
            `status` and `reason` of a cell without scores.
    """
    spec, facts = cell.spec, cell.facts
    where = (spec["suite"], cell.dataset, spec["system"], spec["seed"])
    layout.card(*where).unlink(missing_ok=True)
    write_atomic(layout.scores(*where), write)
    card = {
        "status": OK,
        "scores_sha256": file_sha256(layout.scores(*where)),
        **{name: spec[name] for name in ("suite", "system", "seed", "family", "settings", "precision", "token_budget")},
        **{name: facts[name] for name in ("revision", "labels", "verbalisation", "task")},
        **record,
        "dataset": cell.dataset,
        "label_names": cell.names,
        "labels_digest": digest(cell.labels),
        "rows": {split: number for split, number in facts["rows"].items() if split in cell.splits},
        "rows_sha256": facts["rows_sha256"],
        "model": spec["model"],
        "system_digest": digest(cell.system),
        "weights_sha256": cell.system["weights_sha256"],
        "source": cell.system["source"],
        "device": cell.device,
        "key": cell.key,
        "command": f"zsbench job score --run {layout.root.name} --system {spec['system']} --seed {spec['seed']}",
        "volatile": list(VOLATILE),
    }
    write_json(layout.card(*where), mask_all(card))


def link(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, dated now; a copy where the file system has no hard links."""
    target.unlink()
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    os.utime(target)  # Snakemake makes an output again that is older than its inputs
