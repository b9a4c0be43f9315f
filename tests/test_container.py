"""The Dockerfile without a container engine: a linter, its lines, and its install line in an empty environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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
    python = re.search(r"^PYTHON \?= .*?python(3\.\d+)", (ROOT / "Makefile").read_text(), re.M)[1]
    assert INSTRUCTIONS[0][0] == "FROM" and base == f"python:{python}-slim"
    for words in arguments("RUN"):
        assert subprocess.run(["sh", "-n", "-c", words]).returncode == 0, words


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is missing; see make setup")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def copied(folder: Path) -> Path:
    """The files of a clone that the image gets."""
    for words in arguments("COPY"):
        *sources, target = words.split()
        for source in sources:
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, folder / (target if (ROOT / source).is_dir() else source))
    return folder


def test_the_image_installs_what_make_setup_installs(tmp_path: Path) -> None:
    copied(tmp_path)
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


@pytest.mark.slow
@pytest.mark.timeout(1800)  # pip downloads and installs 170 packages
def test_the_install_line_makes_an_environment_that_plans_the_run_of_the_image(tmp_path: Path) -> None:
    """The install line in a tree with the image's files, then the image's command with the clone mounted."""
    (line,) = (words for words in arguments("RUN") if "make setup" in words)
    home = tmp_path / "opt"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    (tmp_path / "zsbench").mkdir()
    assert "VENV=/opt/zsbench" in line
    line = line.replace("/opt/zsbench", str(home)).replace("PIP_EXTRA_INDEX_URL=$TORCH_INDEX ", "")
    subprocess.run(["sh", "-ec", line], cwd=copied(tmp_path / "zsbench"), env=environment, check=True)
    (command,) = map(json.loads, arguments("CMD"))
    environment |= {"PATH": f"{home / 'bin'}{os.pathsep}{environment['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    planned = subprocess.run([*command, "--dry-run"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert planned.returncode == 0, planned.stderr
    assert "train_model" in planned.stdout or "Nothing to be done" in planned.stdout
