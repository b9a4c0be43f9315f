"""What reruns when (contract 2), and that the paper run plans completely."""

import time

from .conftest import Project

RENDER = {"measure", "compare", "write_tables", "write_figures", "write_report"}


def test_a_finished_run_has_nothing_to_do(project: Project) -> None:
    assert not project.planned()


def test_a_readme_reruns_nothing(project: Project) -> None:
    (project.folder / "README.md").write_text("a new word")
    assert not project.planned()


def test_an_edit_of_the_statistics_reruns_comparing_and_rendering_only(project: Project) -> None:
    project.edit("src/zsbench/evaluation/statistics.py", '"""', '"""Edited. ')
    assert set(project.planned()) - {"all"} <= {"compare", "write_tables", "write_figures", "write_report"}
    assert "compare" in project.planned()


def test_an_edit_of_a_loss_reruns_training_and_what_follows(project: Project) -> None:
    project.edit("src/gliznet/losses.py", '"""', '"""Edited. ')
    planned = project.planned()
    assert planned["train_model"] > 0 and planned["score_gliclass"] > 0
    assert not planned["fetch"] and not planned["prepare"]


def test_an_edit_of_one_variant_reruns_that_variant(project: Project) -> None:
    project.edit("workflow/configs/embedded.yaml", "no-margin: {margin: 0.0}", "no-margin: {margin: 0.1}")
    planned = project.planned()
    assert planned["train_model"] == 1
    assert planned["score_gliclass"] == 1 and planned["score_topics"] == 1
    assert not planned["train_hybrid"] and not planned["fetch"] and not planned["prepare"]


def test_an_edit_of_the_threads_or_a_comment_reruns_nothing(project: Project) -> None:
    project.edit("workflow/configs/embedded.yaml", "# The embedded run", "# The small run")
    assert not project.planned()


def test_the_paper_run_plans_in_seconds_with_every_cell(project: Project) -> None:
    started = time.perf_counter()
    planned = project.planned(config="")
    assert time.perf_counter() - started < 60, "10 s on a quiet machine"
    assert planned["train_model"] == 3 * (13 + 3), "3 seeds of 13 variants and 3 peers"
    assert planned["fetch"] > 15
    assert set(planned) >= RENDER | {"prepare", "prepare_training", "train_hybrid", "score_gliclass", "score_topics"}
