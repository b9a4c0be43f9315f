"""zsbench: fetch -> prepare -> train -> score -> measure -> compare -> render. Includes the rules and names the targets."""

from snakemake.utils import min_version

min_version("9.10")


if (
    not workflow.overwrite_configfiles
):  # --configfile replaces the paper run; --config overrides keys of either

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/speed.smk"


# Targets list the outputs of all earlier steps. Snakemake deletes the outputs of a failed job, and recreates a missing
# file only for a target or a job that runs: without these lists, an old report would count as up to date.
EVALUATED = [
    *rules.overlap.input,
    *TRAININGS,
    *rules.compare.input,
    *rules.compare.output,
    *rules.claims.output,
    *rules.overlap.output,
]
REPORTED = [*EVALUATED, *rules.write_tables.output, *rules.write_figures.output]


onsuccess:  # a failed cell does not stop the run, but the run must not end as a success
    scored = any(job.rule.name == "compare" for job in workflow.dag.jobs)
    if scored and (failures := run_state.failures(plan)):
        raise WorkflowError(failures)


rule all:
    default_target: True
    input:
        REPORTS / "index.html",
        REPORTS / "REPORT.md",
        REPORTED,
        rules.manifest.input,
        layout.manifest,
        [layout.root / "analysis" / "hardset.json"] if plan.hardset_spec else [],
        [LABEL_SETS] if plan.label_sets_spec else [],


rule data:
    input:
        rules.manifest.input,
        layout.manifest,
        rules.overlap.input,


rule train:
    input:
        [LABEL_SETS] if plan.label_sets_spec else [],
        TRAININGS,


rule evaluate:
    input:
        EVALUATED,


rule tables:
    input:
        EVALUATED,
        rules.write_tables.output,


rule figures:
    input:
        EVALUATED,
        rules.write_figures.output,


rule report:
    input:
        REPORTED,
        REPORTS / "index.html",
        REPORTS / "REPORT.md",


for name, item in plan.tables.items():
    if item.kind in ("suite", "multi", "ablations"):

        rule:
            name:
                name
            input:
                REPORTS / "tables" / f"{name}.md",


# Not counted as jobs of a run, because they produce nothing themselves.
targets = frozenset(
    each.name for each in workflow.rules if not each.output and not each.log
)
logger.info(None, extra={"targets": targets})
