"""The identity of code: the project modules that a module depends on, from its imports, and a digest of their code.

The same identity is used for everything that becomes outdated when code changes: parameters of rules (Snakemake does
not see imports, and a hundred input files per job would make scheduling slow), keys of cells and feature stores, and
records of trainings. It is computed from the syntax tree without comments, docstrings and type-only imports, so changes
to documentation do not trigger recomputation. (A different minor version of Python may, because its syntax trees
differ.)
"""

import ast
import hashlib
import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from zsbench.families import FAMILIES, package_files
from zsbench.store.provenance import digest, file_sha256

SRC = Path(__file__).resolve().parents[2]
BUNDLED = Path("zsbench", "project")  # folder of a wheel with the files that a clone has next to src/
MODULE = re.compile(r"(gliznet|hybridnli|zsbench|benchmarks)(\.\w+)*")
# Modules that computing code imports but that do not affect numbers; editing them does not trigger retraining or
# rescoring. They are only followed if a rule names them directly.
PLUMBING = {
    "gliznet": "exports names, and registers the model with transformers, which the bench does not use",
    "gliznet.card": "writes a checkpoint's README",
    "hybridnli": "exports names",
    "zsbench": "its version",
    "zsbench.config.load": "refuses a config, or passes it on",
    "zsbench.data.errors": "names errors",
    "zsbench.data.fetched": "opens what was fetched, whose content is in the keys",
    "zsbench.store.cells": "writes whole cells and refuses damaged ones",
    "zsbench.store.errors": "names errors",
    "zsbench.store.fields": "names kinds of config values",
    "zsbench.store.integrity": "refuses damaged files",
    "zsbench.store.layout": "names files",
    "zsbench.store.progress": "prints",
    "zsbench.store.provenance": "writes files, and makes the digests themselves",
    "zsbench.store.secrets": "masks what is printed and stored",
    "zsbench.plan.code_identity": "makes the keys",
    "zsbench.families": "lists the families; keys name a family's own modules and options",
    "zsbench.systems.load": "makes the keys; the folder it names for a model has its content in them",
    "zsbench.jobs.worker": "ends processes",
    "zsbench.jobs.workplace": "frees locks, and words errors of the disk",
}


@cache
def _file(module: str, src: Path) -> Path | None:
    """Source file of a project module below `src`; None if the name is not a module (such as an imported function)."""
    roots = (src.parent, src / BUNDLED) if module.startswith("benchmarks") else (src,)
    for base in (root.joinpath(*module.split(".")) for root in roots):
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def _name_in_a_clone(path: Path) -> str:
    """Path of a source file relative to a clone, so that an installed package has the same digests as a clone."""
    for root, name in ((SRC / BUNDLED, ""), (SRC, "src"), (SRC.parent, "")):
        if root in path.parents:
            return (Path(name) / path.relative_to(root)).as_posix()
    raise ValueError(f"{path} is outside the project")


def _idle(statement: ast.stmt) -> bool:
    """Whether a statement has no effect: a docstring or other bare constant, or code only for type checkers."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    return isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING"


def _names(node: ast.AST) -> Iterator[str]:
    """Names that may be modules: imported names, and strings such as arguments of `importlib.import_module`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
        yield node.value


@cache
def _read(text: str) -> tuple[str, frozenset[str]]:
    """Digest of a source file's code, and the project names in it that may be modules."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [statement for statement in body if not _idle(statement)]  # type: ignore[attr-defined]
    named = {name for node in ast.walk(tree) for name in _names(node) if MODULE.fullmatch(name)}
    return hashlib.sha256(ast.dump(tree).encode("utf-8", "surrogatepass")).hexdigest(), frozenset(named)


def direct_imports(module: str) -> frozenset[str]:
    """Project modules named anywhere in a module's file, including in functions and strings, and its package.

    Raises:
        ValueError: no such module.
    """
    path = _file(module, SRC)
    if path is None:
        raise ValueError(f"no module {module!r} below {SRC.name}/")
    named = _read(path.read_text(encoding="utf-8"))[1]
    return frozenset(name for name in {*named, module.rpartition(".")[0]} if _file(name, SRC))


def sources(*modules: str, without: Collection[str] = ()) -> list[Path]:
    """Files of the given modules and of all project modules that they import, except those in `PLUMBING`.

    Args:
        modules: dotted names; they are included even if they are in `PLUMBING`.

    Raises:
        ValueError: a name is not a module of the project.
    """
    seen: set[str] = set()
    waiting = set(modules)
    while waiting:
        module = waiting.pop()
        seen.add(module)
        waiting |= direct_imports(module) - PLUMBING.keys() - set(without) - seen
    return sorted(path for path in (_file(module, SRC) for module in seen) if path is not None)


def code_digest(*modules: str, user_files: Collection[Path] = (), without: Collection[str] = ()) -> str:
    """Digest (16 hex digits) of the code in `sources(*modules)` and of the contents of further files.

    Raises:
        ValueError: a name is not a module of the project.
    """
    files = sources(*modules, without=without)
    digests = {_name_in_a_clone(path): _read(path.read_text(encoding="utf-8"))[0] for path in files}
    return digest(digests | {f"own/{number}/{path.name}": file_sha256(path) for number, path in enumerate(user_files)})


def system_code(family: str, settings: dict[str, Any], without: Collection[str] = ()) -> str:
    """Digest of the code that a system's scores depend on: scoring, its adapter, and the package of a custom class."""
    user_files = package_files(settings["class"]) if family == "custom" else []
    return code_digest("zsbench.evaluation.scoring", FAMILIES[family].module, user_files=user_files, without=without)


def training_code(family: str) -> str:
    """Digest of the code that trains a family: the shared loop and the family's task."""
    return code_digest("zsbench.training.run", FAMILIES[family].task_module)
