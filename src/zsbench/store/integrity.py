"""Verify stored files before they are used: prepared rows, fetched files, checkpoints, analysis frames.

The writer of a file records its checksum and the reader verifies it here, so a truncated or modified file stops the job
with a message that names the file and what to delete.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsbench.store.layout import Layout
from zsbench.store.provenance import IntegrityError, file_sha256, read_json

ROW_GROUP = 4096  # rows per row group of a prepared set

if TYPE_CHECKING:
    import pandas as pd


def listing(folder: Path) -> list[dict[str, Any]]:
    """`name`, `bytes` and `sha256` of every file below a folder, sorted by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {"name": str(path.relative_to(folder)), "bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in files
    ]


def check_listed(folder: Path, entries: list[dict[str, Any]], record: Path) -> None:
    """Raise unless every listed file exists and is unchanged.

    Args:
        entries: entries from `listing`.
        record: the file with the entries; deleting it makes the job that wrote the files run again.

    Raises:
        IntegrityError: a file is missing or differs.
    """
    for entry in entries:
        path = folder / entry["name"]
        if not path.is_file() or file_sha256(path) != entry["sha256"]:
            raise IntegrityError(f"{path} is missing or changed since it was made; delete {record} and run again")


def is_about(name: str) -> bool:
    """Whether a file in a checkpoint is documentation, not part of the model: its card, the hub's `.eval_results`."""
    return name.lower().endswith(".md") or name.startswith(".eval_results/")


def open_model(layout: Layout, model: str, seed: int) -> Path:
    """Checkpoint folder of a finished training, after verifying all files except documentation.

    Raises:
        IntegrityError: a file is missing or differs from what the training wrote.
    """
    record, folder = layout.model(model, seed), layout.checkpoint(model, seed)
    check_listed(folder, [entry for entry in read_json(record)["files"] if not is_about(entry["name"])], record)
    return folder


def check_rows(rows: Path) -> Path:
    """Return the path of a set's `rows.parquet` after checking the file against the card next to it.

    Raises:
        IntegrityError: the rows are not those that were prepared.
    """
    if file_sha256(rows) != read_json(rows.with_name("card.json"))["rows_sha256"]:
        raise IntegrityError(f"{rows} was changed since it was prepared; delete it and run again")
    return rows


def read_intact(path: Path) -> Any:
    """Content of a JSON file; None if it is missing or damaged, which the job that needs it will report."""
    try:
        return read_json(path)
    except (FileNotFoundError, IntegrityError):
        return None


def write_rows(path: Path, frame: "pd.DataFrame") -> None:
    """Write Parquet in small row groups, to be read one at a time, so that scoring large sets needs little memory."""
    frame.to_parquet(path, index=False, row_group_size=ROW_GROUP)


def write_frame(path: Path, frame: "pd.DataFrame") -> None:
    """Write Parquet with a checksum per page."""
    frame.to_parquet(path, index=False, write_page_checksum=True)


def read_frame(path: Path, columns: list[str]) -> "pd.DataFrame":
    """Read a file from `write_frame`, which must have at least the given columns.

    Page checksums cover the values; of the other bytes, only column names can change what is read.

    Raises:
        IntegrityError: damaged, or a column is missing.
    """
    import pyarrow.parquet as pq

    try:
        frame = pq.read_table(path, page_checksum_verification=True).to_pandas()
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise IntegrityError(f"{path} is damaged ({error}); delete it and run again") from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise IntegrityError(
            f"{path} lacks the columns {missing} (found {list(frame.columns)}); delete it and run again"
        )
    return frame
