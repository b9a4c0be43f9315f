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
        priority: 2  # takes seconds, and the result is needed before hours of training
        conda:
            "../envs/zsbench.yaml"
        params:
            run=plan.run,
            code=code_digest("zsbench.evaluation.label_sets"),
            spec=spec_of("label_sets"),
        message:
            "find label sets that are too large for systems to be trained"
        shell:
            "zsbench job label-sets --run {params.run} > {log} 2>&1"


rule score:
    input:
        model=system_model,
        imported=imported_scores,
        rows=lambda wildcards: [
            layout.dataset(name) for name in plan.datasets_of(wildcards.system)
        ],
        cards=lambda wildcards: [
            layout.dataset_card(name) for name in plan.datasets_of(wildcards.system)
        ],
    output:
        cells=layout.scored("{system}", "{seed}"),
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
        "zsbench launch -- -m zsbench.cli job score --run {params.run} --system {wildcards.system} --seed {wildcards.seed} > {log} 2>&1"


rule measure:
    input:
        cells=rules.score.output.cells,
    output:
        metrics=layout.measured("{system}", "{seed}"),
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
        "zsbench job measure --run {params.run} --system {wildcards.system} --seed {wildcards.seed} > {log} 2>&1"


rule compare:
    input:
        cells=CELLS,
        metrics=[layout.measured(*job) for job in plan.jobs],
    output:
        frames(
            "metrics",
            "calibration",
            "coverage",
            "reliability",
            "cost",
            "sensitivity",
            "deltas",
            "ranks",
        ),
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
        "zsbench job compare --run {params.run} > {log} 2>&1"


if plan.label_counted:

    rule label_counts:
        input:
            model=system_model,
            rows=[
                layout.dataset(dataset)
                for dataset in plan.config["scoring"]["label_counts"]["datasets"]
            ],
            training_sets=[layout.training_set(name) for name in plan.training_sets],
        output:
            record=layout.label_counts("{system}"),
        log:
            ROOT / "logs" / "label-counts-{system}.log",
        conda:
            "../envs/zsbench.yaml"
        resources:
            gpu=1,
        params:
            run=plan.run,
            code=lambda wildcards: code_digest(
                "zsbench.evaluation.label_counts",
                FAMILIES[plan.systems[wildcards.system].family].module,
            ),
            spec=spec_of("label_counts", "system"),
        message:
            "score {wildcards.system} with increasing numbers of labels"
        shell:
            "zsbench launch -- -m zsbench.cli job label-counts --run {params.run} --system {wildcards.system} > {log} 2>&1"


if plan.label_pairs_spec:

    rule label_pairs:
        input:
            encoder=layout.fetched(plan.label_pairs_spec["encoder"]),
        output:
            pairs=layout.label_pairs,
        log:
            ROOT / "logs" / "label-pairs.log",
        conda:
            "../envs/zsbench.yaml"
        params:
            run=plan.run,
            code=code_digest("zsbench.evaluation.label_pairs"),
            spec=spec_of("label_pairs"),
        message:
            "find pairs of similar labels with the untrained encoder"
        shell:
            "zsbench job label-pairs --run {params.run} > {log} 2>&1"


rule claims:
    input:
        frames=rules.compare.output,
        cells=CELLS,
        metrics=[layout.measured(*job) for job in plan.jobs],
        label_counts=[layout.label_counts(system) for system in plan.label_counted],
        label_pairs=[layout.label_pairs] if plan.label_pairs_spec else [],
        published=WORKFLOW / "resources" / "published.yaml",
    output:
        frames("label_counts", "label_slopes", "confusable", "claims"),
    log:
        ROOT / "logs" / "claims.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        run=plan.run,
        code=code_digest(
            "zsbench.evaluation.claims",
            "zsbench.evaluation.confusable",
            "zsbench.evaluation.label_slopes",
        ),
        spec=spec_of("analysis"),
    message:
        "judge claims"
    shell:
        "zsbench job claims --run {params.run} > {log} 2>&1"


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
        priority: 1  # a long job without dependents: run it alongside scoring, not after it
        conda:
            "../envs/zsbench.yaml"
        params:
            run=plan.run,
            code=code_digest("zsbench.evaluation.hardset"),
            spec=spec_of("hardset"),
        message:
            "evaluate on hardset-mini: trained against untrained"
        shell:
            "zsbench job hardset --run {params.run} > {log} 2>&1"
