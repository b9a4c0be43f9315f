"""zsbench: a reproducible benchmark-and-ablation harness for zero-shot text classification."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from zsbench.reporting.results import Results

__version__ = "0.2.0"


def results(run: "str | Path") -> "Results":
    """The numbers of a run as DataFrames: `zsbench.results("results/embedded").cells`. Loads no torch.

    Args:
        run: folder of a run, or its id below `results/`.

    Raises:
        FileNotFoundError: there is no such run.
    """
    from zsbench.reporting.results import open_results

    return open_results(run)
