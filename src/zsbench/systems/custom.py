"""A user's own system: any class with a `score(texts, labels)` method, named by dotted path in the config.

    systems:
      mine: {family: custom, class: "my_pkg.my_mod:MySystem", arguments: {threshold: 3}, suites: [gliclass]}

The class is made with `arguments` as keywords. It may have a `report()` (counts for the card) and a `dtype`. It is
shown texts and labels, never gold, and what it answers is checked. A label set that it cannot take it refuses with
`zsbench.systems.LabelSetError` (its cell is then "not applicable"); whatever else it raises fails the cell, which the
next command tries again.

n texts, L labels.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from zsbench.store.layout import Layout
from zsbench.systems import UnknownSystemError
from zsbench.systems.base import System, check_request
from zsbench.systems.own_code import split_path


class OwnSystem:
    """A user's system behind the checks of the built-in ones.

    Args:
        key: where the config names the class, for messages.
        own: an instance of it.
    """

    def __init__(self, key: str, own: System) -> None:
        self.key, self.own = key, own
        self.dtype: str = getattr(own, "dtype", "float32")

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Scores (n, L); see `base.System`.

        Raises:
            UnknownSystemError: the class answered something else than real numbers, one a pair.
        """
        check_request(texts, labels)
        answer = self.own.score(list(texts), list(labels))
        try:
            scores = np.asarray(answer)
        except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors that want a gradient
            raise UnknownSystemError(f"{self.key}: score() answered no array of numbers: {error}") from error
        if scores.dtype.kind not in "fiub":
            raise UnknownSystemError(f"{self.key}: score() answered {scores.dtype} values; allowed: real numbers")
        pairs = (len(texts), len(labels))
        if scores.shape != pairs:
            raise UnknownSystemError(f"{self.key}: score() answered {scores.shape}, expected {pairs} (texts, labels)")
        return scores

    def report(self) -> dict[str, Any]:
        """Counts for the card, where the class keeps any."""
        return self.own.report() if hasattr(self.own, "report") else {}


def build(spec: dict[str, Any], layout: Layout) -> OwnSystem:
    """Import the class and make one.

    Raises:
        UnknownSystemError: no such module or class, or one without `score`; the message says which.
    """
    key, path = f"systems.{spec['system']}.class", spec["settings"].get("class")
    module_name, name = split_path(key, path)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UnknownSystemError(
            f"{key}: cannot import {module_name!r} ({error}); install the package first"
        ) from error
    made = getattr(module, name, None)
    if made is None:
        raise UnknownSystemError(f"{key}: module {module_name!r} has no {name!r}")
    system = made(**spec["settings"].get("arguments", {}))
    if not isinstance(system, System):
        raise UnknownSystemError(f"{key}: {path!r} has no method score(texts, labels)")
    return OwnSystem(key, system)
