"""What every rules file uses: the checked plan, paths, and the digests of the source modules that rules depend on."""

import json
import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

import zsbench
import zsbench.store.layout
from zsbench.config.load import load_yaml, merge, resolve
from zsbench.data.fetched import content_at_hand
from zsbench.families import FAMILIES
from zsbench.cli import run_state
from zsbench.plan.estimate import plan_lines
from zsbench.plan.plan import Plan
from zsbench.store.errors import ConfigError
from zsbench.store.provenance import canonical_json, file_sha256, write_text
from zsbench.plan.code_identity import code_digest, system_code, training_code
from zsbench.jobs.launch import too_few_gpus
from zsbench.jobs.workplace import free_stale_lock

# Relative to Snakemake's working directory, so that moving or copying a project reruns nothing.
WORKFLOW = Path(os.path.relpath(zsbench.store.layout.WORKFLOW))
PACKAGE = Path(os.path.relpath(zsbench.__file__)).parent


def checked_plan():
    """The plan of this run; a config that cannot be run ends here, with one readable message."""
    try:
        # Snakemake's reader accepts duplicate keys, and its merge ignores empty mappings, which should empty the
        # base's.
        files = [load_yaml(path) for path in workflow.configfiles]
        merged = merge(*files, dict(workflow.config_settings.config))
        config.clear()
        config.update(merged)
        return Plan(config, resolve(config, WORKFLOW))
    except ConfigError as error:
        raise WorkflowError(str(error))


plan = checked_plan()
# A hub repository without a pinned commit is pinned when first needed; a dry run does not ask the hub.
if workflow.is_main_process and not workflow.output_settings.dryrun:
    for line in run_state.pin_missing(plan, WORKFLOW):
        logger.info(line, extra={"shown": True})
layout = plan.layout
ROOT = layout.root
REPORTS = plan.reports
LABEL_SETS = ROOT / "analysis" / "label_sets.json"
TRAININGS = [layout.model(*training) for training in plan.trainings]


def frames(*names):
    """Paths of analysis frames."""
    return [ROOT / "analysis" / f"{name}.parquet" for name in names]


if workflow.is_main_process and not workflow.output_settings.dryrun:
    free_stale_lock(Path())

# A job ends with the parent of its shell, i.e. the snakemake process that started it, on any machine. A job started by
# hand or by srun has no such parent. (`exec` replaces the pipeline's subshell.)
shell.prefix('set -euo pipefail; zsbench() {{ exec zsbench --end-with $PPID "$@"; }}; ')


onstart:
    # Snakemake would silently reduce a training's GPUs to those available. Clusters are left to the scheduler.
    trains = any(
        job.rule.name == "train_model" for job in workflow.dag.needrun_jobs()
    )
    if trains and workflow.local_exec and not workflow.touch:
        limit = workflow.global_resources.get("gpu")
        if problem := too_few_gpus(plan.gpus, limit and limit.value):
            raise WorkflowError(problem)
    # Jobs read their specs from here, because they may not fit into a command line (Linux: 128 kB per argument).
    # Keys are not sorted, because their order matters (the first wording of a preset is the default).
    write_text(
        layout.config,
        json.dumps({"config": plan.config, "resources": plan.resources}, indent=1),
    )


def spec_of(kind, *wildcard_names):
    """A params function: the named wildcards' spec as canonical JSON, so that a job reruns exactly when its spec changes."""

    def spec(wildcards):
        return canonical_json(
            plan.spec(kind, *(getattr(wildcards, name) for name in wildcard_names))
        )

    return spec


def training_inputs(wildcards):
    """Backbone and rows of a training."""
    recipe = plan.trained[wildcards.model]["recipe"]
    return {
        "backbone": layout.fetched(recipe["backbone"]),
        "rows": layout.training_set(recipe["training_set"]),
    }


def hybrid_inputs(wildcards):
    """NLI model and topic rows of a hybrid."""
    spec = plan.hybrid_spec(wildcards.hybrid, wildcards.seed)
    nli = (
        layout.model(spec["nli"], wildcards.seed)
        if spec["nli_kind"] == "trained"
        else layout.fetched(spec["nli"])
    )
    return {"nli": nli, "rows": layout.dataset(spec["dataset"])}


def system_model(wildcards):
    """What a system's weights come from: a training record (label counts use the first seed), fetched manifests, or nothing."""
    system = plan.systems[wildcards.system]
    if system.model is None:
        return []
    kind, name = system.model
    if kind == "source":
        return [
            layout.fetched(source)
            for source in (name, system.settings.get("nli"))
            if source
        ]
    return [layout.model(name, wildcards.get("seed", system.seeds[0]))]


def code_of_system(wildcards):
    """A params function: the code a system's scores depend on."""
    system = plan.systems[wildcards.system]
    return system_code(system.family, system.settings)


def failures_before(wildcards):
    """A params function: what failed when this system and seed were scored before, so that a failure is tried again."""
    path = layout.failures(wildcards.system, wildcards.seed)
    return file_sha256(path) if path.is_file() else ""


def imported_scores(wildcards):
    """Imported scores; where some are missing, the job names the command that imports them."""
    system = plan.systems[wildcards.system]
    if system.family != "imported":
        return []
    files = [layout.imported(system.id, name) for name in plan.datasets_of(system.id)]
    return [file for file in files if file.is_file()]


def reported(kind, name, item, suffix):
    """A file that Snakemake's own report shows, with its caption, category and label."""
    return report(
        REPORTS / kind / f"{name}.{suffix}",
        caption=f"../report/{item.kind}.rst",
        category=kind.capitalize(),
        labels={"name": name.replace("_", " "), "format": suffix},
    )


# Checked once, not by each job: other machines may not see the original files of local sources.
if workflow.is_main_process:
    for problem in run_state.missing_files(plan):
        raise WorkflowError(problem)


wildcard_constraints:
    source="|".join(plan.sources),
    dataset="|".join(plan.all_datasets),
    training_set="|".join(plan.training_sets) or "none",
    model="|".join(plan.trained) or "none",
    hybrid="|".join(plan.config["hybrid"]) or "none",
    system="|".join(plan.systems),
    seed=r"\d+",


if workflow.is_main_process:
    logger.info(run_state.summary(plan), extra={"shown": True})
    if workflow.output_settings.dryrun:
        for line in plan_lines(plan):
            logger.info(line, extra={"shown": True})
    if warning := run_state.warning(plan):
        logger.warning(warning)
