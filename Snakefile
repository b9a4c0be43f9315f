"""zsbench: fetch -> prepare -> train -> score -> measure -> compare -> render. Validates the config, names the targets."""

from snakemake.utils import min_version, validate

min_version("9.10")


if (
    not workflow.overwrite_configfiles
):  # --configfile replaces the paper run; --config is laid over either

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/gliznet.smk"
include: "workflow/rules/hybridnli.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/speed.smk"


onsuccess:  # that a cell failed stops nothing, but the run must not end as if all were well
    scored = any(job.rule.name == "compare" for job in workflow.dag.jobs)
    if scored and progress.failures(plan):
        raise WorkflowError(progress.failures(plan))


rule all:
    default_target: True
    input:
        REPORTS / "index.html",
        REPORTS / "REPORT.md",
        layout.manifest,
        [layout.root / "analysis" / "hardset.json"] if plan.hardset_spec else [],
        [LABEL_SETS] if plan.label_sets_spec else [],


rule data:
    input:
        layout.manifest,
        [layout.dataset(dataset) for dataset in plan.all_datasets],
        [layout.training_set(name) for name in plan.training_sets],


rule train:
    input:
        [LABEL_SETS] if plan.label_sets_spec else [],
        [layout.model(model, seed) for model in plan.trained for seed in plan.seeds],
        [
            layout.model(hybrid, seed)
            for hybrid in plan.config["hybrid"]
            for seed in plan.seeds
        ],


rule evaluate:
    input:
        layout.root / "analysis" / "deltas.parquet",


rule tables:
    input:
        [REPORTS / "tables" / f"{name}.md" for name in plan.tables],


rule figures:
    input:
        [REPORTS / "figures" / f"{name}.svg" for name in plan.figures],


rule report:
    input:
        REPORTS / "index.html",
        REPORTS / "REPORT.md",


for name, item in plan.tables.items():
    if item.kind in ("suite", "multi", "ablations"):

        rule:
            name:
                name
            input:
                REPORTS / "tables" / f"{name}.md",
