"""Where Snakemake looks for the logger `zsbench`, which `workflow/profiles/default` names."""

from zsbench.jobs.terminal import LogHandler

__all__ = ["LogHandler"]
