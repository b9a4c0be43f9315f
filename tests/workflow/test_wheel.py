"""The wheel alone contains everything that a run reads, and works from a folder that is not a clone."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from zsbench.plan.code_identity import SRC, sources, training_code

from .conftest import REPOSITORY
from .test_side_by_side import CONFIG, ROWS

CARRIED = ("workflow", "authored", "benchmarks")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the wheel is installed; its dependencies come from the environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(REPOSITORY)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_every_file_that_a_run_reads_is_in_the_wheel(installed: Path) -> None:
    project = installed / "zsbench" / "project"
    listed = subprocess.run(["git", "ls-files", *CARRIED], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in ("Snakefile", "config.yaml", *listed.stdout.split()):
        assert (project / name).read_bytes() == (REPOSITORY / name).read_bytes(), name
    assert (project / "profiles" / "default" / "config.yaml").is_file(), "Snakemake looks for it beside the Snakefile"
    for path in SRC.glob("*/**/*"):
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path):
            assert (installed / path.relative_to(SRC)).is_file(), path


def test_an_installed_package_has_the_code_identity_of_its_clone(installed: Path) -> None:
    script = (
        "from zsbench.plan.code_identity import code_digest, sources, training_code\n"
        "print(training_code('gliznet'), code_digest('benchmarks.run'), len(sources('benchmarks.run')))"
    )
    command = [sys.executable, "-c", script]
    environments = [os.environ | {"PYTHONPATH": str(folder)} for folder in (installed, SRC)]
    there, here = (subprocess.check_output(command, env=env, cwd=installed, text=True) for env in environments)
    assert there == here and there.split()[0] == training_code("gliznet")
    assert int(there.split()[2]) == len(sources("benchmarks.run"))


def test_it_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"run": "one"}))
    (tmp_path / "rows.csv").write_text("text,label\na,0\nb,1\n")
    command_folder = tmp_path / "bin"
    command_folder.mkdir()
    (command_folder / "zsbench").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zsbench.cli "$@"\n')
    (command_folder / "zsbench").chmod(0o755)
    environment = os.environ | {
        "PYTHONPATH": str(installed),
        "PATH": os.pathsep.join([str(command_folder), str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    script = "from zsbench.store.layout import PROJECT; print(PROJECT)"
    project = subprocess.check_output([sys.executable, "-c", script], env=environment, cwd=tmp_path, text=True).strip()
    assert Path(project) == installed / "zsbench" / "project"
    command = [sys.executable, "-m", "snakemake", "--snakefile", f"{project}/Snakefile", "--cores", "1"]
    done = subprocess.run(
        [*command, f"results/one/{ROWS}"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "one" / ROWS).is_file()
    assert json.loads((tmp_path / "results" / "one" / "config.json").read_text())["config"]["run"] == "one"
