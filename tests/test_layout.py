"""House rules that can be checked automatically."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "src").rglob("*.py"))
# From the ground up: a module imports only from its own room and from rooms on lower floors.
FLOORS = [
    {"store", "recipe"},
    {"families", "jobs"},
    {"data", "plan"},
    {"config", "systems"},
    {"training", "evaluation"},
    {"reporting"},
    {"cli", "__init__"},
]
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_modules_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)) or not text.strip()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_imports_point_down(path: Path) -> None:
    package, *rest = path.relative_to(ROOT / "src").with_suffix("").parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    imported = [name.split(".") for name in names if name.split(".")[0] in ("zsbench", "gliznet", "hybridnli", "tests")]
    if package != "zsbench":
        allowed = {
            "gliznet": ("gliznet",),
            "hybridnli": ("hybridnli", "gliznet"),
            "snakemake_logger_plugin_zsbench": ("zsbench",),  # name required by Snakemake
        }[package]
        assert all(name[0] in allowed for name in imported)
        return
    rooms = {name[1] for name in imported if name[0] == "zsbench" and len(name) > 1} - {rest[0]}
    assert [room for room in rooms if FLOOR[room] >= FLOOR[rest[0]]] == []


def test_nothing_loads_pickles_or_remote_code() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "weights_only"):
                wanted = node.arg == "weights_only"
                given = node.value.value if isinstance(node.value, ast.Constant) else None
                assert given is wanted, f"{path.name}:{node.value.lineno}"
