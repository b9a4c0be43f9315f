"""zsbench: a reproducible benchmark-and-ablation harness for zero-shot text classification."""

__version__ = "0.2.0"
