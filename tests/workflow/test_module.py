"""The workflow as a module in another folder, as `snakedeploy deploy-workflow` and config/README.md write it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

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
