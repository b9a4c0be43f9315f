"""Score every cell, one model load a system and seed; then metrics and comparisons from the scores alone."""

if plan.label_sets_spec:

    rule label_sets:
        input:
            [
                layout.fetched(model["backbone"])
                for model in plan.label_sets_spec["models"].values()
                if "backbone" in model
            ],
        output:
            LABEL_SETS,
        log:
            ROOT / "logs" / "label-sets.log",
        priority: 2  # a matter of seconds, whose answer is wanted before hours of training
        conda:
            "../envs/zsbench.yaml"
        params:
            code=code_digest("zsbench.evaluation.label_sets"),
            root=root_of_outputs,
            spec=canonical_json(plan.label_sets_spec),
        message:
            "look which label sets the systems to be trained cannot take"
        shell:
            "zsbench label-sets --root {params.root} --spec {params.spec:q} 2>&1 | tee {log}"


for suites, systems in plan.systems_by_suites.items():
    tested = [(suite, name) for suite in suites for name in plan.datasets(suite)]

    rule:
        name:
            "score_" + "_".join(suites)
        input:
            system_model,
            imported_scores,
            rows=[layout.dataset(dataset) for _, dataset in tested],
            facts=[layout.dataset_card(dataset) for _, dataset in tested],
        output:
            scores=[layout.scores(*cell, "{system}", "{seed}") for cell in tested],
            cards=[layout.card(*cell, "{system}", "{seed}") for cell in tested],
        log:
            ROOT / "logs" / ("score-{system}-seed{seed}-" + "-".join(suites) + ".log"),
        wildcard_constraints:
            system="|".join(systems),
        conda:
            "../envs/zsbench.yaml"
        resources:
            gpu=1,
        params:
            code=code_of_system,
            root=root_of_outputs,
            specs=score_specs,
            jobs=score_jobs,
            failures=failures_before,
        message:
            "score {wildcards.system}, seed {wildcards.seed}: " + ", ".join(suites)
        shell:
            "zsbench launch -- -m zsbench.cli score --root {params.root} --spec {params.jobs} 2>&1 | tee {log}"


rule measure:
    input:
        scores=[layout.scores(*cell) for cell in plan.cells],
        cards=[layout.card(*cell) for cell in plan.cells],
    output:
        metrics=[layout.metrics(*cell) for cell in plan.cells],
        frames=expand(
            ROOT / "analysis" / "{name}.parquet",
            name=["metrics", "calibration", "reliability", "cost", "sensitivity"],
        ),
    log:
        ROOT / "logs" / "measure.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.evaluation.measure"),
        root=root_of_outputs,
        spec=spec_of("analysis"),
    message:
        "measure {} cells".format(len(plan.cells))
    shell:
        "zsbench measure --root {params.root} --spec @{params.root}/config.json:analysis 2>&1 | tee {log}"


rule compare:
    input:
        frames=rules.measure.output.frames,
        scores=[layout.scores(*cell) for cell in plan.cells],
    output:
        deltas=ROOT / "analysis" / "deltas.parquet",
        ranks=ROOT / "analysis" / "ranks.parquet",
    log:
        ROOT / "logs" / "compare.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        code=code_digest("zsbench.evaluation.compare"),
        root=root_of_outputs,
        spec=spec_of("analysis"),
    message:
        "compare systems: paired deltas with intervals"
    shell:
        "zsbench compare-cells --root {params.root} --spec @{params.root}/config.json:analysis 2>&1 | tee {log}"


if plan.hardset_spec:

    rule hardset:
        input:
            [
                layout.model(model, plan.hardset_spec["seed"])
                for model in plan.hardset_spec["models"]
            ],
            layout.fetched(plan.hardset_spec["backbone"]),
        output:
            ROOT / "analysis" / "hardset.json",
        log:
            ROOT / "logs" / "hardset.log",
        priority: 1  # a long job that nothing waits for: beside the scoring rather than after it
        conda:
            "../envs/zsbench.yaml"
        params:
            code=code_digest("zsbench.evaluation.hardset"),
            root=root_of_outputs,
            spec=spec_of("hardset"),
        message:
            "measure hardset-mini's test split: trained against untrained"
        shell:
            "zsbench hardset --root {params.root} --spec @{params.root}/config.json:hardset 2>&1 | tee {log}"
