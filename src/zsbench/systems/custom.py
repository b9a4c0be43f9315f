"""A user's own system: any class with a `score(texts, labels)` method, named by dotted path in the config.

    systems:
      mine: {family: custom, class: "my_pkg.my_mod:MySystem", arguments: {threshold: 3}, suites: [gliclass]}

The class is made with `arguments` as keywords. It may have a `report()` (counts for the card) and a `dtype`.
"""

import importlib
from typing import Any

from zsbench.layout import Layout
from zsbench.provenance import files_digest
from zsbench.systems import UnknownSystemError
from zsbench.systems.base import System
from zsbench.systems.own_code import package_files, split_path


def build(spec: dict[str, Any], layout: Layout) -> System:
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
    return system


def source_of(spec: dict[str, Any]) -> str:
    """Identity of the user's code: every .py of the top-level package (or module) the class is in."""
    return files_digest(package_files(f"systems.{spec['system']}.class", spec["settings"].get("class")))
