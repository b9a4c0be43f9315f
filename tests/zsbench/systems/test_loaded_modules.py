"""Modules that jobs load at run time, also through dynamic imports, are in their code digest or are plumbing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
from test_own_systems import endpoint  # noqa: F401  (a fixture)
from tiny_run import HYBRID_SPEC, MODELS, make_hybrid

from tests.zsbench.training.conftest import RECIPE
from tests.zsbench.training.conftest import layout as trainable  # noqa: F401  (a fixture)
from zsbench.families import FAMILIES, TRAINABLE
from zsbench.plan.code_identity import PLUMBING, SRC, sources
from zsbench.store.layout import Layout
from zsbench.systems.imported import import_scores

SENSITIVITY = {"orders": 1, "rows": 4, "seed": 0, "wordings": {}}
OWN = "class Own:\n    def score(self, texts, labels):\n        return [[0.5] * len(labels) for _ in texts]\n"
JOBS = {
    **{f"score {name}": ("zsbench.evaluation.scoring", family.module) for name, family in FAMILIES.items()},
    **{f"train {name}": ("zsbench.training.run", FAMILIES[name].task_module) for name in TRAINABLE},
    "train hybrid": ("zsbench.training.hybrid",),
}


def score_jobs(run, make_spec, port: int, folder: Path) -> dict[str, list]:
    """One scoring job per family."""
    root = make_hybrid(run, folder / "run").root
    ids = pd.read_parquet(run.dataset("news"))["sample_id"]
    pd.DataFrame({"sample_id": ids, "money": 0.1, "health": 0.2, "chips": 0.3}).to_csv(folder / "s.csv", index=False)
    Layout(root).config.unlink(missing_ok=True)  # left by another test of the shared run, with other systems
    import_scores(root, "imported-system", "news", folder / "s.csv")
    specs = {family: make_spec(family, model=model, sensitivity=SENSITIVITY) for family, model in MODELS.items()}
    specs["control"] = make_spec("control", settings={"control": "prior-random"})
    specs["supervised"] = make_spec("supervised", "topics", settings={"features": "words"})
    specs["imported"] = make_spec("imported")
    specs["custom"] = make_spec("custom", settings={"class": "own_of_a_test:Own"})
    specs["llm"] = make_spec("llm", settings={"url": f"http://127.0.0.1:{port}/v1", "name": "tiny"})
    specs["hybridnli"] = make_spec("hybridnli", "topics", ("hybrid", "hybrid"), {"blend": "learned"})
    return {f"score {family}": ["score", str(root), spec] for family, spec in specs.items()}


def train_jobs(root: Path, hybrid: Path) -> dict[str, list]:
    """One training per task, and one of the hybrid."""
    recipe = RECIPE | {"steps": 2}
    options = {"nli": {"template": "It is {}."}}
    jobs = {
        f"train {family}": [
            "train",
            str(root),
            {"id": family, "family": family, "seed": 3, "recipe": recipe, "options": options.get(family, {})},
        ]
        for family in TRAINABLE
    }
    return jobs | {"train hybrid": ["hybrid", str(hybrid), HYBRID_SPEC | {"id": "again"}]}


def test_every_module_that_a_job_loads_is_part_of_its_identity(
    run,
    gliclass,
    reranker,
    make_spec,
    trainable,  # noqa: F811
    endpoint,  # noqa: F811
    tmp_path,
):
    (tmp_path / "own_of_a_test.py").write_text(OWN)
    jobs = score_jobs(run, make_spec, endpoint.server_port, tmp_path)
    jobs |= train_jobs(trainable.root, tmp_path / "run")
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    environment = os.environ | {"PYTHONPATH": f"{SRC}{os.pathsep}{tmp_path}", "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("loaded_modules.py")
    command = [sys.executable, str(script), str(tmp_path / "jobs.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = json.loads((tmp_path / "loaded.json").read_text())
    assert set(loaded) == set(JOBS), "a job for every family and task"
    for job, modules in JOBS.items():
        assert set(modules) <= set(loaded[job]), job
    missed = {job: missing(loaded[job], modules) for job, modules in JOBS.items()}
    assert not {job: names for job, names in missed.items() if names}


def missing(loaded: list[str], modules: tuple[str, ...]) -> list[str]:
    """Loaded modules with code that are neither in the closure of `modules` nor plumbing."""
    known = {*sources(*modules), *map(file_of, PLUMBING)}
    return [name for name in loaded if file_of(name) not in known and file_of(name).stat().st_size]


def file_of(module: str) -> Path:
    path = SRC.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
