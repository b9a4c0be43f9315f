"""The workflow as a module in another folder, as `snakedeploy deploy-workflow` and config/README.md write it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import REPOSITORY
from .test_side_by_side import CONFIG, ROWS

DEPLOYED = f"""
configfile: "config/config.yaml"

module zsbench:
    snakefile:
        "{REPOSITORY}/workflow/Snakefile"
    config:
        config

use rule * from zsbench
"""


def test_a_module_in_another_folder_runs(tmp_path: Path) -> None:
    config = CONFIG | {"run": "one"}
    by_hand = re.search(r"```python\n(.*?)```", (REPOSITORY / "config" / "README.md").read_text(), re.S)[1]
    for name, text in {
        "workflow/Snakefile": DEPLOYED + by_hand,
        "config/config.yaml": yaml.safe_dump(config),
        "rows.csv": "text,label\na,0\nb,1\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "snakemake", "--cores", "1", f"results/one/{ROWS}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "one" / ROWS).is_file()
    assert json.loads((tmp_path / "results" / "one" / "config.json").read_text())["config"]["run"] == "one"
    everything = subprocess.run([*command[:-1], "-n"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "write_report" in everything.stdout, "with the module's default target"


def test_snakedeploy_writes_that_module_from_a_local_clone(tmp_path: Path) -> None:
    snakedeploy = shutil.which("snakedeploy", path=Path(sys.executable).parent) or shutil.which("snakedeploy")
    refused = subprocess.run(["git", "rev-parse"], cwd=REPOSITORY, capture_output=True).returncode
    if snakedeploy is None or refused:
        pytest.skip("snakedeploy is missing (make setup), or this is not a git checkout of this user's")
    for command in (
        ["git", "clone", "--quiet", REPOSITORY, "zsbench"],
        ["git", "-C", "zsbench", "checkout", "--quiet", "-B", "mine"],
        [snakedeploy, "deploy-workflow", "zsbench", "deployed", "--branch", "mine"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    deployed = tmp_path / "deployed"
    words = (deployed / "workflow" / "Snakefile").read_text()
    code = " ".join(re.sub(r"^#.*|^from .*|^min_version.*", "", words, flags=re.M).split())
    assert code == " ".join(DEPLOYED.replace(f"{REPOSITORY}/", "").split())
    assert (deployed / "config" / "config.yaml").read_text() == (REPOSITORY / "config.yaml").read_text()
    assert (deployed / "config" / "README.md").is_file()
    assert (deployed / "profiles" / "slurm" / "config.yaml").is_file()


def test_the_catalogue_finds_its_files() -> None:
    usage = yaml.safe_load((REPOSITORY / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage.keys() == {"software-stack-deployment", "report"} and usage["report"] is True
    assert usage["software-stack-deployment"] == {"conda": False}, "rules need the package beside Snakemake"
    readme = (REPOSITORY / "config" / "README.md").read_text()
    for line in re.findall(r"\]\((\.\./[^)]*)\)", readme):
        assert (REPOSITORY / "config" / line).is_file(), line
