"""Score every cell, one model load a system and seed; then metrics and comparisons from the scores alone."""

for suite in plan.config["suites"]:

    rule:
        name:
            f"score_{suite}"
        input:
            system_model,
            system_modules,
            rows=[layout.dataset(dataset) for dataset in plan.datasets(suite)],
            cards=[layout.dataset_card(dataset) for dataset in plan.datasets(suite)],
        output:
            scores=[
                layout.scores(suite, dataset, "{system}", "{seed}")
                for dataset in plan.datasets(suite)
            ],
            cards=[
                layout.card(suite, dataset, "{system}", "{seed}")
                for dataset in plan.datasets(suite)
            ],
        log:
            ROOT / "logs" / f"score-{suite}-{{system}}-seed{{seed}}.log",
        conda:
            "../envs/zsbench.yaml"
        resources:
            gpu=1,
        params:
            root=root_of_outputs,
            spec=spec_of(partial(plan.score_spec, suite), "system", "seed"),
        message:
            f"score suite {suite} with {{wildcards.system}}, seed {{wildcards.seed}}"
        shell:
            "zsbench launch -- -m zsbench.cli score --root {params.root} --spec {params.spec:q} 2>&1 | tee {log}"


rule measure:
    input:
        scores=[layout.scores(*cell) for cell in plan.cells],
        cards=[layout.card(*cell) for cell in plan.cells],
        code=code("zsbench.evaluation.measure"),
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
        root=root_of_outputs,
        spec=canonical_json(plan.analysis_spec),
    message:
        "measure {} cells".format(len(plan.cells))
    shell:
        "zsbench measure --root {params.root} --spec {params.spec:q} 2>&1 | tee {log}"


rule compare:
    input:
        frames=rules.measure.output.frames,
        scores=[layout.scores(*cell) for cell in plan.cells],
        code=code("zsbench.evaluation.compare"),
    output:
        ROOT / "analysis" / "deltas.parquet",
    log:
        ROOT / "logs" / "compare.log",
    conda:
        "../envs/zsbench.yaml"
    params:
        root=root_of_outputs,
        spec=canonical_json(plan.analysis_spec),
    message:
        "compare systems: paired deltas with intervals"
    shell:
        "zsbench compare-cells --root {params.root} --spec {params.spec:q} 2>&1 | tee {log}"


if plan.hardset_spec:

    rule hardset:
        input:
            [
                layout.model(model, plan.hardset_spec["seed"])
                for model in plan.hardset_spec["models"]
            ],
            layout.fetched(plan.hardset_spec["backbone"]),
            code=code("zsbench.evaluation.hardset"),
        output:
            ROOT / "analysis" / "hardset.json",
        log:
            ROOT / "logs" / "hardset.log",
        conda:
            "../envs/zsbench.yaml"
        params:
            root=root_of_outputs,
            spec=canonical_json(plan.hardset_spec),
        message:
            "measure hardset-mini's test split: trained against untrained"
        shell:
            "zsbench hardset --root {params.root} --spec {params.spec:q} 2>&1 | tee {log}"
