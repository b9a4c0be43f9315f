"""A custom class with a `score(texts, labels)` method, given by dotted path in the config.

    systems:
      mine: {family: custom, class: "my_pkg.my_mod:MySystem", arguments: {threshold: 3}}

The class is constructed with `arguments` as keywords. It may have a `report()` method (counts for the card) and a
`dtype`. It sees texts and labels but never gold labels, and its scores are validated. To reject a label set, raise
`zsbench.systems.LabelSetError` (the cell becomes "not applicable"). Any other exception fails the cell, which the next
run retries.

Shapes: n texts, L labels.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from zsbench.families import CustomOptions
from zsbench.store.layout import Layout
from zsbench.systems import System, UnknownSystemError
from zsbench.systems.texts import check_request


class CustomSystem:
    """A custom class, wrapped with the same validation as built-in systems.

    Raises:
        UnknownSystemError: no such module or class, or a class without `score`; the message says which.
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        options = CustomOptions.model_construct(**spec["settings"])
        self.key = f"systems.{spec['system']}.class"
        module_name, _, name = options.class_.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise UnknownSystemError(
                f"{self.key}: cannot import {module_name!r} ({error}); install the package first"
            ) from error
        if not hasattr(module, name):
            raise UnknownSystemError(f"{self.key}: module {module_name!r} has no {name!r}")
        self.system = getattr(module, name)(**options.arguments)
        if not isinstance(self.system, System):
            raise UnknownSystemError(f"{self.key}: {options.class_!r} has no method score(texts, labels)")
        self.dtype: str = getattr(self.system, "dtype", "float32")

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores (n, L); see `System`.

        Raises:
            UnknownSystemError: the class returned something other than one real number per pair.
        """
        check_request(texts, labels)
        returned = self.system.score(list(texts), list(labels))
        try:
            scores = np.asarray(returned)
        except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors that require gradients
            raise UnknownSystemError(f"{self.key}: score() did not return an array of numbers: {error}") from error
        if scores.dtype.kind not in "fiub":
            raise UnknownSystemError(f"{self.key}: score() returned {scores.dtype} values; allowed: real numbers")
        pairs = (len(texts), len(labels))
        if scores.shape != pairs:
            raise UnknownSystemError(
                f"{self.key}: score() returned shape {scores.shape}; expected {pairs} (texts, labels)"
            )
        return scores

    def report(self) -> dict[str, Any]:
        """Counts for the card, if the class provides them."""
        return self.system.report() if hasattr(self.system, "report") else {}
