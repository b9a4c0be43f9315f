"""Which edits rerun which jobs, and that the paper run plans completely."""

import json
import os
import re
import shutil
import time
import zipfile
from pathlib import Path

import pytest

from zsbench.config.load import load_yaml, resolve
from zsbench.plan.plan import Plan

from .conftest import REPOSITORY, Project

TARGETS = {"all", "data", "train", "evaluate", "tables", "figures", "report", "ablations", "topics", "check", "speed"}
WRITE = {"write_tables", "write_figures", "write_report"}
RENDER = {"compare", "claims", *WRITE}


def test_a_finished_run_has_nothing_to_do(project: Project) -> None:
    assert not project.planned()


def planned_run(project: Project) -> Plan:
    """The plan of the embedded run of the copy."""
    config = load_yaml(project.folder / "workflow" / "configs" / "embedded.yaml")
    return Plan(config, resolve(config, project.folder / "workflow"))


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Times and contents of everything that a run writes, except Snakemake's own logs and cache."""
    found = [path for name in ("results", "reports", ".snakemake") for path in (folder / name).rglob("*")]
    kept = {str(path.relative_to(folder)): path for path in found}
    return {
        name: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for name, path in kept.items()
        if not name.startswith((".snakemake/log", ".snakemake/iocache"))
    }


def test_a_dry_run_changes_nothing_on_disk(project: Project) -> None:
    """Also if files have future dates, a killed run left its lock, or nothing exists yet."""
    tomorrow = time.time() + 86_400
    for path in (project.folder / "results").rglob("*.json"):
        os.utime(path, (tomorrow, tomorrow))
    lock = project.folder / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("results/embedded/manifest.json\n")
    before = state(project.folder)
    project.snakemake("-n")
    assert state(project.folder) == before
    for name in ("results", "reports", ".snakemake"):
        shutil.rmtree(project.folder / name)
    project.snakemake("-n")
    assert not [name for name in state(project.folder) if (project.folder / name).is_file()]
    assert not (project.folder / "results").exists() and not (project.folder / "reports").exists()


def test_config_on_the_command_line_is_laid_over_the_config_file(finished: Project) -> None:
    shown = finished.snakemake("-n", "--config", "run=mine", config="")
    assert "run mine:" in shown and re.search(r"^train_model +85$", shown, re.M), "the rest is config.yaml's"
    shown = finished.snakemake("-n", "--config", "run=mine")
    assert "run mine:" in shown and re.search(r"^train_model +[1-9]$", shown, re.M), "the rest is the given file's"


def test_a_duplicate_key_of_the_default_config_is_refused_at_its_line(project: Project) -> None:
    config = project.folder / "config.yaml"
    config.write_text(config.read_text() + "run: again\n")
    line = len(config.read_text().splitlines())
    assert f"config.yaml, line {line}: duplicate key 'run'" in project.snakemake("-n", config="", refused=True)


@pytest.mark.parametrize("name", ["config.yaml", "workflow/configs/embedded.yaml"])
def test_jobs_read_from_the_resolved_config_what_was_planned(name: str, tmp_path: Path) -> None:
    config = load_yaml(REPOSITORY / name)
    plan = Plan(config, resolve(config, REPOSITORY / "workflow"))
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"config": plan.config, "resources": plan.resources}))
    read = Plan(**json.loads(file.read_text()))
    jobs = [("analysis",), ("overlap",), ("manifest",), *(("source", name) for name in plan.sources)]
    jobs += [("dataset", name) for name in plan.all_datasets]
    jobs += [("training", name, "1") for name in plan.trained]
    jobs += [(kind, system, str(seed)) for kind in ("score", "measure") for system, seed in plan.jobs]
    for job in jobs:
        assert read.spec(*job) == plan.spec(*job)


def test_a_readme_or_a_docstring_reruns_nothing(project: Project) -> None:
    (project.folder / "README.md").write_text("a new word")
    for name in ("gliznet/losses.py", "zsbench/training/loop.py", "zsbench/evaluation/measure.py"):
        project.edit(f"src/{name}", '"""', '"""Edited. ')
    assert not project.planned()


def test_an_edit_of_the_statistics_reruns_comparing_and_rendering_only(project: Project) -> None:
    project.add_code("src/zsbench/evaluation/statistics.py")
    assert set(project.planned()) == RENDER


def test_an_edit_of_a_metric_scores_nothing(project: Project) -> None:
    project.add_code("src/zsbench/evaluation/metrics.py")
    assert set(project.planned()) == RENDER | {"measure"}


@pytest.mark.parametrize(
    ("module", "reruns"),
    [
        ("zsbench/reporting/summary.py", {"write_report"}),
        ("zsbench/data/sources/hub.py", set()),  # nothing is fetched again
        ("zsbench/jobs/launch.py", set()),  # how a job is started does not affect what it computes
        ("zsbench/store/secrets.py", set()),  # nor does masking in its log, although all training code imports it
        ("zsbench/data/contamination.py", {"overlap", "write_tables", "write_report"}),
    ],
)
def test_an_edit_of_a_module_reruns_whose_code_it_is(project: Project, module: str, reruns: set[str]) -> None:
    project.add_code(f"src/{module}")
    assert set(project.planned()) == reruns


