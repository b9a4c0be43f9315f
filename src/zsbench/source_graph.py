"""Which project modules a module's code depends on, read from its import statements.

Snakemake does not see imports, so rules have the digest of these files among their parameters: an edit of one reruns
exactly the rules whose code it is. (As inputs, a hundred files a job cost more than the scheduling of the jobs itself.)
"""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from zsbench.provenance import digest, file_sha256

SRC = Path(__file__).resolve().parents[1]
PACKAGES = ("gliznet", "hybridnli", "zsbench")
# How a job is started, named, logged and written does not change what it computes.
PLUMBING = frozenset(
    f"zsbench.{name}"
    for name in (
        "arguments",
        "cli",
        "config",
        "layout",
        "plan",
        "progress",
        "provenance",
        "source_graph",
        "launch",
        "verbs",
    )
)


def _file(module: str) -> Path | None:
    """Source file of a project module, or None for a name that is no module (an imported function, say)."""
    base = SRC.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def direct_imports(module: str) -> frozenset[str]:
    """Project modules that `module` imports anywhere in its file, also inside functions."""
    path = _file(module)
    assert path is not None, module
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in found if name.split(".")[0] in PACKAGES and _file(name))


def sources(*modules: str) -> list[Path]:
    """Files of the named modules and of everything of the project that they import, without the plumbing.

    Raises:
        ValueError: a name is not a module of the project.
    """
    unknown = [module for module in modules if _file(module) is None]
    if unknown:
        raise ValueError(f"no module {unknown[0]!r} below {SRC.name}/")
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen and module not in PLUMBING:
            seen.add(module)
            waiting.extend(direct_imports(module))
    return sorted(path for path in map(_file, seen) if path is not None)


@cache
def _file_sha256(path: Path) -> str:
    """A file's sha256, read once a process: most files are the code of many rules."""
    return file_sha256(path)


def code_digest(*modules: str, extra: Iterable[Path] = ()) -> str:
    """16 hex digits for the contents of `sources(*modules)` and `extra`: what a rule depends on besides its inputs.

    Raises:
        ValueError: a name is not a module of the project.
    """
    files = {path.relative_to(SRC).as_posix(): path for path in sources(*modules)}
    files |= {f"extra/{number}": path for number, path in enumerate(extra)}
    return digest({name: _file_sha256(path) for name, path in files.items()})
