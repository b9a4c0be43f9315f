"""Score every cell, one model load per system and seed; then metrics and comparisons from the scores alone.

A job covers all cells of its system and seed, in as many suites as it is in: its output lists them with their sums. The
cells themselves lie below `cells/`.
"""

CELLS = [layout.scored(*job) for job in plan.jobs]

if plan.label_sets_spec:

    rule label_sets:
        input:
            backbones=[
                layout.fetched(model["backbone"])
                for model in plan.label_sets_spec["models"].values()
                if "backbone" in model
            ],
        output:
            refused=LABEL_SETS,
        log:
            ROOT / "logs" / "label-sets.log",
        priority: 2  # a matter of seconds, whose answer is wanted before hours of training
        conda:
            "../envs/zsbench.yaml"
        params:
            run=plan.run,
            code=code_digest("zsbench.evaluation.label_sets"),
            spec=canonical_json(plan.label_sets_spec),
        message:
            "find the label sets that systems to be trained cannot take"
        shell:
            "zsbench job label-sets --run {params.run} 2>&1 | tee {log}"


rule score:
    input:
        model=system_model,
        imported=imported_scores,
        rows=scored_rows,
        cards=scored_cards,
    output:
        cells=ROOT / "scores" / "{system}" / "seed{seed}.json",
    log:
        ROOT / "logs" / "score-{system}-seed{seed}.log",
    conda:
        "../envs/zsbench.yaml"
    resources:
        gpu=1,
    params:
        run=plan.run,
        code=code_of_system,
        spec=spec_of("score", "system", "seed"),
        failures=failures_before,
    message:
        "score {wildcards.system}, seed {wildcards.seed}"
    shell:
        "zsbench launch -- -m zsbench.cli job score --run {params.run} --system {wildcards.system} --seed {wildcards.seed} 2>&1 | tee {log}"


rule measure:
    input:
        cells=rules.score.output.cells,
    output:
        metrics=ROOT / "metrics" / "{system}" / "seed{seed}.json",
    log:
        ROOT / "logs" / "measure-{system}-seed{seed}.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        run=plan.run,
        code=code_digest("zsbench.evaluation.measure"),
        spec=spec_of("measure", "system", "seed"),
    message:
        "measure {wildcards.system}, seed {wildcards.seed}"
    shell:
        "zsbench job measure --run {params.run} --system {wildcards.system} --seed {wildcards.seed} 2>&1 | tee {log}"


rule compare:
    input:
        cells=CELLS,
        metrics=[layout.measured(*job) for job in plan.jobs],
    output:
        frames=expand(
            ROOT / "analysis" / "{name}.parquet",
            name=["metrics", "calibration", "reliability", "cost", "sensitivity"],
        ),
        deltas=ROOT / "analysis" / "deltas.parquet",
        ranks=ROOT / "analysis" / "ranks.parquet",
    log:
        ROOT / "logs" / "compare.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        run=plan.run,
        code=code_digest("zsbench.evaluation.compare"),
        spec=spec_of("analysis"),
    message:
        "compare systems: frames of all metrics, paired deltas with intervals"
    shell:
        "zsbench job compare --run {params.run} 2>&1 | tee {log}"


if plan.hardset_spec:

    rule hardset:
        input:
            models=[
                layout.model(model, plan.hardset_spec["seed"])
                for model in plan.hardset_spec["models"]
            ],
            backbone=layout.fetched(plan.hardset_spec["backbone"]),
        output:
            measured=ROOT / "analysis" / "hardset.json",
        log:
            ROOT / "logs" / "hardset.log",
        priority: 1  # a long job that nothing waits for: beside the scoring rather than after it
        conda:
            "../envs/zsbench.yaml"
        params:
            run=plan.run,
            code=code_digest("zsbench.evaluation.hardset"),
            spec=spec_of("hardset"),
        message:
            "measure hardset-mini's test split: trained against untrained"
        shell:
            "zsbench job hardset --run {params.run} 2>&1 | tee {log}"
