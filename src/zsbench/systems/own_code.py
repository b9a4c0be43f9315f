"""Where a user's own class lives: found without running any of it, so that a plan can name its files."""

import importlib.util
from pathlib import Path

from zsbench.systems import UnknownSystemError


def split_path(key: str, path: str | None) -> tuple[str, str]:
    """Module and class of "package.module:Class".

    Raises:
        UnknownSystemError: another form; `key` says where it stands.
    """
    module, _, name = (path or "").partition(":")
    if not module or not name.isidentifier():
        raise UnknownSystemError(f"{key}: {path!r} is not of the form 'package.module:Class'")
    return module, name


def package_files(key: str, path: str | None) -> list[Path]:
    """Every .py of the top-level package (or module) a class is in.

    Raises:
        UnknownSystemError: there is no such package.
    """
    top = split_path(key, path)[0].partition(".")[0]
    found = importlib.util.find_spec(top)
    if found is None or not (found.origin or found.submodule_search_locations):
        raise UnknownSystemError(f"{key}: no package {top!r}; install it first")
    folders = [Path(folder) for folder in found.submodule_search_locations or []]
    return [file for folder in folders for file in sorted(folder.rglob("*.py"))] or [Path(str(found.origin))]