def test_an_edit_of_one_adapter_scores_its_family_again_and_trains_nothing(project: Project) -> None:
    project.add_code("src/zsbench/systems/biencoder.py")
    planned = project.planned()
    assert planned["score"] == planned["measure"] == 2  # biencoder and biencoder-mini
    assert set(planned) == RENDER | {"score", "measure", "label_counts"}


def test_a_deleted_report_is_rendered_again_without_touching_a_model(project: Project) -> None:
    shutil.rmtree(project.folder / "reports")
    assert set(project.planned("report")) == WRITE


@pytest.mark.parametrize(
    ("lost", "rule"),
    [
        ("scores/majority/seed0.json", "score"),
        ("metrics/majority/seed0.json", "measure"),
        ("models/gliznet-full/seed1/training.json", "train_model"),
        ("models/hybrid/seed1/training.json", "train_hybrid"),
        ("datasets/movie-snippets/rows.parquet", "prepare"),
        ("training_sets/hardset-mini/rows.parquet", "prepare_training"),
        ("analysis/overlap.json", "overlap"),
        ("analysis/ranks.parquet", "compare"),
    ],
)
def test_what_a_failed_job_took_with_it_is_made_again(project: Project, lost: str, rule: str) -> None:
    """Snakemake deletes the outputs of a failed job, even if it was rerun below a finished report."""
    (project.folder / "results" / "embedded" / lost).unlink()
    for targets in ([], ["evaluate"], ["report"]):
        assert project.planned(*targets)[rule] == 1, targets


def test_a_new_system_scores_and_measures_only_itself(project: Project) -> None:
    entry = "systems:\n  twin: {family: biencoder, model: minilm, suites: [gliclass, topics]}"
    project.edit("workflow/configs/embedded.yaml", "systems:", entry)
    assert project.planned() == dict.fromkeys(["score", "measure", *RENDER], 1)


def test_a_new_dataset_prepares_itself_and_is_scored_by_the_systems_of_its_suite(project: Project) -> None:
    """Their scoring jobs run; existing cells are not rescored (tested elsewhere). Its labels join the pool."""
    project.edit(
        "workflow/configs/embedded.yaml", "datasets: [20newsgroups-letters,", "datasets: [cr, 20newsgroups-letters,"
    )
    planned = project.planned()
    plan = planned_run(project)
    scored = [system for system, _ in plan.jobs if "gliclass" in plan.systems[system].suites]
    assert 1 < len(scored) < len(plan.jobs)
    once = ["fetch", "manifest", "prepare", "overlap", "label_sets", "label_pairs", *RENDER]
    expected = dict.fromkeys(once, 1) | dict.fromkeys(["score", "measure"], len(scored))
    assert planned == expected | {"label_counts": len(plan.label_counted)}


def test_an_edited_authored_set_is_fetched_and_prepared_again(project: Project) -> None:
    project.edit("authored/topics-mini.jsonl", "e", "i")
    planned = project.planned()
    assert planned["fetch"] == planned["prepare"] == 1 and not planned["train_model"]


def test_other_statistics_score_nothing(project: Project) -> None:
    project.edit("workflow/configs/embedded.yaml", "draws: 10000", "draws: 9000")
    assert set(project.planned()) == RENDER | {"hardset"}


def test_an_edit_of_a_loss_reruns_training_and_what_follows(project: Project) -> None:
    project.add_code("src/gliznet/losses.py")
    planned = project.planned()
    assert planned["train_model"] > 0 and planned["score"] > 0
    assert not planned["fetch"] and not planned["prepare"]


def test_an_edit_of_one_variant_reruns_that_variant(project: Project) -> None:
    project.edit("workflow/configs/embedded.yaml", "no-margin: {margin: 0.0}", "no-margin: {margin: 0.1}")
    planned = project.planned()
    assert planned["train_model"] == 1
    assert planned["score"] == planned["measure"] == 1, "one process scores both suites"
    assert not planned["train_hybrid"] and not planned["fetch"] and not planned["prepare"]


def test_an_edit_of_the_threads_or_a_comment_reruns_nothing(project: Project) -> None:
    project.edit("workflow/configs/embedded.yaml", "# The embedded run", "# The small run")
    assert not project.planned()


def test_every_promised_target_is_there(project: Project) -> None:
    assert set(project.snakemake("--list-target-rules").split()) >= TARGETS


def test_the_plan_says_what_is_done_and_what_cannot_be_fetched(finished: Project) -> None:
    shown = finished.snakemake("-n")
    assert re.search(r"run embedded: (\d+) cells \(\1 done, 0 to do\)", shown) and "cannot be fetched" not in shown
    shown = finished.snakemake("-n", config="")
    assert "sources cannot be fetched: cr, sst2," in shown and "`zsbench fetch --lock`" in shown


