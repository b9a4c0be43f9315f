"""What a system raises while it is scored: a fault of its cell, unless it would end every other cell too.

A system that cannot take a label set, or fails, leaves a cell without scores whose card says so; the other datasets
go on. Full disks, missing rights, memory that ran out and damaged files end the job.
"""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zsbench.jobs.workplace import cannot_write
from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, write_text
from zsbench.store.secrets import mask
from zsbench.store.status import FAILED, NOT_APPLICABLE
from zsbench.systems import LabelSetError

LONGEST_REASON = 300  # characters


class CellError(Exception):
    """What a system raised, as its cell's card tells it: `status` and one line of `reason`."""

    def __init__(self, error: Exception) -> None:
        own = type(error).__module__.partition(".")[0] in ("zsbench", "gliznet", "hybridnli")
        text = " ".join(mask(str(error)).split())[:LONGEST_REASON]
        self.reason = text if own and text else f"{type(error).__name__}: {text}".rstrip(": ")
        self.status = NOT_APPLICABLE if isinstance(error, LabelSetError) else FAILED
        super().__init__(self.reason)


@contextmanager
def faults(root: Path) -> Iterator[None]:
    """Around calls of a system: what it raises becomes a `CellError`, unless it would end every cell."""
    try:
        yield
    except (IntegrityError, MemoryError):
        raise
    except Exception as error:
        if cannot_write(error) is not None:
            raise
        if not isinstance(error, LabelSetError):
            traceback.print_exception(error, file=sys.stderr)
        raise CellError(error) from error


def remember(layout: Layout, spec: dict[str, Any], dataset: str, fault: CellError) -> dict[str, Any]:
    """What a card says of something that is not there. A failure is remembered, so that the next command tries again.

    Snakemake asks what was remembered (a parameter of the job): a line more is another parameter, and lines stay when
    the cell is there at last, so nothing is scored again then.
    """
    if fault.status == FAILED:
        path = layout.failures(spec["system"], spec["seed"])
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        write_text(path, f"{before}{dataset}: {fault.reason}\n")
    return {"status": fault.status, "reason": fault.reason}
