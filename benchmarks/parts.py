"""Parts of a speed run, stored on disk so that an interrupted run resumes with the next part."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zsbench.store.progress import progress_logger
from zsbench.store.provenance import read_json, write_json


class Parts:
    """Results of measured parts in `<folder>/<name>.json`, kept until the complete record is written.

    A part that was measured with another key (spec, code or device) is measured again.

    Args:
        folder: folder of the files.
        key: identity of the measurements.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key, self.facts = folder, key, dict[str, dict[str, Any]]()

    def get(self, name: str, measure: Callable[[], Any]) -> Any:
        """The result of a part, measured now if it is not stored; also sets its load and seconds in `facts[name]`."""
        path = self.folder / f"{name}.json"
        kept: dict[str, Any] = read_json(path) if path.is_file() else {"key": None}
        if kept["key"] != self.key:
            progress_logger("speed")(name)
            before, started = os.getloadavg()[0], time.perf_counter()
            result = measure()
            load, seconds = [before, os.getloadavg()[0]], time.perf_counter() - started
            kept = {"key": self.key, "facts": {"load": load, "seconds": round(seconds, 1)}, "result": result}
            write_json(path, kept)
        self.facts[name] = kept["facts"]
        return kept["result"]

    def clear(self) -> None:
        """Remove the files, once the record contains everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
