"""The tiny models and training set, shared with the other tests."""

from ..hybridnli.conftest import tokenizer
from ..zsbench.training.conftest import layout

__all__ = ["layout", "tokenizer"]