def test_the_mirrors_overlay_plans_and_says_that_the_mirror_is_absent(
    finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZSBENCH_MIRROR", "nowhere")
    shown = finished.snakemake("-n", config="config.yaml workflow/configs/mirror.yaml")
    assert "8 of 10 sources cannot be fetched: cr, sst2, sst5, imdb, 20-newsgroups, ag-news, rotten-tomatoes," in shown
    assert "the mirror nowhere lacks dataset SetFit/CR: there is no folder nowhere/datasets/SetFit/CR" in shown


def test_speed_is_a_target_of_its_own(project: Project) -> None:
    assert project.planned("speed") == {"measure_speed": 1, "write_speed_page": 1}


def test_a_speed_page_that_is_there_is_shown_and_never_measured_again_for_it(project: Project) -> None:
    page = project.folder / "reports" / "embedded" / "speed" / "speed.md"
    page.parent.mkdir(parents=True)
    page.write_text("measured")
    assert project.planned() == {"write_report": 1}


def test_the_paper_run_plans_in_seconds_with_every_cell(project: Project) -> None:
    """Seconds of CPU time, and as many as a small run takes on this machine: no slow or busy one fails it."""
    planned = project.planned(config="")
    assert project.cpu_seconds < 5 * project.plan_seconds
    assert planned["train_model"] == 5 * (14 + 3), "5 seeds of 14 variants and 3 peers"
    assert planned["fetch"] > 15
    assert set(planned) >= RENDER | {"prepare", "prepare_training", "train_hybrid", "score", "measure"}


@pytest.mark.parametrize(("gpus", "resources"), [("1", ()), ("2", ("--resources", "gpu=1"))])
def test_a_training_on_more_gpus_than_the_run_has_is_refused_before_any_job(
    project: Project, monkeypatch: pytest.MonkeyPatch, gpus: str, resources: tuple[str, ...]
) -> None:
    """Snakemake alone would silently reduce a rule's resources to those available, and train on one GPU."""
    monkeypatch.setenv("ZSBENCH_FAKE_GPUS", gpus)
    (project.folder / "two.yaml").write_text("run: two\nrecipe: {gpus: 2, strategy: ddp, per_device_batch: 8}\n")
    config = "workflow/configs/embedded.yaml two.yaml"
    shown = project.snakemake("train", *resources, config=config, refused=True)
    assert shown.splitlines()[-1].startswith("Error: `recipe.gpus`: asks for 2 GPUs, this run has 1; allowed: up to 1")
    assert "start " not in shown and project.planned("train", *resources, config=config)["train_model"] > 5


def test_the_paper_run_trains_as_the_card_does(project: Project) -> None:
    """ZeRO-2 on two GPUs, through accelerate's launcher."""
    shown = project.snakemake("-n", "--printshellcmds", "train", config="")
    assert len(re.findall(r"zsbench launch --gpus 2 --strategy zero2 -- -m zsbench\.cli job train", shown)) == 5 * (
        14 + 3
    )


def test_a_users_own_code_and_scores_are_inputs(project: Project) -> None:
    """An edited class and a reimported csv rerun those systems; the class is README's example."""
    entries = ["systems:", '  word-count: {family: custom, class: "my_pkg.my_mod:MySystem", suites: [gliclass]}']
    entries += ["  mine: {family: imported, suites: [gliclass]}"]
    (project.folder / "own.yaml").write_text("\n".join(entries))
    package = project.folder / "src" / "my_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "my_mod.py").write_text("class MySystem: ...")
    scores = project.folder / "results" / "embedded" / "imported" / "mine" / "movie-snippets.parquet"
    scores.parent.mkdir(parents=True)
    scores.write_text("first")
    both = "workflow/configs/embedded.yaml own.yaml"
    project.finish(both)
    (package / "my_mod.py").write_text("class MySystem: ...  # edited")
    scores.write_text("second")
    planned = project.planned(config=both)
    assert planned["score"] == 2 and not planned["train_model"]


def test_snakemakes_own_report_holds_every_table_and_figure_with_its_caption(finished: Project) -> None:
    finished.snakemake("--report", "all.zip")
    with zipfile.ZipFile(finished.folder / "all.zip") as archive:
        page = archive.read("all/report.html").decode()
        names = set(archive.namelist())
    found, categories = (
        json.JSONDecoder().raw_decode("{" + page.partition(f"var {name} = {{")[2])[0]
        for name in ("results", "categories")
    )
    tables, figures = ((finished.folder / "reports" / "embedded" / name) for name in ("tables", "figures"))
    wanted = [*tables.glob("*.csv"), *figures.glob("*.svg"), tables.parent / "index.html"]
    assert set(found) == {str(path.relative_to(finished.folder)) for path in wanted} and len(wanted) > 20
    assert set(categories) >= {"Report", "Tables", "Figures"}
    for path, one in found.items():
        assert f"all/{one['data_uri']}" in names, path
        assert one["labels"]["name"] and one["labels"]["format"] in ("csv", "svg", "html")
        assert one["caption"].startswith("<p>") and not {"{{", "{%", "system-message"} & set(one["caption"].split())
