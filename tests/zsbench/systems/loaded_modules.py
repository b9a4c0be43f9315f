"""Run scoring and training jobs, each in a separate process, and print which project modules each loaded.

python loaded_modules.py JOBS.json      JOBS: name -> ["score" | "train" | "hybrid", root, spec]
"""

import importlib
import json
import os
import sys
import types
from pathlib import Path

import gliclass  # noqa: F401  (slow imports are shared by all processes)
import pandas  # noqa: F401
import sentence_transformers  # noqa: F401
import sklearn.metrics  # noqa: F401
import torch
import transformers  # noqa: F401

PACKAGES = ("gliznet", "hybridnli", "zsbench")


def run(kind: str, root: str, spec: dict) -> None:
    if kind == "train":
        from zsbench.store.layout import Layout
        from zsbench.training.run import train_job

        train_job(spec, Layout(Path(root)))
    elif kind == "hybrid":
        from zsbench.training.hybrid import train_hybrid

        train_hybrid(Path(root), spec)
    else:
        from zsbench.evaluation.scoring import score_job

        score_job(Path(root), spec)


def without_exports(package: str) -> None:
    """Replace a package whose `__init__` imports its modules by an empty one."""
    found = importlib.util.find_spec(package)
    assert found is not None
    empty = types.ModuleType(package)
    empty.__path__ = found.submodule_search_locations
    sys.modules[package] = empty


def child(job: list, out: Path) -> None:
    assert not [name for name in sys.modules if name.partition(".")[0] in PACKAGES]
    torch.set_num_threads(1)
    for package in ("gliznet", "hybridnli"):
        without_exports(package)
    run(*job)
    out.write_text(json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] in PACKAGES)))


def main(path: Path) -> None:
    found = {}
    for number, (name, job) in enumerate(json.loads(path.read_text()).items()):
        out = path.with_name(f"{number}.json")
        if (pid := os.fork()) == 0:
            child(job, out)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0, name
        found[name] = json.loads(out.read_text())
    path.with_name("loaded.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
