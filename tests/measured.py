"""All measuring jobs of a run in one process."""

from pathlib import Path
from typing import Any

from zsbench.evaluation.measure import gather, measure_job


def measure(root: Path, spec: dict[str, Any]) -> None:
    """Measure every cell of a run, then gather the frames; `spec` is the analysis spec."""
    for system in spec["systems"]:
        suites = {suite: entry for suite, entry in spec["suites"].items() if suite in system["suites"]}
        for seed in system["seeds"]:
            job = {"system": system["id"], "seed": seed, "settings": system["settings"], "suites": suites}
            measure_job(root, job)
    gather(root, spec)
