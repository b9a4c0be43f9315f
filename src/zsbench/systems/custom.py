"""A user's own system: any class with a `score(texts, labels)` method, named by dotted path in the config.

    systems:
      mine: {family: custom, class: "my_pkg.my_mod:MySystem", arguments: {threshold: 3}, suites: [gliclass]}

The class is made with `arguments` as keywords. It may have a `report()` (counts for the card) and a `dtype`.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from zsbench.layout import Layout
from zsbench.provenance import files_digest
from zsbench.systems import UnknownSystemError
from zsbench.systems.base import System


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


def split_path(key: str, path: str | None) -> tuple[str, str]:
    """Module and class of "package.module:Class".

    Raises:
        UnknownSystemError: another form.
    """
    module, _, name = (path or "").partition(":")
    if not module or not name.isidentifier():
        raise UnknownSystemError(f"{key}: {path!r} is not of the form 'package.module:Class'")
    return module, name


def source_of(spec: dict[str, Any]) -> str:
    """Identity of the user's code: every .py of the top-level package (or module) the class is in.

    Raises:
        UnknownSystemError: there is no such package.
    """
    key = f"systems.{spec['system']}.class"
    top = split_path(key, spec["settings"].get("class"))[0].partition(".")[0]
    found = importlib.util.find_spec(top)
    if found is None or not (found.origin or found.submodule_search_locations):
        raise UnknownSystemError(f"{key}: no package {top!r}; install it first")
    folders = [Path(folder) for folder in found.submodule_search_locations or []]
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))] or [Path(str(found.origin))]
    return files_digest(files)
