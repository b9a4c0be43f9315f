"""The Dockerfile without a container engine: its lines, and that `make setup` finds there what it installs from."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSTRUCTIONS = [
    line.split(None, 1)
    for line in re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
    if line and not line.startswith("#")
]


def arguments(instruction: str) -> list[str]:
    return [words for name, words in INSTRUCTIONS if name == instruction]


def test_lines_are_instructions_and_the_base_image_has_our_python() -> None:
    assert {name for name, _ in INSTRUCTIONS} <= {"FROM", "RUN", "WORKDIR", "COPY", "ARG", "ENV", "CMD"}
    (base,) = arguments("FROM")
    python = re.search(r"^PYTHON \?= python(.+)$", (ROOT / "Makefile").read_text(), re.M)[1]
    assert INSTRUCTIONS[0][0] == "FROM" and base == f"python:{python}-slim"
    for words in arguments("RUN"):
        assert subprocess.run(["sh", "-n", "-c", words]).returncode == 0, words


def test_the_image_installs_what_make_setup_installs(tmp_path: Path) -> None:
    for words in arguments("COPY"):
        *sources, _ = words.split()
        for source in sources:
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, tmp_path / source)
    setup = re.search(r"make setup.*", "\n".join(arguments("RUN")))[0].split()
    inside, here = (
        subprocess.run(
            [*setup, "--dry-run", "--no-print-directory"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
        for folder in (tmp_path, ROOT)
    )
    assert inside == here and inside.count("pip install") == 3
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all((tmp_path / name).is_file() for name in (project["readme"], *project["license-files"]))
